"""What a Task state calls: Lambda functions and AWS APIs of this account, and the names of their errors.

Runs in the server process. Each class here extends one of moto's; errors get the names and causes that AWS gives them,
since ``Retry`` and ``Catch`` match on these (step-functions/latest/dg/concepts-error-handling.html).
"""

from __future__ import annotations

import base64
import json
import uuid
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError, UnknownServiceError
from moto.stepfunctions.parser.api import HistoryEventType
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent
from moto.stepfunctions.parser.asl.component.state.exec.state_task.credentials import StateCredentials
from moto.stepfunctions.parser.asl.component.state.exec.state_task.lambda_eval_utils import (
    LambdaFunctionErrorException,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import ResourceRuntimePart
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service import StateTaskService
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_aws_sdk import (
    StateTaskServiceAwsSdk,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_lambda import (
    StateTaskServiceLambda,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.state_task_lambda import StateTaskLambda
from moto.stepfunctions.parser.asl.eval.environment import Environment

from local_account.stepfunctions import clients
from local_account.stepfunctions.integrations import activity_tasks as _activities  # noqa: F401  # has to be ours
from local_account.stepfunctions.integrations import jobs as _jobs  # noqa: F401  # the same
from local_account.stepfunctions.integrations import nested as _nested  # noqa: F401  # the same
from local_account.stepfunctions.integrations.errors import refused_request, sdk_service
from local_account.stepfunctions.integrations.metadata import with_metadata
from local_account.stepfunctions.integrations.optimised import task_failed
from local_account.stepfunctions.language.components import component
from local_account.stepfunctions.language.encoding import dumps, is_within
from local_account.stepfunctions.language.failures import RUNTIME, error_name, failure_event
from local_account.stepfunctions.members import from_members, to_members

if TYPE_CHECKING:
    from botocore.model import OperationModel


@component
class ServiceTask(StateTaskService):
    """A Task that calls an API of this account, with the names of members that the API and the States Language have."""

    def _normalise_parameters(
        self,
        parameters: dict[str, object],
        boto_service_name: str | None = None,
        service_action_name: str | None = None,
    ) -> None:
        operation = _operation_of(self, boto_service_name, service_action_name)
        if operation:
            _put(parameters, to_members(parameters, operation.input_shape))

    def _normalise_response(
        self, response: object, boto_service_name: str | None = None, service_action_name: str | None = None
    ) -> None:
        operation = _operation_of(self, boto_service_name, service_action_name)
        if operation is None:
            return
        answer = from_members(response, operation.output_shape)
        if isinstance(answer, dict) and service_action_name is None:
            answer = with_metadata(self.resource.service_name, answer)
        _put(response, answer)

    def _from_error(self, env: Environment, ex: Exception) -> FailureEvent:
        if isinstance(ex, ParamValidationError):  # what botocore does not send, the service would refuse
            return self._from_error(env, refused_request(self._get_boto_service_name(), ex))
        if isinstance(ex, ClientError | BotoCoreError):
            name = sdk_service(self._get_boto_service_name())
            return task_failed(self, env, f"{name}.SdkClientException", str(ex))
        return super()._from_error(env, ex)

    def _verify_size_quota(self, env: Environment, value: object) -> None:
        if not _fits(value):
            super()._verify_size_quota(env, value)


@component
class AwsSdkTask(StateTaskServiceAwsSdk):
    """A Task of the AWS SDK integrations."""

    def _eval_service_task(
        self,
        env: Environment,
        resource_runtime_part: ResourceRuntimePart,  # noqa: ARG002  # moto's
        normalised_parameters: dict[str, object],
        state_credentials: StateCredentials,
    ) -> None:
        client = clients.client_of(self._get_boto_service_name(), state_credentials.role_arn)
        action = self._get_boto_service_action()
        operation = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[action])
        try:
            answer = getattr(client, action)(**normalised_parameters) or {}
        except ClientError as error:
            told = error.response["ResponseMetadata"]  # moto puts both into the cause
            told.setdefault("RequestId", "")
            if self._get_boto_service_name() == "s3":
                told.setdefault("HostId", base64.b64encode(uuid.uuid4().bytes * 3).decode())
            raise
        answer.pop("ResponseMetadata", None)
        env.stack.append(from_members(answer, operation.output_shape))

    def _from_error(self, env: Environment, ex: Exception) -> FailureEvent:
        if isinstance(ex, UnknownServiceError | KeyError | AttributeError):
            resource = self.resource.resource_arn
            return task_failed(self, env, RUNTIME, f"The resource provided {resource} is not recognized.")
        return super()._from_error(env, ex)

    @staticmethod
    def _normalise_service_error_name(service_name: str) -> str:
        return sdk_service(service_name)


@component
class LambdaTask(StateTaskLambda):
    """A Task whose resource is a function."""

    def _from_error(self, env: Environment, ex: Exception) -> FailureEvent:
        pair = _lambda_error(ex)
        if pair is None:
            return super()._from_error(env, ex)
        details = {"error": pair[0], "cause": pair[1]}
        kind, member = HistoryEventType.LambdaFunctionFailed, "lambdaFunctionFailedEventDetails"
        return failure_event(env, error_name(pair[0]), kind, member, details)

    def _verify_size_quota(self, env: Environment, value: object) -> None:
        if not _fits(value):
            super()._verify_size_quota(env, value)


@component
class LambdaServiceTask(StateTaskServiceLambda):
    """A Task whose resource is ``lambda:invoke``."""

    def _from_error(self, env: Environment, ex: Exception) -> FailureEvent:
        pair = _lambda_error(ex)
        if pair is None:
            return super()._from_error(env, ex)
        return task_failed(self, env, *pair)


def _fits(value: object) -> bool:
    """moto takes one byte less than AWS."""
    return is_within(value if isinstance(value, str) else dumps(value))


def _operation_of(state: StateTaskService, service: str | None, action: str | None) -> OperationModel | None:
    client = clients.client_of(state._get_boto_service_name(service))
    method = client.meta.method_to_api_mapping.get(state._get_boto_service_action(action))
    return client.meta.service_model.operation_model(method) if method else None


def _put(held: object, content: object) -> None:
    """Make one object of JSON what another is."""
    if isinstance(held, dict) and isinstance(content, dict):
        held.clear()
        held.update(content)


def _lambda_error(error: Exception) -> tuple[str, str] | None:
    """Error and cause of a call of a function, as AWS names them; None for what is no error of Lambda's."""
    if isinstance(error, LambdaFunctionErrorException):
        return _unknown_error(error.payload)
    if isinstance(error, ClientError):
        pair: tuple[str, str] = StateTaskServiceLambda._error_cause_from_client_error(error)
        # The one refusal that Lambda's own list of errors does not name.
        denied = error.response["Error"]["Code"] == "AccessDeniedException"
        return ("Lambda.AWSLambdaException", pair[1]) if denied else pair
    return ("Lambda.SdkClientException", str(error)) if isinstance(error, BotoCoreError) else None


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
