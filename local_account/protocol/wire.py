"""How requests and answers look on the wire, in the three protocols that the account's own services speak.

Runs in the server process. A wire reads which action a request names and its members, and writes an answer; errors
are written by ``base.errors``, which reads the protocol off the request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl

import botocore.session

from local_account.protocol.actions import Reply, ServiceError

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

    from botocore.model import OperationModel, ServiceModel, Shape
    from moto.core.parse import RequestDict

Request = dict[str, object]


@dataclass(frozen=True)
class WireRequest:
    """A request as it came: the action's name, empty where it names none, and the body."""

    action: str
    body: bytes


@dataclass(frozen=True)
class WireAnswer:
    """An answer's body and the headers that say what it is."""

    headers: list[tuple[str, str]]
    body: bytes


class Wire(Protocol):
    """One protocol of AWS."""

    def model(self, service: str) -> ServiceModel:
        """The service's model, as this wire reads it."""

    def receive(self, environ: WSGIEnvironment) -> WireRequest:
        """Take the request from the connection."""

    def read(self, operation: OperationModel, body: bytes, /) -> Request:
        """The members of a request.

        Raises ServiceError for a body that is none of this protocol.
        """

    def write(self, operation: OperationModel, answer: Reply, /) -> WireAnswer:
        """An answer, without the members that the operation's output does not know."""


class JsonWire:
    """AWS's JSON protocol: ``X-Amz-Target`` names the action, times are epoch seconds."""

    def model(self, service: str) -> ServiceModel:
        """botocore's model of the service."""
        return botocore.session.get_session().get_service_model(service)

    def receive(self, environ: WSGIEnvironment) -> WireRequest:
        """Take the request from the connection."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        return WireRequest(environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2], body)

    def read(self, _operation: OperationModel, body: bytes, /) -> Request:
        """The members of a request; raises ServiceError for a body that is no JSON object."""
        try:
            request = json.loads(body or b"{}")
        except ValueError as error:
            raise ServiceError(f"The body is not JSON: {error}", "SerializationException") from error
        if not isinstance(request, dict):
            raise ServiceError("The body is no structure.", "SerializationException")
        return request

    def write(self, operation: OperationModel, answer: Reply, /) -> WireAnswer:
        """An answer as JSON."""
        version = operation.service_model.metadata["jsonVersion"]
        shape = operation.output_shape
        known = {name: value for name, value in answer.items() if name in shape.members} if shape else {}
        return WireAnswer([("Content-Type", f"application/x-amz-json-{version}")], json.dumps(known).encode())


class RestJsonWire(JsonWire):
    """AWS's REST protocol with JSON, for operations whose path has no members: it names the action by itself."""

    def receive(self, environ: WSGIEnvironment) -> WireRequest:
        """Take the request from the connection."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        return WireRequest(environ["PATH_INFO"].strip("/"), body)

    def write(self, operation: OperationModel, answer: Reply, /) -> WireAnswer:
        """An answer as JSON."""
        shape = operation.output_shape
        known = {name: value for name, value in answer.items() if name in shape.members} if shape else {}
        return WireAnswer([("Content-Type", "application/json")], json.dumps(known).encode())


class QueryWire:
    """AWS's query protocol: a form comes in, XML goes out; the account keeps times as ISO 8601 text."""

    def model(self, service: str) -> ServiceModel:
        """botocore's model of the service, with what moto adds to it for its parser and its serializer."""
        from moto.core.utils import get_service_model  # heavy, and only needed once the server runs

        return get_service_model(service)

    def receive(self, environ: WSGIEnvironment) -> WireRequest:
        """Take the request from the connection."""
        body = environ["wsgi.input"].read()
        return WireRequest(dict(parse_qsl(body.decode("utf-8", "replace"))).get("Action", ""), body)

    def read(self, operation: OperationModel, body: bytes, /) -> Request:
        """The members of a request; raises ServiceError for a form that the operation does not have."""
        from moto.core.parse import QueryParser
        from werkzeug.datastructures import Headers, MultiDict

        if operation.input_shape is None:
            return {}
        values = MultiDict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        form: RequestDict = {
            "body": body, "headers": Headers(), "method": "POST", "url_params": {}, "url_path": "/", "values": values,
        }  # fmt: skip
        try:
            parsed = QueryParser(operation).parse(form)
        except Exception as error:  # a form that is none of this operation's, such as a number that is none
            raise ServiceError(f"{operation.name} cannot be read: {error}") from error
        return {name: _plain(value) for name, value in parsed.items() if value is not None}

    def write(self, operation: OperationModel, answer: Reply, /) -> WireAnswer:
        """An answer as XML."""
        from moto.core.serialize import get_serializer_class

        shape = operation.output_shape
        serializer = get_serializer_class(operation.service_model.service_name, "query")(operation)
        sent = serializer.serialize(_with_times(answer, shape) if shape else {})
        body = sent["body"]
        return WireAnswer(list(sent["headers"].items()), body.encode() if isinstance(body, str) else body)


def _plain(value: object) -> object:
    """moto's parsed request as plain dictionaries and lists."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _with_times(value: object, shape: Shape) -> object:
    """The value as its shape knows it, times as moto's serializer wants them."""
    if isinstance(value, Mapping) and shape.type_name == "structure":
        return {key: _with_times(item, shape.members[key]) for key, item in value.items() if key in shape.members}
    if isinstance(value, list) and shape.type_name == "list":
        return [_with_times(item, shape.member) for item in value]
    return datetime.fromisoformat(value) if shape.type_name == "timestamp" and isinstance(value, str) else value
