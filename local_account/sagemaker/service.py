"""SageMaker's control plane: the service, the tables that its parts share, and how they answer lists.

Runs in the server process. What implements the actions is in ``tags``, ``models``, ``registry``, ``jobs``,
``pipelines`` and ``endpoints``: classes over this service, put together in ``install``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

from local_account.account import Account
from local_account.authority.authority import AccessDeniedError
from local_account.protocol.actions import ServiceError
from local_account.protocol.service import Resource, Service
from local_account.protocol.wire import Request

log = logging.getLogger(__name__)


class SageMaker(Service):
    """State and actions of one account's SageMaker."""

    title = "SageMaker"

    def __init__(self, account: Account) -> None:
        super().__init__(account, "sagemaker")

    @property
    def tags(self) -> dict[str, dict[str, str]]:
        """Keys and values by the ARN of what they tag."""
        return self.table("tags", dict[str, str])

    @property
    def models(self) -> dict[str, Resource]:
        """By name."""
        return self.table("models", Resource)

    @property
    def model_package_groups(self) -> dict[str, Resource]:
        """By name."""
        return self.table("model-package-groups", Resource)

    @property
    def model_packages(self) -> dict[str, Resource]:
        """By ARN."""
        return self.table("model-packages", Resource)

    @property
    def pipelines(self) -> dict[str, Resource]:
        """By name."""
        return self.table("pipelines", Resource)

    @property
    def pipeline_executions(self) -> dict[str, Resource]:
        """By ARN."""
        return self.table("pipeline-executions", Resource)

    @property
    def request_tokens(self) -> dict[str, dict[str, str]]:
        """``{"Arn": ...}`` of what a request made, by its action and ClientRequestToken."""
        return self.table("request-tokens", dict[str, str])

    @property
    def endpoint_configs(self) -> dict[str, Resource]:
        """By name."""
        return self.table("endpoint-configs", Resource)

    @property
    def endpoints(self) -> dict[str, Resource]:
        """By name."""
        return self.table("endpoints", Resource)

    def jobs(self, kind: str) -> dict[str, Resource]:
        """Jobs of a kind (Processing, Training, Transform) by name."""
        return self.table(f"{kind.lower()}-jobs", Resource)

    def check(self, name: str, request: Request) -> None:
        """Raises ServiceError for a request that SageMaker refuses, or whose role it cannot assume."""
        super().check(name, request)
        role = request.get("RoleArn") or request.get("ExecutionRoleArn")
        if role is None:
            return
        try:
            self.account.authority.demand_trust(str(role), "sagemaker.amazonaws.com", self.arn("*"))
        except AccessDeniedError as error:
            raise ServiceError(
                f"Could not assume role {role}. Please ensure that the role exists and allows principal "
                "'sagemaker.amazonaws.com' to assume the role."
            ) from error

    def emit(self, detail_type: str, detail: Mapping[str, object], resources: list[str]) -> None:
        """Send an event to EventBridge; a rule that cannot be delivered to does not fail what caused the event."""
        try:
            self.account.emit_event("aws.sagemaker", detail_type, detail, resources)
        except Exception:
            log.exception("event %r was not delivered", detail_type)


_TIME_FILTERS = {
    "CreationTime": ({"CreationTimeAfter", "CreatedAfter"}, {"CreationTimeBefore", "CreatedBefore"}),
    "LastModifiedTime": ({"LastModifiedTimeAfter"}, {"LastModifiedTimeBefore"}),
}


def listing(
    resources: Iterable[Resource],
    request: dict[str, Any],
    *,
    key: str,
    fields: list[str],
    name_field: str,
    default_order: str = "Descending",
) -> dict[str, Any]:
    """Answer a ``List*`` action: NameContains, the time filters, SortBy, SortOrder, MaxResults and NextToken.

    ``key`` is the member that holds the summaries, ``fields`` what of a resource a summary shows.
    """
    found = [r for r in resources if request.get("NameContains", "").lower() in str(r.get(name_field, "")).lower()]
    for time_field, (after, before) in _TIME_FILTERS.items():
        for name in after & request.keys():
            found = [r for r in found if (r.get(time_field) or r["CreationTime"]) > epoch(request[name])]
        for name in before & request.keys():
            found = [r for r in found if (r.get(time_field) or r["CreationTime"]) < epoch(request[name])]
    sort_field = name_field if request.get("SortBy") == "Name" else "CreationTime"
    found.sort(key=lambda r: r.get(sort_field, 0))  # of equal ones the first made comes first
    if request.get("SortOrder", default_order) == "Descending":
        found.reverse()
    start = _offset(request.get("NextToken"))
    size = int(request.get("MaxResults", 100))
    answer: dict[str, Any] = {key: [{f: r[f] for f in fields if f in r} for r in found[start : start + size]]}
    if start + size < len(found):
        answer["NextToken"] = f"offset-{start + size}"
    return answer


def _offset(token: str | None) -> int:
    if token is None:
        return 0
    match = re.fullmatch(r"offset-(\d+)", token)
    if match is None:
        raise ServiceError(f"NextToken {token!r} is not one that this account gave out.")
    return int(match.group(1))


def epoch(value: float | str) -> float:
    """A timestamp of a JSON request, as epoch seconds."""
    if isinstance(value, str):
        from botocore.utils import parse_timestamp

        return float(parse_timestamp(value).timestamp())
    return float(value)
