"""What is wrong with an answer: a fault, an error that is none of the service's,
a success that botocore cannot read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import botocore.parsers

from tests.unit.protocol.walked_requests import WalkedRequest

if TYPE_CHECKING:
    from botocore.model import ServiceModel


@dataclass(frozen=True)
class Verdict:
    """What is wrong with an answer, with the request that it answers."""

    request: WalkedRequest
    status: int
    why: str

    def line(self) -> str:
        """As JSON."""
        request = self.request
        body = request.body.decode("utf-8", "backslashreplace")[:600]
        said = {"call": f"{request.service} {request.operation}", "status": self.status, "why": self.why[:400]}
        return json.dumps({**said, "request": f"{request.method} {request.path[:300]} {body}"})


def verdict(model: ServiceModel, request: WalkedRequest, answer: tuple[int, dict[str, str], bytes]) -> Verdict | None:
    """What no service of AWS would say; None when there is nothing."""
    status, headers, body = answer
    if status >= 500 and status != 501:
        return Verdict(request, status, body.decode("utf-8", "replace"))
    if status < 300:
        problem = unreadable(model, request, answer)
        return Verdict(request, status, problem) if problem else None
    if request.method == "HEAD" or status in (304, 412) or status < 400:
        return None
    code = error_code(headers, body)
    if code.removeprefix("AWS.SimpleQueueService.") in known_codes(model):
        return None
    return Verdict(request, status, f"the code {code!r} is none of the service's: {body.decode('utf-8', 'replace')}")


def unreadable(model: ServiceModel, request: WalkedRequest, answer: tuple[int, dict[str, str], bytes]) -> str:
    """Why botocore cannot read a success; empty where it can."""
    status, headers, body = answer
    operation = model.operation_model(request.operation)
    shape = operation.output_shape
    if shape is None or operation.has_streaming_output or operation.has_event_stream_output:
        return ""
    parser = botocore.parsers.create_parser(model.resolved_protocol)
    try:
        parser.parse({"body": body, "headers": headers, "status_code": status}, shape)
    except Exception as error:  # whatever it is, a client would meet it
        return f"botocore cannot read the answer: {error!r} {body[:200]!r}"
    return ""


def error_code(headers: dict[str, str], body: bytes) -> str:
    """The code of an error, as clients read it."""
    if "x-amzn-errortype" in headers:
        return headers["x-amzn-errortype"].partition(":")[0].rpartition("#")[2]
    text = body.decode("utf-8", "replace")
    match = re.search(r"<Code>([^<]*)</Code>", text) or re.search(
        r'"(?:__type|code)":\s*"(?:[^"]*#)?([^"]*)"', text, re.IGNORECASE
    )
    return match[1] if match else ""


COMMON = {
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "InvalidAction",
    "InvalidParameter",
    "InvalidParameterCombination",
    "InvalidParameterException",
    "InvalidParameterValue",
    "MalformedQueryString",
    "MissingParameter",
    "NotImplemented",
    "SerializationException",
    "UnknownOperationException",
    "ValidationError",
    "ValidationException",
}
"""Common errors of AWS's query and JSON protocols, which models do not list."""
UNMODELLED = {
    "sagemaker": {"ResourceNotFoundException"},
    "sagemaker-metrics": {"ResourceNotFound"},
    "sqs": {"NonExistentQueue", "InvalidParameterValueException", "MissingRequiredParameterException"},
    "s3": {
        "AccessControlListNotSupported",
        "BadDigest",
        "BucketNotEmpty",
        "EntityTooSmall",
        "IllegalLocationConstraintException",
        "IllegalVersioningConfigurationException",
        "InvalidArgument",
        "InvalidBucketAclWithBlockPublicAccessError",
        "InvalidBucketAclWithObjectOwnership",
        "InvalidBucketName",
        "InvalidBucketState",
        "InvalidDigest",
        "InvalidEncryptionAlgorithmError",
        "InvalidLocationConstraint",
        "InvalidPart",
        "InvalidPartNumber",
        "InvalidPartOrder",
        "InvalidRange",
        "InvalidRequest",
        "InvalidStorageClass",
        "InvalidTag",
        "InvalidTargetBucketForLogging",
        "KMS.NotFoundException",
        "KeyTooLongError",
        "MalformedACLError",
        "MalformedPolicy",
        "MalformedXML",
        "MethodNotAllowed",
        "MissingContentLength",
        "MissingRequestBodyError",
        "MissingSecurityHeader",
        "NoSuchBucketPolicy",
        "NoSuchCORSConfiguration",
        "NoSuchConfiguration",
        "NoSuchLifecycleConfiguration",
        "NoSuchObjectLockConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
        "NoSuchTagSet",
        "NoSuchVersion",
        "NoSuchWebsiteConfiguration",
        "ObjectLockConfigurationNotFoundError",
        "OwnershipControlsNotFoundError",
        "PreconditionFailed",
        "ReplicationConfigurationNotFoundError",
        "ServerSideEncryptionConfigurationNotFoundError",
        "SignatureDoesNotMatch",
    },
}
"""Codes that the API reference lists, and the model does not."""


def known_codes(model: ServiceModel) -> set[str]:
    """The codes of a service's errors."""
    shapes = (model.shape_for(name) for name in model.shape_names)
    errors = [shape for shape in shapes if shape.metadata.get("exception")]
    named = {str(shape.metadata.get("error", {}).get("code", shape.name)) for shape in errors}
    return COMMON | named | {shape.name for shape in errors} | UNMODELLED.get(str(model.service_name), set())
