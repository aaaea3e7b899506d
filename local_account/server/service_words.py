"""Requests that a service refuses before it looks anything up, where botocore's model does not say so.

Runs in the server process, before moto, which would fail in the middle of its work. Authority: the answers of AWS to
such requests, and each service's API reference.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

from local_account.protocol.sent_members import input_shape

ARN_PARTS = 6


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
    check = _CHECKS.get(service)
    return check(operation, members) if check else None


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
    """Requests whose body should say something, and is empty."""
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
    for name, value in members.items():
        if name.endswith("Arn") and isinstance(value, str) and len(parts := value.split(":")) < ARN_PARTS:
            why = f"An ARN must have at least {ARN_PARTS} elements, not {len(parts)}"
            return ServiceWords("InvalidParameter", f"Invalid parameter: {name} Reason: {why}")
    token = members.get("NextToken", members.get("nextToken"))
    if isinstance(token, str) and not token.isdigit():
        return ServiceWords("InvalidParameter", "Invalid parameter: NextToken")
    if operation == "Publish" and not members.keys() & {"TopicArn", "TargetArn", "PhoneNumber"}:
        why = "no value for required parameter"
        return ServiceWords("InvalidParameter", f"Invalid parameter: TopicArn or TargetArn Reason: {why}")
    return None


def _iam(_operation: str, members: Mapping[str, object]) -> ServiceWords | None:
    marker = members.get("Marker")
    if isinstance(marker, str) and not marker.isdigit():
        return ServiceWords("ValidationError", "Invalid Marker.")
    return None


_BODY_MAY_BE_EMPTY = {"CreateBucket", "CreateMultipartUpload"}
_CHECKS: Mapping[str, Callable[[str, Mapping[str, object]], ServiceWords | None]] = {
    "iam": _iam,
    "s3": _s3,
    "scheduler": _token("ValidationException"),
    "sns": _sns,
    "sqs": _token("InvalidParameterValue"),
}
