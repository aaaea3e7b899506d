"""What a client is told when moto fails in the middle of a request.

Runs in the server process. moto often looks something up by what the request holds, or reads a number of it, and fails
when it is not there or is none: that is the client's error, and is answered as the service says such a thing. Whatever
else fails is a fault of ours, `InternalFailure`; the log has the traceback of both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import botocore.session

from local_account.authority.requests import CLIENT_NAMES
from local_account.protocol.members import table_of
from local_account.protocol.sent_members import sent_members

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

_MISSING = re.compile(r"NotFound|DoesNotExist|NoSuch|NonExistent|Unknown\w*Exception$")
_LOOKS = (KeyError, ValueError, IndexError)


class ClientFault(NamedTuple):
    """The service's own error for what a request holds."""

    code: str
    message: str
    status: int


def of_the_client(environ: WSGIEnvironment, service: str, error: Exception) -> ClientFault | None:
    """The error for a request whose own value made moto fail; None where it is not known to be one."""
    sent = sent_members(service, environ)
    if sent is None or not isinstance(error, _LOOKS):
        return None
    operation, members = sent
    given = list(_texts(members))
    if isinstance(error, KeyError) and error.args and error.args[0] in given:
        return _not_found(service, operation, str(error.args[0]))
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        return _invalid(service, f"{operation} needs {error.args[0]}, which the request does not have.")
    if isinstance(error, ValueError) and any(repr(text) in str(error) for text in given):
        return _invalid(service, f"{operation} cannot take a value: {error}.")
    return None


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _not_found(service: str, operation: str, name: str) -> ClientFault:
    model = botocore.session.get_session().get_service_model(CLIENT_NAMES.get(service, service))
    shapes = model.operation_model(operation).error_shapes if operation in model.operation_names else []
    missing = next((shape for shape in shapes if _MISSING.search(shape.name)), None)
    if missing is None:
        return _invalid(service, f"{operation} cannot find {name!r}.")
    error = missing.metadata.get("error", {})
    return ClientFault(
        str(error.get("code", missing.name)), f"{name!r} does not exist.", int(error.get("httpStatusCode", 400))
    )


def _invalid(service: str, message: str) -> ClientFault:
    table = table_of(service)
    code = table.code if table else "ValidationException"
    return ClientFault("InvalidRequest" if code == "NotImplemented" else code, message, 400)


def named_call(service: str, action: str, error: Exception | None = None) -> str:
    """What was asked for, for a person."""
    if action:
        return f"{service}'s {action}"
    return f"this call of {service}{f' ({error})' if error and str(error) else ''}"
