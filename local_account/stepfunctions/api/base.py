"""What the actions share: the backend of the request, the check of a request, the pages of a listing.

Runs in the server process.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from moto.core.responses import ActionResult
from moto.stepfunctions.exceptions import InvalidToken
from moto.stepfunctions.responses import StepFunctionResponse

from local_account.base.replacements import extends
from local_account.stepfunctions.api.requests import request_fault
from local_account.stepfunctions.backend import AccountBackend

if TYPE_CHECKING:
    from moto.core.common_types import TYPE_RESPONSE

_Item = TypeVar("_Item")
PAGE = 100
PAGE_LIMIT = 1000


@extends
class CheckedResponses(StepFunctionResponse):
    """Answers requests that are as the service's model wants them."""

    @property
    def stepfunction_backend(self) -> AccountBackend:
        """The backend of the request's region."""
        return backend_of(self.current_account, self.region)

    def call_action(self) -> TYPE_RESPONSE:
        """Answer the action, or what is wrong with its request."""
        fault = request_fault(self._get_action(), self.body)
        if fault is None:
            return super().call_action()
        headers = {**self.response_headers, "status": "400", "content-type": "application/x-amz-json-1.0"}
        return 400, headers, json.dumps({"__type": fault[0], "message": fault[1]})


def backend_of(account_id: str, region: str) -> AccountBackend:
    """The backend that moto's registry keeps for an account and a region."""
    from moto.stepfunctions.parser.models import stepfunctions_parser_backends

    found = stepfunctions_parser_backends[account_id][region]
    if not isinstance(found, AccountBackend):
        raise TypeError(f"moto made a {type(found).__name__} before Step Functions was installed")
    return found


def page_of(
    request: StepFunctionResponse,
    member: str,
    items: Sequence[_Item],
    describe: Callable[[_Item], Mapping[str, object]],
) -> ActionResult:
    """The page of a listing that is asked for, with the token of the next; InvalidToken."""
    size = min(request._get_int_param("maxResults") or PAGE, PAGE_LIMIT)
    token = request._get_param("nextToken")
    try:
        start = int(base64.b64decode(token, validate=True)) if token else 0
    except ValueError as error:
        raise InvalidToken(f"'{token}'") from error
    answer: dict[str, object] = {member: [describe(item) for item in items[start : start + size]]}
    if start + size < len(items):
        answer["nextToken"] = base64.b64encode(str(start + size).encode()).decode()
    return ActionResult(answer)
