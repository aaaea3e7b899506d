"""What a Task state calls: Lambda functions and AWS APIs of this account, and the names of their errors.

Runs in the server process; ``stepfunctions`` installs it. Replaces moto's clients (a new one a task, 25 to 50 ms) by
the account's, and gives errors the names and causes that AWS gives them, since ``Retry`` and ``Catch`` match on these
(step-functions/latest/dg/concepts-error-handling.html).
"""

from __future__ import annotations

import datetime
import json
import sys
import uuid
from functools import cache
from typing import Any

from local_account.account import Account
from local_account.stepfunctions.language.encoding import dumps, time_text

# Names of aws-sdk integrations that are not botocore's name without its hyphens.
SERVICE_NAMES = {
    "sfn": "stepfunctions",
    "states": "stepfunctions",
    "cloudwatchlogs": "logs",
    "cloudwatchevents": "events",
    "eventbridge": "events",
    "elasticloadbalancingv2": "elbv2",
}
ERROR_NAMES = {
    "cloudwatch": "CloudWatch",
    "cloudwatchlogs": "CloudWatchLogs",
    "eventbridge": "EventBridge",
    "lambda": "Lambda",
    "s3": "S3",
    "sagemaker": "SageMaker",
    "sagemakerruntime": "SageMakerRuntime",
    "sns": "Sns",
    "sqs": "Sqs",
    "ssm": "Ssm",
    "sts": "Sts",
}
PARSER = "moto.stepfunctions.parser."


@cache
def _botocore_names() -> dict[str, str]:
    import boto3

    return {name.replace("-", ""): name for name in boto3.Session().get_available_services()}


def hook_tasks(account: Account) -> None:
    """Install our clients and errors. Called after moto's interpreter was imported."""
    _hook_clients(account)
    _hook_lambda(account)
    _hook_aws_sdk()
    _hook_members(account)


def _hook_clients(account: Account) -> None:
    from moto.stepfunctions.parser.asl.utils import boto_client

    original = boto_client.boto_client_for

    def client_for(region: str, service: str, state_credentials: Any = None) -> Any:  # noqa: ARG001  # moto's signature
        role = state_credentials.role_arn if state_credentials else ""
        return account.client(SERVICE_NAMES.get(service) or _botocore_names().get(service, service), role)

    for name, module in list(sys.modules.items()):
        if name.startswith(PARSER) and getattr(module, "boto_client_for", None) is original:
            module.boto_client_for = client_for  # type: ignore[attr-defined]  # every module has its own reference


def _unknown_error(payload: str) -> tuple[str, str]:
    """Error and cause of a function that failed, as Step Functions derives them from its payload."""
    try:
        error = json.loads(payload)["errorType"]
    except (ValueError, KeyError, TypeError):
        cause = (
            "The cause could not be determined because Lambda did not return an error type. "
            f"Returned payload: {payload}"
        )
        return "Lambda.Unknown", cause
    return str(error), payload


def _invocation(version: str, payload: str) -> dict[str, Any]:
    return {"ExecutedVersion": version, "Payload": json.loads(payload) if payload else None, "StatusCode": 200}


def _invoke_here(account: Account, role: str, name: str, payload: bytes, failed: Any) -> dict[str, Any]:
    """Invoke in this process what a client would invoke through a socket, at a third of the cost."""
    from botocore.exceptions import ClientError
    from moto.awslambda.exceptions import LambdaClientError
    from moto.awslambda.models import lambda_backends

    resource = name if name.startswith("arn:") else account.arn("lambda", f"function:{name}")
    account.authority.demand(role, "lambda:InvokeFunction", resource)
    backend = lambda_backends[account.account_id][account.region]
    headers: dict[str, str] = {}
    try:
        version = backend.get_function(name).version
        answer = backend.invoke(name, None, payload, {}, headers).decode()
    except LambdaClientError as error:
        details = {
            "Error": {"Code": error.error_type, "Message": error.message},
            "ResponseMetadata": {"HTTPStatusCode": error.code, "RequestId": str(uuid.uuid4())},
        }
        raise ClientError(details, "Invoke") from error
    if headers.get("x-amz-function-error"):
        raise failed(headers["x-amz-function-error"], answer)
    return _invocation(str(version), answer)


def _hook_lambda(account: Account) -> None:
    from botocore.exceptions import BotoCoreError, ClientError
    from moto.stepfunctions.parser.api import HistoryEventType
    from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
    from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent
    from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_lambda import (
        StateTaskServiceLambda,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.state_task_lambda import StateTaskLambda

    failed = lambda_eval_utils.LambdaFunctionErrorException

    def invoke(env: Any, parameters: dict[str, Any], region: str, state_credentials: Any) -> None:
        unqualified = parameters["FunctionName"].count(":") in {0, 6}  # a name, or the ARN of one
        if unqualified and parameters.keys() == {"FunctionName", "Payload"}:
            role, name = state_credentials.role_arn, parameters["FunctionName"]
            env.stack.append(_invoke_here(account, role, name, parameters["Payload"], failed))
            return
        client = lambda_eval_utils.boto_client_for(region=region, service="lambda", state_credentials=state_credentials)
        answer = client.invoke(**parameters)
        payload = answer["Payload"].read().decode()
        if answer.get("FunctionError"):
            raise failed(answer["FunctionError"], payload)  # the cause is the payload, byte for byte
        env.stack.append(_invocation(answer.get("ExecutedVersion", "$LATEST"), payload))

    def error_and_cause(error: Exception) -> tuple[str, str] | None:
        if isinstance(error, failed):
            return _unknown_error(error.payload)
        if isinstance(error, ClientError):
            pair: tuple[str, str] = StateTaskServiceLambda._error_cause_from_client_error(error)
            # The one refusal that Lambda's own list of errors does not name.
            denied = error.response["Error"]["Code"] == "AccessDeniedException"
            return ("Lambda.AWSLambdaException", pair[1]) if denied else pair
        if isinstance(error, BotoCoreError):
            return "Lambda.SdkClientException", str(error)
        return None

    original_resource, original_service = StateTaskLambda._from_error, StateTaskServiceLambda._from_error

    def from_resource_error(state: Any, env: Any, ex: Exception) -> Any:
        pair = error_and_cause(ex)
        if pair is None:
            return original_resource(state, env, ex)
        details = {"lambdaFunctionFailedEventDetails": {"error": pair[0], "cause": pair[1]}}
        return FailureEvent(env, CustomErrorName(pair[0]), HistoryEventType.LambdaFunctionFailed, details)

    def from_service_error(state: Any, env: Any, ex: Exception) -> Any:
        pair = error_and_cause(ex)
        if pair is None:
            return original_service(state, env, ex)
        details = {
            "taskFailedEventDetails": {
                "error": pair[0],
                "cause": pair[1],
                "resource": state._get_sfn_resource(),
                "resourceType": state._get_sfn_resource_type(),
            }
        }
        return FailureEvent(env, CustomErrorName(pair[0]), HistoryEventType.TaskFailed, details)

    lambda_eval_utils.execute_lambda_function_integration = invoke
    StateTaskLambda._from_error = from_resource_error
    StateTaskServiceLambda._from_error = from_service_error


def _hook_aws_sdk() -> None:
    from botocore.exceptions import ClientError
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_aws_sdk as sdk

    def call(
        state: Any, env: Any, resource_runtime_part: Any, normalised_parameters: dict[str, Any], state_credentials: Any
    ) -> None:
        service, action = state._get_boto_service_name(), state._get_boto_service_action()
        client = sdk.boto_client_for(
            region=resource_runtime_part.region, service=service, state_credentials=state_credentials
        )
        operation = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[action])
        try:
            answer = getattr(client, action)(**to_members(normalised_parameters, operation.input_shape)) or {}
        except ClientError as error:
            error.response["ResponseMetadata"].setdefault("RequestId", "")  # moto puts it into the cause
            raise
        answer.pop("ResponseMetadata", None)
        env.stack.append(from_members(answer, operation.output_shape))

    sdk.StateTaskServiceAwsSdk._eval_service_task = call
    sdk._SERVICE_ERROR_NAMES.update(ERROR_NAMES)


def _hook_members(account: Account) -> None:
    """Integrations other than aws-sdk: moto hands the States Language's names to botocore, and botocore's back."""
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service import (
        StateTaskService,
    )

    def operation_of(state: Any, service: str | None, action: str | None) -> Any:
        name = state._get_boto_service_name(service)
        client = account.client(SERVICE_NAMES.get(name) or _botocore_names().get(name, name))
        method = client.meta.method_to_api_mapping.get(state._get_boto_service_action(action))
        return method and client.meta.service_model.operation_model(method)

    def parameters_in_place(
        state: Any, parameters: Any, boto_service_name: Any = None, service_action_name: Any = None
    ) -> None:
        operation = operation_of(state, boto_service_name, service_action_name)
        _replace(parameters, operation and to_members(parameters, operation.input_shape))

    def response_in_place(
        state: Any, response: Any, boto_service_name: Any = None, service_action_name: Any = None
    ) -> None:
        operation = operation_of(state, boto_service_name, service_action_name)
        _replace(response, operation and from_members(response, operation.output_shape))

    StateTaskService._normalise_parameters = parameters_in_place
    StateTaskService._normalise_response = response_in_place


def _replace(held: Any, content: Any) -> None:
    if isinstance(held, dict) and isinstance(content, dict):
        held.clear()
        held.update(content)


def to_members(value: Any, shape: Any) -> Any:
    """State language parameters (PascalCase) as botocore wants them: its members' names, JSON text for blobs."""
    kind = getattr(shape, "type_name", None)
    if kind == "structure" and isinstance(value, dict):
        names = {name[:1].upper() + name[1:]: name for name in shape.members}
        found = {names.get(name, name): item for name, item in value.items()}
        return {name: to_members(item, shape.members.get(name)) for name, item in found.items()}
    if kind == "list" and isinstance(value, list):
        return [to_members(item, shape.member) for item in value]
    if kind == "map" and isinstance(value, dict):
        return {name: to_members(item, shape.value) for name, item in value.items()}
    if kind == "blob" and not isinstance(value, str | bytes):
        return dumps(value)
    return value


def from_members(value: Any, shape: Any) -> Any:
    """botocore's answer as a state's output: PascalCase members, text instead of streams, ISO times."""
    kind = getattr(shape, "type_name", None)
    if kind == "structure" and isinstance(value, dict):
        return {
            name[:1].upper() + name[1:]: from_members(item, shape.members.get(name)) for name, item in value.items()
        }
    if kind == "list" and isinstance(value, list):
        return [from_members(item, shape.member) for item in value]
    if kind == "map" and isinstance(value, dict):
        return {name: from_members(item, shape.value) for name, item in value.items()}
    if isinstance(value, datetime.datetime):
        return time_text(value)
    content = value.read() if hasattr(value, "read") else value
    return content.decode("utf-8", "replace") if isinstance(content, bytes) else content
