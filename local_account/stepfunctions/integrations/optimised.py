"""Tasks of SQS, SNS, DynamoDB and EventBridge, with the errors of their integrations.

Runs in the server process. Each class here extends one of moto's.
"""

from __future__ import annotations

from moto.stepfunctions.parser.api import HistoryEventType
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.state.exec.state_task.credentials import StateCredentials
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import ResourceRuntimePart
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service import StateTaskService
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_dynamodb import (
    StateTaskServiceDynamoDB,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_events import (
    SfnFailedEntryCountException,
    StateTaskServiceEvents,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sns import (
    StateTaskServiceSns,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sqs import (
    StateTaskServiceSqs,
)
from moto.stepfunctions.parser.asl.eval.environment import Environment

from local_account.stepfunctions.integrations.errors import optimised_error
from local_account.stepfunctions.language.components import component
from local_account.stepfunctions.language.encoding import dumps
from local_account.stepfunctions.language.failures import error_name, failure_event


@component
class SqsTask(StateTaskServiceSqs):
    """``sqs:sendMessage``."""

    def _eval_service_task(
        self,
        env: Environment,
        resource_runtime_part: ResourceRuntimePart,
        normalised_parameters: dict[str, object],
        state_credentials: StateCredentials,
    ) -> None:
        url = str(normalised_parameters.get("QueueUrl", ""))
        if url and "://" not in url:
            raise _NoHostError(url)
        super()._eval_service_task(env, resource_runtime_part, normalised_parameters, state_credentials)

    def _from_error(self, env: Environment, ex: Exception) -> FailureEvent:
        if isinstance(ex, _NoHostError):
            cause = f"Unable to execute HTTP request: {ex}: Name or service not known"
            return task_failed(self, env, "SQS.SdkClientException", cause)
        return told(self, env, ex) or super()._from_error(env, ex)


class _NoHostError(Exception):
    """A queue's address that names no host."""


@component
class SnsTask(StateTaskServiceSns):
    """``sns:publish``."""

    def _from_error(self, env: Environment, ex: Exception) -> FailureEvent:
        return told(self, env, ex) or super()._from_error(env, ex)


@component
class DynamoTask(StateTaskServiceDynamoDB):
    """The items of DynamoDB."""

    def _from_error(self, env: Environment, ex: Exception) -> FailureEvent:
        # Past moto's, which takes whatever else is raised for an error of DynamoDB.
        return told(self, env, ex) or StateTaskService._from_error(self, env, ex)


@component
class EventsTask(StateTaskServiceEvents):
    """``events:putEvents``."""

    def _from_error(self, env: Environment, ex: Exception) -> FailureEvent:
        if isinstance(ex, SfnFailedEntryCountException):
            return task_failed(self, env, "EventBridge.FailedEntry", dumps(ex.cause))
        return told(self, env, ex) or super()._from_error(env, ex)


def task_failed(state: StateTaskService, env: Environment, error: str, cause: str) -> FailureEvent:
    """The event of a task whose service has refused, or failed."""
    where = {"resource": state._get_sfn_resource(), "resourceType": state._get_sfn_resource_type()}
    details = {"error": error, "cause": cause, **where}
    return failure_event(env, error_name(error), HistoryEventType.TaskFailed, "taskFailedEventDetails", details)


def told(state: StateTaskService, env: Environment, error: Exception) -> FailureEvent | None:
    """The event of an error of the state's service; None for any other."""
    if isinstance(error, FailureEventException):
        return None
    pair = optimised_error(state.resource.service_name, error)
    return task_failed(state, env, *pair) if pair else None
