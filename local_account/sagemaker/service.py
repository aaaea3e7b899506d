"""SageMaker's control plane: the service, the tables that its parts share, and how they answer lists.

Runs in the server process. What implements the actions is in ``tags``, ``models``, ``registry``, ``jobs``,
``pipelines`` and ``endpoints``: classes over this service, put together in ``install``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from local_account.account import Account
from local_account.authority.authority import AccessDeniedError
from local_account.protocol.actions import Reply, ServiceError
from local_account.protocol.members import register
from local_account.protocol.records import chosen
from local_account.protocol.service import Service
from local_account.protocol.wire import Request
from local_account.sagemaker.records import (
    EndpointConfigRecord,
    EndpointRecord,
    ExecutionRecord,
    ModelPackageGroupRecord,
    ModelPackageRecord,
    ModelRecord,
    PipelineRecord,
    RequestToken,
)

log = logging.getLogger(__name__)


class SageMaker(Service):
    """State and actions of one account's SageMaker."""

    title = "SageMaker"

    def __init__(self, account: Account) -> None:
        super().__init__(account, "sagemaker")
        register(Path(__file__).with_name("members.toml"))

    @property
    def tags(self) -> dict[str, dict[str, str]]:
        """Keys and values by the ARN of what they tag."""
        return self.table("tags", dict[str, str])

    @property
    def models(self) -> dict[str, ModelRecord]:
        """By name."""
        return self.table("models", ModelRecord)

    @property
    def model_package_groups(self) -> dict[str, ModelPackageGroupRecord]:
        """By name."""
        return self.table("model-package-groups", ModelPackageGroupRecord)

    @property
    def model_packages(self) -> dict[str, ModelPackageRecord]:
        """By ARN."""
        return self.table("model-packages", ModelPackageRecord)

    @property
    def pipelines(self) -> dict[str, PipelineRecord]:
        """By name."""
        return self.table("pipelines", PipelineRecord)

    @property
    def pipeline_executions(self) -> dict[str, ExecutionRecord]:
        """By ARN."""
        return self.table("pipeline-executions", ExecutionRecord)

    @property
    def request_tokens(self) -> dict[str, RequestToken]:
        """By the request's action and its ClientRequestToken."""
        return self.table("request-tokens", RequestToken)

    @property
    def endpoint_configs(self) -> dict[str, EndpointConfigRecord]:
        """By name."""
        return self.table("endpoint-configs", EndpointConfigRecord)

    @property
    def endpoints(self) -> dict[str, EndpointRecord]:
        """By name."""
        return self.table("endpoints", EndpointRecord)

    def jobs(self, kind: str) -> dict[str, dict[str, object]]:
        """Jobs of a kind (Processing, Training, Transform) by name; ``records`` has their shapes."""
        return self.table(f"{kind.lower()}-jobs", dict[str, object])

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
    resources: Iterable[Mapping[str, object]],
    request: Mapping[str, object],
    *,
    key: str,
    fields: Sequence[str],
    name_field: str,
    default_order: str = "Descending",
) -> Reply:
    """Answer a ``List*`` action: NameContains, the time filters, SortBy, SortOrder, MaxResults and NextToken.

    ``key`` is the member that holds the summaries, ``fields`` what of a resource a summary shows. Raises ServiceError
    for a token that was not given out here.
    """
    part = str(request.get("NameContains", "")).lower()
    found = [r for r in resources if part in str(r.get(name_field, "")).lower()]
    for time_field, (after, before) in _TIME_FILTERS.items():
        for name in after & request.keys():
            found = [r for r in found if _time(r, time_field) > epoch_s(request[name])]
        for name in before & request.keys():
            found = [r for r in found if _time(r, time_field) < epoch_s(request[name])]
    found.sort(key=_sort_key(str(request.get("SortBy", "")), name_field))  # of equal ones the first made comes first
    if request.get("SortOrder", default_order) == "Descending":
        found.reverse()
    start, size = _offset(request.get("NextToken")), int(str(request.get("MaxResults", 100)))
    answer: dict[str, object] = {key: [chosen(r, fields) for r in found[start : start + size]]}
    if start + size < len(found):
        answer["NextToken"] = f"offset-{start + size}"
    return answer


def _sort_key(wanted: str, name_field: str) -> Callable[[Mapping[str, object]], str | float]:
    """What ``SortBy`` orders resources by; without it, when they were made."""
    if wanted in {"Name", name_field}:
        return lambda resource: str(resource.get(name_field, ""))
    if wanted == "Status":
        return lambda resource: next((str(resource[name]) for name in resource if _is_status(name)), "")
    return lambda resource: _time(resource, wanted if wanted in _TIME_FILTERS else "CreationTime")


def _is_status(name: str) -> bool:
    return name.endswith("Status") and name != "SecondaryStatus"


def _time(resource: Mapping[str, object], field: str) -> float:
    """Epoch seconds of a time; what was never changed was changed when it was made."""
    value = resource.get(field) or resource.get("CreationTime")
    return float(value) if isinstance(value, int | float) else 0.0


def _offset(token: object) -> int:
    if token is None:
        return 0
    match = re.fullmatch(r"offset-(\d+)", str(token))
    if match is None:
        raise ServiceError(f"NextToken {token!r} is not one that this account gave out.")
    return int(match.group(1))


def epoch_s(value: object) -> float:
    """A timestamp of a JSON request, a number or ISO 8601 text, as epoch seconds."""
    if isinstance(value, int | float):
        return float(value)
    from botocore.utils import parse_timestamp

    return float(parse_timestamp(value).timestamp())
