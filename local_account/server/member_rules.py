"""Members that nothing here acts on: refused by name before moto, which would drop them, answers a success.

Runs in the server process, for the services that moto answers; our own refuse in `protocol.service`. The tables are
those that the rooms register, see `protocol.members`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from local_account.base.errors import ErrorAnswer, aws_error, not_implemented
from local_account.protocol.foreign import Home, foreign_error
from local_account.protocol.members import MemberTable, table_of
from local_account.protocol.request_shapes import constraints, wrong_type
from local_account.protocol.sent_members import Sent, UnreadableError, body_of, input_shape, sent_members, unreadable
from local_account.server.words.service_words import own_words

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment


# Signing name -> how the service calls values that its model excludes. Elsewhere moto looks at them.
_INVALID = {
    "budgets": "InvalidParameterException",
    "dynamodb": "ValidationException",
    "events": "ValidationException",
    "iam": "ValidationError",
    "kms": "ValidationException",
    "lambda": "ValidationException",
    "logs": "InvalidParameterException",
    "monitoring": "ValidationError",
    "scheduler": "ValidationException",
    "sns": "InvalidParameter",
    "ssm": "ValidationException",
    "sts": "ValidationError",
}
# What the service refuses in words of its own, where the value is used.
_SAID_OTHERWISE = {("lambda", "Runtime")}
_LOG_NAMES, LOG_NAME_LIMIT = ("logGroupName", "logStreamName"), 512
_LOG_NAME_TOO_LONG = "Invalid LogGroup or LogStream, both must have length less than or equal to 512."
# Elsewhere it is a SerializationException.
_UNREADABLE = {
    **{name: _INVALID[name] for name in ("iam", "sns", "sts")},
    **dict.fromkeys(("sqs", "monitoring"), "InvalidParameterValue"),
    "s3": "MalformedXML",
}
_TYPED = {*_INVALID, "sqs", "states"}


def _misshapen(
    environ: WSGIEnvironment, service: str, operation: str, members: Mapping[str, object]
) -> ErrorAnswer | None:
    """The service's error for members that are not as botocore's model says."""
    shape = input_shape(service, operation) if service in _TYPED else None
    if shape is None:
        return None
    if wrong := unreadable(service, environ, operation) or wrong_type(members, shape):
        return aws_error(environ, service, "SerializationException", wrong)
    if service == "logs" and any(len(str(members.get(name, ""))) > LOG_NAME_LIMIT for name in _LOG_NAMES):
        return aws_error(environ, service, _INVALID[service], _LOG_NAME_TOO_LONG)
    checked = {name: value for name, value in members.items() if (service, name) not in _SAID_OTHERWISE}
    problem = constraints(checked, shape) if service in _INVALID else ""
    return aws_error(environ, service, _INVALID[service], problem) if problem else None


def refusal(environ: WSGIEnvironment, service: str, home: Home) -> ErrorAnswer | None:
    """The service's error for an operation, or a member, that its table does not name, or for a resource elsewhere."""
    try:
        sent = sent_members(service, environ)
    except UnreadableError as error:
        return aws_error(environ, service, _UNREADABLE.get(service, "SerializationException"), str(error))
    if sent is None:
        return None
    table = table_of(service)
    if table is not None and sent[0] not in table.acts:
        return not_implemented(environ, service, f"{service}'s {sent[0]}")
    found = _elsewhere(environ, service, sent, home) or _misshapen(environ, service, *sent)
    return found or _in_own_words(environ, service, sent) or _untouched(environ, table, sent)


def _elsewhere(environ: WSGIEnvironment, service: str, sent: Sent, home: Home) -> ErrorAnswer | None:
    error = foreign_error(service, *sent, home)
    return aws_error(environ, service, error.code, error.message, error.status) if error else None


def _in_own_words(environ: WSGIEnvironment, service: str, sent: Sent) -> ErrorAnswer | None:
    words = own_words(service, *sent, lambda: body_of(environ))
    return aws_error(environ, service, words.code, words.message, words.status) if words else None


def _untouched(environ: WSGIEnvironment, table: MemberTable | None, sent: Sent) -> ErrorAnswer | None:
    """The error for a member that nothing acts on."""
    found = next(table.refusals(*sent), None) if table else None
    if table is None or found is None:
        return None
    status = 501 if table.code == "NotImplemented" else 400
    return aws_error(environ, table.service, table.code, f"The stand-in account {found.why}.", status)
