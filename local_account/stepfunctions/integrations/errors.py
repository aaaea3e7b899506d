"""The errors of the services that tasks call, named as Step Functions names them.

Runs in the server process. The optimised integrations speak through the first Java SDK, the AWS SDK integrations
through the second; each has a name of its own for what a service's model does not name.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from local_account.stepfunctions import clients

if TYPE_CHECKING:
    from botocore.exceptions import _ClientErrorResponseTypeDef

_WORDS = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z][a-z0-9]*|[a-z0-9]+")
_MISSING = re.compile(r'Missing required parameter in \w+: "(\w+)"')


@dataclass(frozen=True)
class ErrorStyle:
    """How an optimised integration names the errors of its service."""

    prefix: str
    service: str
    """The service's name in causes."""
    other: str
    """The error for what the service's model does not name."""


STYLES = {
    "sqs": ErrorStyle("SQS", "AmazonSQS", "AmazonSQSException"),
    "sns": ErrorStyle("SNS", "AmazonSNS", "AmazonSNSException"),
    "dynamodb": ErrorStyle("DynamoDB", "AmazonDynamoDBv2", "AmazonDynamoDBException"),
    "states": ErrorStyle("StepFunctions", "AWSStepFunctions", "AWSStepFunctionsException"),
    "events": ErrorStyle("EventBridge", "AmazonEventBridge", "AmazonEventBridgeException"),
    "sagemaker": ErrorStyle("SageMaker", "AmazonSageMaker", "AmazonSageMakerException"),
}


def optimised_error(service: str, error: Exception) -> tuple[str, str] | None:
    """Error and cause of an optimised integration's call; None for what is no error of the service."""
    style = STYLES[service]
    if isinstance(error, ParamValidationError):
        error = refused_request(service, error)
    if isinstance(error, ClientError):
        return f"{style.prefix}.{_modelled(service, error) or style.other}", _cause(style.service, error)
    if isinstance(error, BotoCoreError):
        return f"{style.prefix}.SdkClientException", f"Unable to execute HTTP request: {error}"
    return None


def sdk_service(service: str) -> str:
    """The name that errors of an AWS SDK integration begin with: that of the service's class in the Java SDK."""
    identity = str(clients.client_of(service).meta.service_model.service_id)
    return "".join(word.capitalize() for word in _WORDS.findall(identity))


def refused_request(service: str, error: ParamValidationError) -> ClientError:
    """What the service itself would say of a request that botocore does not send."""
    report = str(error.kwargs.get("report", error))
    missing = _MISSING.search(report)
    if service == "sqs" and missing:
        return client_error("MissingParameter", f"The request must contain the parameter {missing[1]}.")
    if missing:
        member = missing[1][:1].lower() + missing[1][1:]
        message = (
            f"1 validation error detected: Value null at '{member}' failed to satisfy constraint: "
            "Member must not be null"
        )
        return client_error("ValidationException", message)
    return client_error("ValidationException", " ".join(line for line in report.splitlines() if line))


def client_error(code: str, message: str, status: int = 400) -> ClientError:
    """An error as botocore raises it for a service's answer."""
    details = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": str(uuid.uuid4())},
    }
    return ClientError(cast("_ClientErrorResponseTypeDef", details), "call")


def _modelled(service: str, error: ClientError) -> str | None:
    """The error's name, where the service's model has it."""
    code = error.response["Error"]["Code"].rpartition(".")[2].rpartition("#")[2]
    shapes = clients.client_of(service).meta.service_model.error_shapes
    for shape in shapes:
        if code in {shape.name, shape.error_code, shape.name.removesuffix("Exception")}:
            return shape.name if shape.name.endswith("Exception") else f"{shape.name}Exception"
    return None


def _cause(service: str, error: ClientError) -> str:
    answer, metadata = error.response["Error"], error.response["ResponseMetadata"]
    details = (
        f"Service: {service}; Status Code: {metadata.get('HTTPStatusCode', 400)}; Error Code: {answer['Code']}; "
        f"Request ID: {metadata.get('RequestId', '')}; Proxy: null"
    )
    return f"{answer['Message']} ({details})"
