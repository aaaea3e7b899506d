"""AWS CloudFormation of the account: the wire; what it does is in ``stack_actions`` and ``change_set_actions``.

Runs in the server process. moto's is not used: it skips types that it does not know and still says CREATE_COMPLETE.
Here every resource is made through the account's own API, so that it behaves like one that a client made, and what is
not implemented fails the stack. Differences from AWS: no nested stacks, macros, drift, stack sets or stack policies.
"""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from local_account.account import Account
from local_account.base.errors import ErrorAnswer, aws_error, not_implemented
from local_account.cloudformation.change_set_actions import ChangeSetActions
from local_account.cloudformation.stack import settle
from local_account.cloudformation.stack_actions import StackActionError, StackActions
from local_account.cloudformation.template import TemplateError

log = logging.getLogger(__name__)

_TIMES = {"CreationTime", "LastUpdatedTime", "DeletionTime", "Timestamp", "LastUpdatedTimestamp"}


def install(account: Account) -> CloudFormation:
    return CloudFormation(account)


class CloudFormation:
    """The WSGI application, and what is kept over a restart."""

    def __init__(self, account: Account) -> None:
        from moto.core.utils import get_service_model

        self._stacks = StackActions(account)
        self._change_sets = ChangeSetActions(self._stacks)
        self._actions = self._stacks.actions() | self._change_sets.actions()
        self._model = get_service_model("cloudformation")
        account.snapshots.register("cloudformation", self._dump, self._load)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        from moto.core.parse import QueryParser
        from moto.core.serialize import get_serializer_class

        values = dict(parse_qsl(environ["wsgi.input"].read().decode(), keep_blank_values=True))
        name = values.get("Action", "")
        if name not in self._actions:
            return _send(not_implemented(environ, "cloudformation", f"cloudformation's {name}"), start_response)
        operation = self._model.operation_model(name)
        try:
            form: Any = {"values": values}  # all that the query protocol reads of a request
            parsed = QueryParser(operation).parse(form) if operation.input_shape else {}
            with self._stacks.lock:
                answer = self._actions[name](_plain(parsed))
            self._stacks.let_finish()
        except (StackActionError, TemplateError) as error:
            code = error.code if isinstance(error, StackActionError) else "ValidationError"
            return _send(aws_error(environ, "cloudformation", code, str(error)), start_response)
        except Exception as error:  # a fault of ours, shaped as the service's own; the log has the traceback
            log.exception("%s failed", name)
            message = f"{name}: {type(error).__name__}: {error}"
            return _send(aws_error(environ, "cloudformation", "InternalFailure", message, 500), start_response)
        serializer = get_serializer_class("cloudformation", "query")(operation)
        sent = serializer.serialize(_with_times(answer))
        start_response(f"{sent['status_code']} OK", list(sent["headers"].items()))
        body = sent["body"]
        return [body.encode() if isinstance(body, str) else body]

    def _dump(self) -> bytes:
        with self._stacks.lock:
            return json.dumps({"stacks": self._stacks.records, "change_sets": self._change_sets.records}).encode()

    def _load(self, content: bytes) -> None:
        loaded = json.loads(content)
        self._stacks.records, self._change_sets.records = loaded["stacks"], loaded["change_sets"]
        for record in self._stacks.records.values():
            settle(record)


def _plain(value: Any) -> Any:
    """moto's parsed request as plain dictionaries and lists."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _with_times(value: Any, name: str = "") -> Any:
    """Times are kept as text and sent as the serializer's own."""
    if isinstance(value, dict):
        return {key: _with_times(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_times(item) for item in value]
    return datetime.datetime.fromisoformat(value) if name in _TIMES and isinstance(value, str) else value


def _send(answer: ErrorAnswer, start_response: Any) -> list[bytes]:
    start_response(answer.status_line, answer.headers)
    return [answer.body]
