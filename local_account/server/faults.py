"""What a client is told when moto fails in the middle of a request.

Runs in the server process. moto often looks something up by what the request holds, or reads a number of it, and fails
when it is not there or is none: that is the client's error, and is answered as the service says such a thing. Values
that moto cannot work with otherwise are refused as such. Where the code that fails is ours it is a fault of ours,
whatever it looks like: `InternalFailure`. The log has the traceback of all.
"""

from __future__ import annotations

import json
import os
import re
import traceback
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import botocore.session

from local_account.authority.requests import CLIENT_NAMES
from local_account.protocol.members import paths_of, table_of
from local_account.protocol.sent_members import UnreadableError, input_shape, sent_members

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

_MISSING = re.compile(r"NotFound|DoesNotExist|NoSuch|NonExistent|Unknown\w*Exception$")
# Codes of moto's that the service does not have, and what it says instead.
_RENAMED = {
    ("dynamodb", "ResourceNotFound"): "ResourceNotFoundException",
    ("dynamodb", "SourceTableNotFoundException"): "TableNotFoundException",
    ("s3", "NoSuchInventoryConfig"): "NoSuchConfiguration",
    ("sns", "Statement already exists"): "Invalid parameter: Statement already exists",
    ("sns", "Policy statement action out of"): "Invalid parameter: Policy statement action out of",
    ("sns", "Endpoint does not exist"): "Topic does not exist",
    ("sns", "The topic should either have"): "Invalid parameter: The topic should either have",
    ("sqs", "can't find label on existing policy"): "can't find label",
    ("sqs", "com.amazonaws.sqs#InvalidParameterValue"): "com.amazonaws.sqs#InvalidParameterValueException",
}
_OURS, _MOTOS = f"{os.sep}local_account{os.sep}", f"{os.sep}moto{os.sep}"


# What boto3 puts before a message, and moto's messages may have.
_TWICE = re.compile(rb"\s*<message>.*?</message>", re.DOTALL)
_PYTHONS = re.compile(rb"(?:\w+Exception: )?An error occurred \(\w+\)\s+when calling the \w+ operation: ")
# Members of a service's errors that moto leaves out.
_ALSO: Mapping[str, Mapping[str, str]] = {"lambda": {"Type": "User"}, "scheduler": {}, "secretsmanager": {}}


_NO_UPLOAD = (
    "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
    "completed."
)


class ClientFault(NamedTuple):
    """The service's own error for what a request holds."""

    code: str
    message: str
    status: int


def of_the_client(environ: WSGIEnvironment, service: str, error: Exception) -> ClientFault | None:
    """The error for a request whose values made moto fail; None where the failing code is ours, or it is none."""
    if isinstance(error, OSError) or not _is_motos(error):
        return None
    try:
        sent = sent_members(service, environ)
    except UnreadableError:
        sent = None
    if sent is None:
        return _invalid(service, f"{service} has no operation that looks like this request.")
    return _wrong_value(service, *sent, error)


def _wrong_value(service: str, operation: str, members: Mapping[str, object], error: Exception) -> ClientFault:
    """The error for what moto did not find, or could not work with."""
    key = str(error.args[0]) if isinstance(error, KeyError) and error.args else ""
    given = list(_texts(members))
    if service == "s3" and key and key == members.get("UploadId"):
        return ClientFault("NoSuchUpload", _NO_UPLOAD, 404)
    if key in given:
        return _not_found(service, operation, key)
    if key and key in _names(service, operation):
        return _invalid(service, f"{operation} needs {key}, which the request does not have.")
    if isinstance(error, ValueError) and any(repr(text) in str(error) for text in given):
        return _invalid(service, f"{operation} cannot take a value: {error}.")
    return _invalid(
        service, f"The stand-in account cannot answer {operation} with these values ({type(error).__name__}: {error})."
    )


def _is_motos(error: Exception) -> bool:
    """Whether the innermost code of the account that was running is moto's, not our own."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    ours, motos = (max((at for at, file in enumerate(files) if part in file), default=-1) for part in (_OURS, _MOTOS))
    return motos > ours


def _names(service: str, operation: str) -> set[str]:
    """The members that an operation has, at any depth."""
    shape = input_shape(service, operation)
    return {name for path in paths_of(shape) for name in path.split(".")} if shape else set()


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


def modelled_status(service: str, status: str, headers: list[tuple[str, str]]) -> str:
    """The status that the service's model has for an error, which moto may not know."""
    code = next((value for name, value in headers if name.lower() == "x-amzn-errortype"), "")
    said = _statuses(service).get(code) if service in _ALSO else None
    return f"{said} Error" if said else status


@cache
def _statuses(service: str) -> Mapping[str, int]:
    model = botocore.session.get_session().get_service_model(CLIENT_NAMES.get(service, service))
    return {shape.name: int(shape.metadata.get("error", {}).get("httpStatusCode", 400)) for shape in model.error_shapes}


def in_the_services_words(
    service: str, headers: list[tuple[str, str]], body: bytes
) -> tuple[list[tuple[str, str]], bytes]:
    """An error of moto's under the code, and with the members, that the service has for it."""
    if body[:1] == b"{" and service in _ALSO:
        said = json.loads(body)
        message = said.get("message", said.get("Message", ""))
        body = json.dumps({**_ALSO[service], "message": message, "Message": message, **said}).encode()
        headers = [(name, str(len(body)) if name.lower() == "content-length" else value) for name, value in headers]
    cleaned = _PYTHONS.sub(b"", _TWICE.sub(b"", body) if b"<Message>" in body else body)
    if cleaned != body:
        body = cleaned
        headers = [(name, str(len(body)) if name.lower() == "content-length" else value) for name, value in headers]
    for (name, theirs), code in _RENAMED.items():
        pattern = rf"\b{theirs}\b".encode()
        if name == service and re.search(pattern, body):
            body = re.sub(pattern, code.encode(), body)
            sized = {"content-length": str(len(body)), "x-amzn-errortype": code}
            headers = [(header, sized.get(header.lower(), value)) for header, value in headers]
    return headers, body


def named_call(service: str, action: str, error: Exception | None = None) -> str:
    """What was asked for, for a person."""
    if action:
        return f"{service}'s {action}"
    return f"this call of {service}{f' ({error})' if error and str(error) else ''}"
