"""The members of a request to a service that moto answers, in the names of botocore's model, whatever the protocol.

Runs in the server process. Bodies that are an object's or a function's own content are not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs, parse_qsl

from local_account.authority.requests import CLIENT_NAMES, asked, json_of
from local_account.base.errors import protocol_of

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

    from botocore.model import OperationModel, Shape
    from moto.core.model import OperationModel as MotoOperation
    from moto.core.parse import RequestDict

_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_KEPT = "local_account.sent"  # where a request keeps what was read of it
Sent = tuple[str, Mapping[str, object]]
"""An operation's name and the members that were sent."""


class UnreadableError(Exception):
    """A request whose members cannot be read, such as a number that is none."""


def sent_members(service: str, environ: WSGIEnvironment) -> Sent | None:
    """What a request sends; None where it names no operation of the service. Read once for each request.

    Raises UnreadableError.
    """
    if _KEPT not in environ:
        environ[_KEPT] = _sent(service, environ)
    found: Sent | None = environ[_KEPT]
    return found


def _sent(service: str, environ: WSGIEnvironment) -> Sent | None:
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
    except Exception as error:  # whatever a client may send
        raise UnreadableError(f"{request.operation} cannot be read: {error}") from error


def _in_address(operation: OperationModel, parameters: Mapping[str, object]) -> dict[str, object]:
    """The members that the address holds."""
    found = {}
    for name, shape in operation.input_shape.members.items():
        value = parameters.get(name)
        if shape.serialization.get("location") == "uri" and value is not None:
            found[name] = _plain(shape, value) if isinstance(value, str) else value
    return found


@cache
def _operation(service: str, name: str) -> OperationModel | None:
    from moto.core.utils import get_service_model  # heavy, and only needed once the server runs

    model = get_service_model(CLIENT_NAMES.get(service, service))
    return model.operation_model(name) if name in model.operation_names else None


def input_shape(service: str, name: str) -> Shape | None:
    """What an operation takes; None where it takes nothing."""
    operation = _operation(service, name)
    return operation.input_shape if operation else None


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
    given = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    if unwritable := next((name for name, value in given if name != "Message" and _NOT_IN_XML.search(value)), ""):
        raise ValueError(f"{unwritable} holds a character that XML cannot hold")
    values = MultiDict(given)
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
    if member.type_name == "list":
        return values
    return _plain(member, values[0]) if values else None


def _nothing(_member: Shape, _name: str, _query: Mapping[str, list[str]], _environ: WSGIEnvironment) -> object:
    """What an address or a prefix of headers holds is always acted on."""
    return None


def _plain(member: Shape, value: str | None) -> object:
    if value is None or member.type_name == "string":
        return value
    if member.type_name == "boolean":
        return value.lower() == "true"
    if member.type_name in {"integer", "long"}:
        return int(value) if value.lstrip("-").isdigit() else value
    return None if member.type_name in {"list", "map", "structure", "timestamp"} else value


_LOCATIONS: Mapping[str, Callable[[Shape, str, Mapping[str, list[str]], WSGIEnvironment], object]] = {
    "header": _of_header,
    "headers": _nothing,
    "querystring": _of_query,
    "uri": _nothing,
    "statusCode": _nothing,
}


def _of_body(operation: OperationModel, shape: Shape, environ: WSGIEnvironment) -> dict[str, object]:
    payload = shape.serialization.get("payload")
    if (payload and shape.members[payload].type_name != "structure") or not int(environ.get("CONTENT_LENGTH") or 0):
        return {}
    if operation.service_model.metadata["protocol"] == "rest-xml":
        parsed = _of_xml(operation, body_of(environ))
        return {name: value for name, value in parsed.items() if value is not None and name in (payload or name)}
    content = json_of(environ).content
    names = {str(member.serialization.get("name", name)): name for name, member in shape.members.items()}
    return {names[wire]: value for wire, value in content.items() if wire in names and value is not None}


def _of_xml(operation: OperationModel, body: bytes) -> Mapping[str, object]:
    from moto.core.parse import RestXMLParser
    from werkzeug.datastructures import Headers, MultiDict

    request: RequestDict = {
        "body": body, "headers": Headers(), "method": "POST", "url_params": {}, "url_path": "/",
        "values": MultiDict(),
    }  # fmt: skip
    shape = operation.input_shape
    parsed: Mapping[str, object] = RestXMLParser(cast("MotoOperation", operation)).parse(request)
    return {name: value for name, value in parsed.items() if not shape.members[name].serialization.get("location")}


def unreadable(service: str, environ: WSGIEnvironment, operation: str) -> str:
    """Why a body that should be an object of JSON is none; empty when it is, or when it should be something else."""
    shape = input_shape(service, operation)
    length = int(environ.get("CONTENT_LENGTH") or 0)
    packed = "HTTP_CONTENT_ENCODING" in environ
    if protocol_of(environ, service) not in {"json", "rest-json"} or not length or shape is None or packed:
        return ""
    payload = shape.serialization.get("payload")
    if payload and shape.members[payload].type_name != "structure":
        return ""
    return json_of(environ).problem
