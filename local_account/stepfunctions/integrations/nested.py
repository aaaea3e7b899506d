"""Executions that a Task starts: with ``.sync`` it waits for their end, and ends them when it is ended itself.

Runs in the server process. What is told of a child that did not succeed, and why one is aborted, are recorded answers
of AWS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.state.exec.state_task.credentials import StateCredentials
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import ResourceRuntimePart
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sfn import (
    StateTaskServiceSfn,
)
from moto.stepfunctions.parser.asl.eval.callback.callback import CallbackEndpoint, HeartbeatEndpoint
from moto.stepfunctions.parser.asl.eval.environment import Environment

from local_account.stepfunctions import clients
from local_account.stepfunctions.integrations.jobs import with_numbers
from local_account.stepfunctions.integrations.optimised import task_failed, told
from local_account.stepfunctions.language.components import component
from local_account.stepfunctions.language.definition import members_of
from local_account.stepfunctions.language.encoding import dumps
from local_account.stepfunctions.language.failures import StateFailure
from local_account.stepfunctions.members import from_members

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient

ABORTED = "The Task state in AWS Step Functions execution [{}] which was managing this resource was aborted"


@component
class ExecutionTask(StateTaskServiceSfn):
    """``states:startExecution``."""

    def _from_error(self, env: Environment, ex: Exception) -> FailureEvent:
        return told(self, env, ex) or super()._from_error(env, ex)

    def _build_sync_resolver(
        self,
        env: Environment,
        resource_runtime_part: ResourceRuntimePart,
        normalised_parameters: dict[str, object],
        state_credentials: StateCredentials,
    ) -> _Child:
        arn = _started(env)
        ended = super()._build_sync_resolver(env, resource_runtime_part, normalised_parameters, state_credentials)
        return _Child(self, env, arn, state_credentials.role_arn, cast("Callable[[], object]", ended))

    def _build_sync2_resolver(
        self,
        env: Environment,
        resource_runtime_part: ResourceRuntimePart,
        normalised_parameters: dict[str, object],
        state_credentials: StateCredentials,
    ) -> _Child:
        arn = _started(env)
        ended = super()._build_sync2_resolver(env, resource_runtime_part, normalised_parameters, state_credentials)
        return _Child(self, env, arn, state_credentials.role_arn, cast("Callable[[], object]", ended))

    def _eval_sync(
        self,
        env: Environment,
        sync_resolver: Callable[[], object] | None,
        timeout_seconds: int | None,
        callback_endpoint: CallbackEndpoint | None,
        heartbeat_endpoint: HeartbeatEndpoint | None,
    ) -> object:
        found = super()._eval_sync(env, sync_resolver, timeout_seconds, callback_endpoint, heartbeat_endpoint)
        if isinstance(sync_resolver, _Child) and not env.is_running():
            sync_resolver.abort()
        return found


def _started(env: Environment) -> str:
    """The ARN of the execution that was started, which is the last thing on the stack."""
    return str(members_of(env.stack[-1])["ExecutionArn"])


@dataclass(frozen=True)
class _Child:
    """An execution that a task waits for."""

    state: ExecutionTask
    env: Environment
    arn: str
    role: str
    ended: Callable[[], object]
    """What it came to; None while it runs. FailureEventException for one that did not succeed."""

    @property
    def client(self) -> SFNClient:
        """A client with the role of the task."""
        return cast("SFNClient", clients.client_of("stepfunctions", self.role))

    def __call__(self) -> object:
        """What it came to; None while it runs. StateFailure, with its description, for one that did not succeed."""
        try:
            return self.ended()
        except FailureEventException as error:
            event = task_failed(self.state, self.env, "States.TaskFailed", dumps(self.described()))
            raise StateFailure(event) from error

    def described(self) -> dict[str, object]:
        """The execution as it has ended, in the order of its members' names."""
        answer = cast("dict[str, object]", self.client.describe_execution(executionArn=self.arn))
        answer.pop("ResponseMetadata", None)
        shape = self.client.meta.service_model.operation_model("DescribeExecution").output_shape
        found = members_of(from_members(with_numbers(answer), shape))
        return {name: found[name] for name in sorted(found)}

    def abort(self) -> None:
        """End it as well, unless it has ended or the role may not."""
        parent = self.env.states.context_object.context_object_data["Execution"]["Id"]
        try:
            self.client.stop_execution(executionArn=self.arn, cause=ABORTED.format(parent))
        except ClientError:
            return
