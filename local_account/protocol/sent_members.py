"""The members of a request to a service that moto answers, in the names of botocore's model, whatever the protocol.

Runs in the server process. Bodies that are an object's or a function's own content are not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs, parse_qsl

from local_account.authority.requests import CLIENT_NAMES, asked
from local_account.base.errors import protocol_of

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

    from botocore.model import OperationModel, Shape
    from moto.core.model import OperationModel as MotoOperation
    from moto.core.parse import RequestDict

Sent = tuple[str, Mapping[str, object]]
"""An operation's name and the members that were sent."""


def sent_members(service: str, environ: WSGIEnvironment) -> Sent | None:
    """What a request sends; None where it names no operation of the service, or cannot be read."""
    request = asked(service, environ)
    if request is None:
        return None
    protocol = protocol_of(environ, service)
    if protocol in {"json", "cbor"}:
        return request.operation, request.parameters
    operation = _operation(service, request.operation)
    if operation is None or operation.input_shape is None:
        return None
    try:
        read = _form_members if protocol == "query" else _rest_members
        return request.operation, {**_in_address(operation, request.parameters), **read(operation, environ)}
    except Exception:  # whatever a client may send; the service itself answers what is wrong with it
        return None


def _in_address(operation: OperationModel, parameters: Mapping[str, object]) -> dict[str, object]:
    """The members that the address holds."""
    located = (
        name for name, shape in operation.input_shape.members.items() if shape.serialization.get("location") == "uri"
    )
    return {name: parameters[name] for name in located if parameters.get(name) is not None}


@cache
def _operation(service: str, name: str) -> OperationModel | None:
    from moto.core.utils import get_service_model  # heavy, and only needed once the server runs

    model = get_service_model(CLIENT_NAMES.get(service, service))
    return model.operation_model(name) if name in model.operation_names else None


def body_of(environ: WSGIEnvironment) -> bytes:
    """A request's body, which stays to be read again."""
    stream = environ["wsgi.input"]
    content: bytes = stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    stream.seek(0)
    return content


def _form_members(operation: OperationModel, environ: WSGIEnvironment) -> Mapping[str, object]:
    from moto.core.parse import QueryParser
    from werkzeug.datastructures import Headers, MultiDict

    body = body_of(environ)
    values = MultiDict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    form: RequestDict = {
        "body": body, "headers": Headers(), "method": "POST", "url_params": {}, "url_path": "/", "values": values,
    }  # fmt: skip
    parsed = QueryParser(cast("MotoOperation", operation)).parse(form)
    return {name: value for name, value in parsed.items() if value is not None}


def _rest_members(operation: OperationModel, environ: WSGIEnvironment) -> Mapping[str, object]:
    shape = operation.input_shape
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    found: dict[str, object] = {}
    for name, member in shape.members.items():
        location = member.serialization.get("location")
        if location and (value := _LOCATIONS[location](member, name, query, environ)) is not None:
            found[name] = value
    return found | _of_body(operation, shape, environ)


def _of_header(member: Shape, name: str, _query: Mapping[str, list[str]], environ: WSGIEnvironment) -> object:
    header = str(member.serialization.get("name", name)).upper().replace("-", "_")
    value = environ.get(header if header in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{header}")
    return _plain(member, value)


def _of_query(member: Shape, name: str, query: Mapping[str, list[str]], _environ: WSGIEnvironment) -> object:
    values = query.get(str(member.serialization.get("name", name)))
    return _plain(member, values[0]) if values else None


def _nothing(_member: Shape, _name: str, _query: Mapping[str, list[str]], _environ: WSGIEnvironment) -> object:
    """What an address or a prefix of headers holds is always acted on."""
    return None


def _plain(member: Shape, value: str | None) -> object:
    return value.lower() == "true" if member.type_name == "boolean" and value is not None else value


_LOCATIONS: Mapping[str, Callable[[Shape, str, Mapping[str, list[str]], WSGIEnvironment], object]] = {
    "header": _of_header,
    "headers": _nothing,
    "querystring": _of_query,
    "uri": _nothing,
    "statusCode": _nothing,
}


def _of_body(operation: OperationModel, shape: Shape, environ: WSGIEnvironment) -> dict[str, object]:
    payload = shape.serialization.get("payload")
    if payload and shape.members[payload].type_name != "structure":
        return {}
    if not int(environ.get("CONTENT_LENGTH") or 0):
        return {}
    parsed = _body_parser(operation.service_model.metadata["protocol"])(operation, body_of(environ))
    return dict(_in_body(shape, parsed, payload))


def _in_body(shape: Shape, parsed: Mapping[str, object], payload: str | None) -> Iterator[tuple[str, object]]:
    for name, value in parsed.items():
        located = name in shape.members and shape.members[name].serialization.get("location")
        if value is not None and not located and (payload is None or name == payload):
            yield name, value


@cache
def _body_parser(protocol: str) -> Callable[[OperationModel, bytes], Mapping[str, object]]:
    from moto.core.parse import RestJSONParser, RestXMLParser
    from werkzeug.datastructures import Headers, MultiDict

    kind = RestXMLParser if protocol == "rest-xml" else RestJSONParser

    def parse(operation: OperationModel, body: bytes) -> Mapping[str, object]:
        request: RequestDict = {
            "body": body, "headers": Headers(), "method": "POST", "url_params": {}, "url_path": "/",
            "values": MultiDict(),
        }  # fmt: skip
        parsed: Mapping[str, object] = kind(cast("MotoOperation", operation)).parse(request)
        return parsed

    return parse
