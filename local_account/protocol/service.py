"""The front of the services that are the account's own: checks a request, runs its action, answers.

Runs in the server process. Requests are validated against botocore's model of the action; resources are plain
dictionaries in the shapes that the service answers, kept in ``<state>/services/<name>``. A service is this class, or
one that derives from it, over a wire; its actions are the methods marked with ``@action`` of itself and of the objects
that it is given with ``add``. Reading this file and ``actions`` is enough to write another one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from local_account.account import Account
from local_account.base import clock
from local_account.base.errors import ErrorAnswer, aws_error, not_implemented
from local_account.protocol.actions import Action, Json, Reply, ServiceError, actions_of
from local_account.protocol.foreign import Home, foreign_error
from local_account.protocol.members import table_of
from local_account.protocol.validation import problems
from local_account.protocol.wire import JsonWire, Request, Wire, WireAnswer, WireRequest

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from botocore.model import OperationModel

log = logging.getLogger(__name__)

_READING = re.compile(r"(Get|List|Describe|BatchGet)[A-Z]")
_Record = TypeVar("_Record")


class Service:
    """State and actions of one service; a WSGI application. Hold ``lock`` for every read-modify-write of a table."""

    title = ""
    """What error messages call the service; by default its name."""
    invalid_code = "ValidationException"
    """What the service calls a request that it does not accept."""
    serial = False
    """Whether actions hold the lock while they run, and not only those that read."""

    def __init__(self, account: Account, name: str, wire: Wire | None = None) -> None:
        """``name`` is botocore's; the wire is JSON unless another is given."""
        self.account = account
        self.name = name
        self.lock = threading.RLock()
        self.actions: dict[str, Action] = {}
        self._wire = wire or JsonWire()
        self._tables: dict[str, dict[str, object]] = {}
        self._model = self._wire.model(name)
        self._operations: dict[str, OperationModel] = {}
        account.snapshots.register(name, self._dump, self._load)
        self.add(self)

    def add(self, *holders: object) -> None:
        """Offer the actions of these objects.

        Raises ValueError for an action that botocore's model lacks, or that the service has already.
        """
        for holder in holders:
            for name, method in actions_of(holder).items():
                if name not in self._model.operation_names:
                    raise ValueError(f"{type(holder).__name__}: expected an action of {self.name}'s API, got {name!r}.")
                if name in self.actions:
                    raise ValueError(f"{type(holder).__name__}: {self.name}'s action {name} is there already.")
                self.actions[name] = method

    def table(self, kind: str, _record: type[_Record]) -> dict[str, _Record]:
        """The resources of a kind, each a ``_record``; they outlive the server once ``changed`` was called."""
        return self._tables.setdefault(kind, {})  # type: ignore[return-value]  # what was stored as a record is one

    def changed(self) -> None:
        """Call after every change of a table: it will be on disk within a second."""
        self.account.snapshots.mark_dirty(self.name)

    def arn(self, resource: str) -> str:
        """The ARN of a resource of this service in the account."""
        return self.account.arn(self.name, resource)

    def call(self, name: str, request: Request) -> dict[str, Json]:
        """What a client would be answered; for parts of the service that use its API.

        Raises ServiceError.
        """
        answer = self.perform(name, request)
        with self.lock:  # what runs may change the resource while it is read
            copied: dict[str, Json] = json.loads(json.dumps(answer))
            return copied

    def perform(self, name: str, request: Request) -> Reply:
        """Check and run one action; the answer may hold the resource itself.

        Raises ServiceError.
        """
        self.check(name, request)
        # Only reading holds the lock throughout: other actions may call this account's API themselves.
        with self.lock if self.serial or _READING.match(name) else contextlib.nullcontext():
            return self.actions[name](request) or {}

    def check(self, name: str, request: Request) -> None:
        """Raises ServiceError for a request that does not fit botocore's model of the action."""
        shape = self._operation(name).input_shape
        if shape is not None and (problem := problems(request, shape)):
            raise ServiceError(problem)
        home = Home(self.account.account_id, self.account.region)
        if elsewhere := foreign_error(self.name, name, request, home):
            raise ServiceError(elsewhere.message, elsewhere.code, elsewhere.status)
        table = table_of(self.name)
        for refusal in table.refusals(name, request) if table else ():
            raise ServiceError(f"The stand-in account {refusal.why}.", table.code if table else "")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request that is for this service."""
        message = self._wire.receive(environ)
        name = message.action
        if name not in self.actions:
            what = f"{self.title or self.name}'s {name or 'call'}"
            return _refuse(not_implemented(environ, self.name, what), start_response)
        try:
            written = self._written(message)
        except ServiceError as error:
            code = error.code or self.invalid_code
            return _refuse(aws_error(environ, self.name, code, str(error), error.status), start_response)
        except Exception as error:  # a fault of ours, shaped as the service's own; the log has the traceback
            log.exception("%s's %s failed", self.name, name)
            text = f"{name}: {type(error).__name__}: {error}"
            return _refuse(aws_error(environ, self.name, "InternalFailure", text, 500), start_response)
        start_response("200 OK", [*written.headers, ("Content-Length", str(len(written.body)))])
        return [written.body]

    def _written(self, message: WireRequest) -> WireAnswer:
        operation = self._operation(message.action)
        answer = self.perform(message.action, self._wire.read(operation, message.body))
        with self.lock:  # what runs may change the resource while it is written
            return self._wire.write(operation, answer)

    def _operation(self, name: str) -> OperationModel:
        if name not in self._operations:
            self._operations[name] = self._model.operation_model(name)
        return self._operations[name]

    def _dump(self) -> bytes:
        with self.lock:
            return json.dumps(self._tables).encode()

    def _load(self, content: bytes) -> None:
        self._tables = json.loads(content)


def _refuse(answer: ErrorAnswer, start_response: StartResponse) -> list[bytes]:
    start_response(answer.status_line, answer.headers)
    return [answer.body]


def page(
    items: Sequence[object], request: Mapping[str, object], key: str, size: int = 100, stale_code: str = ""
) -> Reply:
    """The part of ``items`` that ``maxResults`` and ``nextToken`` ask for, as ``{key: ..., "nextToken": ...}``.

    Raises ServiceError for a token that was not given out here, with ``stale_code`` where the service has one.
    """
    token = str(request.get("nextToken", "offset-0"))
    match = re.fullmatch(r"offset-(\d+)", token)
    if match is None:
        raise ServiceError(f"{token!r} is not a token that this account gave out.", stale_code)
    start, size = int(match[1]), int(str(request.get("maxResults", size)))
    answer: dict[str, object] = {key: items[start : start + size]}
    if start + size < len(items):
        answer["nextToken"] = f"offset-{start + size}"
    return answer


def now() -> float:
    """Epoch seconds, to the millisecond, as AWS answers times."""
    return round(clock.time(), 3)
