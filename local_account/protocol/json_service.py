"""The front of a service that is ours and speaks AWS's JSON: checks a request, runs its action, answers.

Runs in the server process. Requests are validated against botocore's model of the action; resources are plain
dictionaries in the shapes that the service answers, times as epoch seconds. They are kept in ``<state>/services``.
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
from local_account.base import clock
from local_account.base.errors import aws_error, not_implemented
from local_account.protocol.validation import problems

log = logging.getLogger(__name__)

Resource = dict[str, Any]
Action = Callable[[dict[str, Any]], dict[str, Any] | None]
_READING = re.compile(r"(Get|List|Describe|BatchGet)[A-Z]")


class ServiceError(Exception):
    """An error as the service answers it: ``code`` is the exception's name on the wire."""

    def __init__(self, message: str, code: str = "ValidationException", status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class JsonService:
    """State and actions of one service. Hold ``lock`` for every read-modify-write of ``tables``."""

    invalid_code = "ValidationException"
    """What the service calls a request that it does not understand."""

    def __init__(self, account: Account, name: str) -> None:
        self.account = account
        self.name = name
        self.lock = threading.RLock()
        self.tables: dict[str, dict[str, Resource]] = {}
        self.actions: dict[str, Action] = {}
        self._model = botocore.session.get_session().get_service_model(name)
        account.snapshots.register(name, self._dump, self._load)

    def table(self, kind: str) -> dict[str, Resource]:
        return self.tables.setdefault(kind, {})

    def changed(self) -> None:
        """Call after every change of ``tables``: it will be on disk within a second."""
        self.account.snapshots.mark_dirty(self.name)

    def _dump(self) -> bytes:
        with self.lock:
            return json.dumps(self.tables).encode()

    def _load(self, content: bytes) -> None:
        self.tables = json.loads(content)

    def call(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        """Validate and run one action; raises ServiceError."""
        problem = problems(request, self._model.operation_model(name).input_shape)
        if problem:
            raise ServiceError(problem, self.invalid_code)
        # Only reading holds the lock throughout: other actions may call this account's API themselves.
        with self.lock if _READING.match(name) else contextlib.nullcontext():
            answer = self.actions[name](request) or {}
        with self.lock:  # what runs may change the resource while it is sent
            return copy.deepcopy(answer)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        name = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        try:
            if name not in self.actions:
                return _send(not_implemented(environ, self.name, f"{self.name}'s {name or 'call'}"), start_response)
            answer = self.call(name, _read(body))
        except ServiceError as error:
            return _send(aws_error(environ, self.name, error.code, str(error), error.status), start_response)
        except Exception as error:  # a fault of ours, shaped as the service's own; the log has the traceback
            log.exception("%s's %s failed", self.name, name)
            message = f"{name}: {type(error).__name__}: {error}"
            return _send(aws_error(environ, self.name, "InternalFailure", message, 500), start_response)
        return self._answer(name, answer, start_response)

    def _answer(self, name: str, answer: dict[str, Any], start_response: Any) -> list[bytes]:
        shape = self._model.operation_model(name).output_shape
        headers = [("Content-Type", f"application/x-amz-json-{self._model.metadata['jsonVersion']}")]
        content = json.dumps(_known(answer, shape)).encode() if shape else b"{}"
        start_response("200 OK", [*headers, ("Content-Length", str(len(content)))])
        return [content]


def _read(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body or b"{}")
    except ValueError as error:
        raise ServiceError(f"The body cannot be read: {error}", "SerializationException") from error
    if not isinstance(request, dict):
        raise ServiceError("The body is no structure.", "SerializationException")
    return request


def _known(answer: dict[str, Any], shape: Any) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name in shape.members}


def _send(answer: Any, start_response: Any) -> list[bytes]:
    start_response(answer.status_line, answer.headers)
    return [answer.body]


def page(items: list[Any], request: dict[str, Any], key: str, size: int = 100) -> dict[str, Any]:
    """The part of ``items`` that ``maxResults`` and ``nextToken`` ask for, as ``{key: ..., "nextToken": ...}``."""
    token = request.get("nextToken", "offset-0")
    match = re.fullmatch(r"offset-(\d+)", token)
    if match is None:
        raise ServiceError(f"{token!r} is not a token that this account gave out.", "InvalidNextTokenException")
    start, size = int(match[1]), int(request.get("maxResults", size))
    answer: dict[str, Any] = {key: items[start : start + size]}
    if start + size < len(items):
        answer["nextToken"] = f"offset-{start + size}"
    return answer


def now() -> float:
    """Epoch seconds, to the millisecond, as AWS answers times."""
    return round(clock.time(), 3)
