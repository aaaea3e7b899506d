"""Requests that a service refuses before it looks anything up, where botocore's model does not say so.

Runs in the server process, before moto, which would fail in the middle of its work. Authority: the answers of AWS to
such requests, and each service's API reference.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from local_account.protocol.sent_members import input_shape
from local_account.server.words.bucket_words import bucket_words
from local_account.server.words.queue_words import queue_words
from local_account.server.words.topic_words import topic_words


class ServiceWords(NamedTuple):
    """A refusal as the service words it."""

    code: str
    message: str
    status: int = 400


def own_words(
    service: str, operation: str, members: Mapping[str, object], body: Callable[[], bytes]
) -> ServiceWords | None:
    """How the service refuses a request; None lets it pass."""
    if (service, operation) == ("s3", "PutBucketPolicy"):
        return _bucket_policy(body())
    if (service, operation) == ("lambda", "Invoke"):
        return _payload(body())
    check = _CHECKS.get(service)
    return check(operation, members) if check else None


def _payload(body: bytes) -> ServiceWords | None:
    """A function's event that is no text."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        wrong = f"Could not parse payload into json: Invalid UTF-8 start byte 0x{body[error.start]:x}"
        return ServiceWords("InvalidRequestContentException", f"Could not parse request body into json: {wrong}")
    return None


def _sqs(operation: str, members: Mapping[str, object]) -> ServiceWords | None:
    refused = queue_words(operation, members)
    return ServiceWords(*refused) if refused else _token("InvalidParameterValue")(operation, members)


def _bucket_policy(body: bytes) -> ServiceWords | None:
    """A bucket's policy that is none, which every later request to the bucket would meet."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, Mapping):
        return ServiceWords("MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'")
    given = document.get("Statement")
    parts = given if isinstance(given, list) else [given]
    statements = [each for each in parts if isinstance(each, Mapping)]
    if not statements or len(statements) < len(parts):
        return ServiceWords("MalformedPolicy", "Missing required field Statement")
    for name in ("Effect", "Principal", "Action", "Resource"):
        if not all(each.keys() & {name, f"Not{name}"} for each in statements):
            return ServiceWords("MalformedPolicy", f"Missing required field {name}")
    return None


def _s3(operation: str, members: Mapping[str, object]) -> ServiceWords | None:
    refused = bucket_words(operation, members)
    return ServiceWords(*refused) if refused else _s3_body(operation, members)


def _s3_body(operation: str, members: Mapping[str, object]) -> ServiceWords | None:
    """Requests whose body should say something, and is empty; tags that are there twice."""
    tagging = members.get("Tagging")
    tags = tagging.get("TagSet") if isinstance(tagging, Mapping) else None
    keys = [each.get("Key") for each in tags if isinstance(each, Mapping)] if isinstance(tags, list) else []
    if len(keys) > len(set(keys)):
        return ServiceWords("InvalidTag", "Cannot provide multiple Tags with the same key")
    shape = input_shape("s3", operation)
    payload = shape.serialization.get("payload") if shape else None
    if shape is None or payload is None or payload in members or shape.members[payload].type_name != "structure":
        return None
    if operation in {"PutBucketAcl", "PutObjectAcl"}:
        if any(name == "ACL" or name.startswith("Grant") for name in members):
            return None
        return ServiceWords("MissingSecurityHeader", "Your request was missing a required header")
    if operation in _BODY_MAY_BE_EMPTY:
        return None
    return ServiceWords("MissingRequestBodyError", "Request Body is empty")


def _token(code: str) -> Callable[[str, Mapping[str, object]], ServiceWords | None]:
    """A check of the tokens with which lists go on: those given out here are JSON in Base64."""

    def check(_operation: str, members: Mapping[str, object]) -> ServiceWords | None:
        token = members.get("NextToken")
        if not isinstance(token, str) or not token:
            return None
        try:
            known = isinstance(json.loads(base64.b64decode(token)), Mapping)
        except ValueError:
            known = False
        return None if known else ServiceWords(code, "Invalid or expired next token.")

    return check


def _sns(operation: str, members: Mapping[str, object]) -> ServiceWords | None:
    refused = topic_words(operation, members)
    return ServiceWords(*refused) if refused else None


def _iam(_operation: str, members: Mapping[str, object]) -> ServiceWords | None:
    marker = members.get("Marker")
    if isinstance(marker, str) and not marker.isdigit():
        return ServiceWords("ValidationError", "Invalid Marker.")
    return None


def _secretsmanager(operation: str, members: Mapping[str, object]) -> ServiceWords | None:
    name = members.get("Name" if operation == "CreateSecret" else "SecretId")
    if not isinstance(name, str) or name.startswith("arn:") or _SECRET_NAME.fullmatch(name):
        return None
    message = "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!"
    return ServiceWords("ValidationException", message)


_SECRET_NAME = re.compile(r"[\w/+=.@!-]*", re.ASCII)
_BODY_MAY_BE_EMPTY = {"CreateBucket", "CreateMultipartUpload"}
_CHECKS: Mapping[str, Callable[[str, Mapping[str, object]], ServiceWords | None]] = {
    "iam": _iam,
    "s3": _s3,
    "secretsmanager": _secretsmanager,
    "scheduler": _token("ValidationException"),
    "sns": _sns,
    "sqs": _sqs,
}
