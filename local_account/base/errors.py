"""Errors as AWS words them on the wire, in the protocol that the client spoke.

Runs in the server process. The protocol is read off the request, as AWS's own front ends do: botocore 1.44 may speak
JSON, CBOR or the query protocol to one and the same service.
"""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

# Signing names of the services whose REST bodies are XML (``protocol: rest-xml`` in botocore's models).
REST_XML = {"s3", "s3express", "s3-outposts", "s3-object-lambda", "cloudfront", "route53"}
# A disk that takes nothing more, for whatever reason.
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


# SQS's code in the query protocol -> the name of the error in its model, where it is another one.
_QUEUE_ERRORS = {
    "AWS.SimpleQueueService.NonExistentQueue": "QueueDoesNotExist",
    "InvalidParameterValue": "InvalidParameterValueException",
    "MissingParameter": "MissingRequiredParameterException",
    "QueueAlreadyExists": "QueueNameExists",
}


class AccountError(Exception):
    """What a user of ``scones account`` or of the server's command line can put right; one line."""


@dataclass(frozen=True)
class ErrorAnswer:
    """A whole HTTP answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def status_line(self) -> str:
        """The status and its word, as WSGI takes them."""
        return f"{self.status} {'Not Implemented' if self.status == 501 else 'Error'}"


def protocol_of(environ: WSGIEnvironment, service: str) -> str:
    """``json``, ``cbor``, ``query``, ``ec2``, ``rest-json`` or ``rest-xml``."""
    content_type = environ.get("CONTENT_TYPE", "")
    if environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
        return "cbor"
    if environ.get("HTTP_X_AMZ_TARGET") or content_type.startswith("application/x-amz-json"):
        return "json"
    if service == "ec2":
        return "ec2"
    if content_type.startswith("application/x-www-form-urlencoded") and service not in REST_XML:
        return "query"
    return "rest-xml" if service in REST_XML else "rest-json"


def aws_error(environ: WSGIEnvironment, service: str, code: str, message: str, status: int = 400) -> ErrorAnswer:
    """The error in the protocol of the request."""
    protocol = protocol_of(environ, service)
    request_id = str(uuid4())
    content_type = "text/xml"
    headers = [("x-amzn-RequestId", request_id)]
    if protocol in ("json", "rest-json"):
        content_type = "application/x-amz-json-1.1" if protocol == "json" else "application/json"
        kind, name = _json_name(service, code)
        headers.append((kind, name if kind == "x-amzn-ErrorType" else f"{code};Sender"))
        said = {"__type": name, "message": message, "Message": message}
        body = json.dumps(said | ({"Type": "User"} if service == "lambda" else {})).encode()
    elif protocol == "cbor":
        content_type = "application/cbor"
        headers.append(("smithy-protocol", "rpc-v2-cbor"))
        body = b"\xa2" + b"".join(_cbor_text(text) for text in ("__type", code, "message", message))
    else:
        body = _xml(protocol, service, code, message, request_id).encode()
    if environ.get("REQUEST_METHOD") == "HEAD":
        body = b""
    return ErrorAnswer(status, [("Content-Type", content_type), *headers], body)


def _json_name(service: str, code: str) -> tuple[str, str]:
    """The header that names an error, and its name in a body of JSON: SQS keeps the codes of its query protocol too."""
    if service != "sqs":
        return "x-amzn-ErrorType", code
    return "x-amzn-query-error", f"com.amazonaws.sqs#{_QUEUE_ERRORS.get(code, code.rpartition('.')[2])}"


def not_implemented(environ: WSGIEnvironment, service: str, what: str) -> ErrorAnswer:
    """What AWS answers to an action it does not know; never a code that clients retry."""
    code, status = {
        "query": ("InvalidAction", 400),
        "ec2": ("InvalidAction", 400),
        "rest-xml": ("NotImplemented", 501),
        "rest-json": ("UnknownOperationException", 404),
    }.get(protocol_of(environ, service), ("UnknownOperationException", 400))
    return aws_error(environ, service, code, f"The stand-in account does not implement {what}.", status)


def _xml(protocol: str, service: str, code: str, message: str, request_id: str) -> str:
    details = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    if protocol == "ec2":
        inner = f"<Response><Errors><Error>{details}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    elif protocol == "rest-xml" and service.startswith("s3"):
        inner = f"<Error>{details}<RequestId>{request_id}</RequestId></Error>"
    else:
        inner = (
            f"<ErrorResponse><Error><Type>Sender</Type>{details}</Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{inner}'


def _cbor_text(text: str) -> bytes:
    """A CBOR text string (RFC 8949, major type 3), up to 64 KiB."""
    content = text.encode()[:65535]
    if len(content) < 24:
        return bytes([0x60 | len(content)]) + content
    if len(content) < 256:
        return b"\x78" + bytes([len(content)]) + content
    return b"\x79" + len(content).to_bytes(2, "big") + content
