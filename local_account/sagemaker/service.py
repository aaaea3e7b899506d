"""The front of SageMaker's control plane: routes ``X-Amz-Target: SageMaker.<Action>`` to what implements it.

Runs in the server process. Requests are validated against botocore's model of the action; resources are kept as plain
dictionaries in the shapes that ``Describe*`` answers, times as epoch seconds, as the JSON protocol sends them.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any

import botocore.session

from local_account.account import Account
from local_account.authority.authority import AccessDeniedError
from local_account.base import clock
from local_account.protocol.validation import problems

log = logging.getLogger(__name__)

Action = Callable[[dict[str, Any]], dict[str, Any] | None]
Resource = dict[str, Any]


class SageMakerError(Exception):
    """An error as SageMaker answers it: ``code`` is the exception's name on the wire."""

    def __init__(self, message: str, code: str = "ValidationException", status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def not_found(what: str) -> SageMakerError:
    return SageMakerError(f"Could not find {what}.", "ValidationException")


class SageMaker:
    """State and actions of one account's SageMaker. Lock ``lock`` for every read-modify-write of ``tables``."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.lock = threading.RLock()
        self.tables: dict[str, dict[str, Resource]] = {}
        self.actions: dict[str, Action] = {}
        self._model = botocore.session.get_session().get_service_model("sagemaker")
        account.snapshots.register("sagemaker", self._dump, self._load)

    def table(self, kind: str) -> dict[str, Resource]:
        """Resources of a kind (``models``, ``endpoints``, ``training-jobs``...) by name or ARN."""
        return self.tables.setdefault(kind, {})

    def changed(self) -> None:
        """Call after every change of ``tables``: it will be on disk within a second."""
        self.account.snapshots.mark_dirty("sagemaker")

    def _dump(self) -> bytes:
        with self.lock:
            return json.dumps(self.tables).encode()

    def _load(self, content: bytes) -> None:
        self.tables = json.loads(content)

    def arn(self, resource: str) -> str:
        return self.account.arn("sagemaker", resource)

    def implement(self, actions: dict[str, Action]) -> None:
        self.actions.update(actions)

    def call(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        """Validate and run one action; raises SageMakerError."""
        action = self.actions.get(name)
        if action is None:
            raise SageMakerError(
                f"The stand-in account does not implement SageMaker's {name}.", "UnknownOperationException"
            )
        problem = problems(request, self._model.operation_model(name).input_shape)
        if problem:
            raise SageMakerError(problem)
        self._check_role(request.get("RoleArn") or request.get("ExecutionRoleArn"))
        # Only reading holds the lock throughout: other actions may call this account's API themselves.
        with self.lock if name.startswith(("Describe", "List")) else contextlib.nullcontext():
            answer = action(request) or {}
        with self.lock:  # a running job may change the resource while it is sent
            return copy.deepcopy(answer)

    def _check_role(self, role: str | None) -> None:
        """A role that is handed over has to let SageMaker assume it."""
        if role is not None:
            try:
                self.account.authority.demand_trust(role, "sagemaker.amazonaws.com", self.arn("*"))
            except AccessDeniedError as error:
                raise SageMakerError(
                    f"Could not assume role {role}. Please ensure that the role exists and allows principal "
                    "'sagemaker.amazonaws.com' to assume the role."
                ) from error

    def emit(self, detail_type: str, detail: dict[str, Any], resources: list[str]) -> None:
        """Send an event to EventBridge; a rule that cannot be delivered to does not fail what caused the event."""
        try:
            self.account.emit_event("aws.sagemaker", detail_type, detail, resources)
        except Exception:
            log.exception("event %r was not delivered", detail_type)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        name = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")[2]
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        try:
            answer, status = self.call(name, json.loads(body or b"{}")), 200
        except json.JSONDecodeError as error:
            answer, status = {"__type": "SerializationException", "message": f"The body is not JSON: {error}"}, 400
        except SageMakerError as error:
            answer, status = {"__type": error.code, "message": str(error)}, error.status
        except Exception as error:  # a fault of ours, shaped as the service's own; the log has the traceback
            log.exception("%s failed", name)
            answer, status = {"__type": "InternalFailure", "message": f"{name}: {type(error).__name__}: {error}"}, 500
        content = json.dumps(answer).encode()
        headers = [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(content)))]
        start_response(f"{status} {'OK' if status == 200 else 'Error'}", headers)
        return [content]


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
        raise SageMakerError(f"NextToken {token!r} is not one that this account gave out.")
    return int(match.group(1))


def epoch(value: float | str) -> float:
    """A timestamp of a JSON request, as epoch seconds."""
    if isinstance(value, str):
        from botocore.utils import parse_timestamp

        return float(parse_timestamp(value).timestamp())
    return float(value)


def now() -> float:
    """Epoch seconds, to the millisecond, as SageMaker answers times."""
    return round(clock.time(), 3)
