"""SageMaker's jobs as tasks: started, and with ``.sync`` waited for.

Runs in the server process. A job that is waited for is the task's result as it is described at its end; one that did
not complete fails the task, and one whose execution ends before it is stopped
(step-functions/latest/dg/connect-sagemaker.html).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.state.exec.state_task.credentials import StateCredentials
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import (
    ResourceCondition,
    ResourceRuntimePart,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_unsupported import (
    StateTaskServiceUnsupported,
)
from moto.stepfunctions.parser.asl.eval.callback.callback import HeartbeatEndpoint
from moto.stepfunctions.parser.asl.eval.environment import Environment

from local_account.stepfunctions import clients
from local_account.stepfunctions.integrations.errors import STYLES, optimised_error
from local_account.stepfunctions.integrations.optimised import task_failed
from local_account.stepfunctions.language.components import component
from local_account.stepfunctions.language.definition import JOBS, members_of
from local_account.stepfunctions.language.encoding import dumps
from local_account.stepfunctions.language.failures import StateFailure
from local_account.stepfunctions.members import from_members

if TYPE_CHECKING:
    from botocore.client import BaseClient

COMPLETED = "Completed"
ENDED = {COMPLETED, "Failed", "Stopped"}


@dataclass(frozen=True)
class WaitedJob:
    """A job that a task waits for."""

    client: BaseClient
    kind: str
    """As in the names of its operations: TrainingJob."""
    name: str

    @property
    def named(self) -> dict[str, str]:
        """The member that names it in requests."""
        return {f"{self.kind}Name": self.name}

    def described(self) -> Mapping[str, object]:
        """What its Describe operation answers, as a state sees it."""
        answer = dict(self._call("Describe"))
        answer.pop("ResponseMetadata", None)
        shape = self.client.meta.service_model.operation_model(f"Describe{self.kind}").output_shape
        return members_of(from_members(with_numbers(answer), shape))

    def stop(self) -> None:
        """Stop it, unless it has ended meanwhile."""
        try:
            self._call("Stop")
        except ClientError:
            return

    def _call(self, verb: str) -> Mapping[str, object]:
        methods = {operation: method for method, operation in self.client.meta.method_to_api_mapping.items()}
        found: Mapping[str, object] = getattr(self.client, methods[f"{verb}{self.kind}"])(**self.named)
        return found


def with_numbers(value: object) -> object:
    """The answer with its times as the milliseconds since 1970 that these integrations hand on."""
    if isinstance(value, dict):
        return {name: with_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [with_numbers(item) for item in value]
    return round(value.timestamp() * 1000) if isinstance(value, datetime.datetime) else value


@component
class SageMakerTask(StateTaskServiceUnsupported):
    """A Task of an integration that moto hands on as it is: SageMaker's are waited for here."""

    def _assert_integration_pattern_is_supported(self) -> None:
        if self.resource.condition != ResourceCondition.Sync:
            super()._assert_integration_pattern_is_supported()  # type: ignore[no-untyped-call]  # moto's

    def _from_error(self, env: Environment, ex: Exception) -> FailureEvent:
        service = self.resource.service_name
        known = service in STYLES and not isinstance(ex, FailureEventException)
        pair = optimised_error(service, ex) if known else None
        return task_failed(self, env, *pair) if pair else super()._from_error(env, ex)

    def _build_sync_resolver(
        self,
        env: Environment,
        resource_runtime_part: ResourceRuntimePart,  # noqa: ARG002  # moto's
        normalised_parameters: dict[str, object],
        state_credentials: StateCredentials,
    ) -> Callable[[], object]:
        env.stack.pop()  # what the service has answered is told in the history
        kind = JOBS[self.resource.api_action]
        client = clients.client_of("sagemaker", state_credentials.role_arn)
        job = WaitedJob(client, kind, str(normalised_parameters[f"{kind}Name"]))
        return _Waiting(self, job, env)

    def _eval_sync(
        self,
        env: Environment,
        sync_resolver: Callable[[], object] | None,
        timeout_seconds: int | None,
        callback_endpoint: object,  # noqa: ARG002  # moto's
        heartbeat_endpoint: HeartbeatEndpoint | None,
    ) -> object:
        """Wait for the job alone: nobody has been given the token that moto waits for besides."""
        found = super()._eval_sync(env, sync_resolver, timeout_seconds, None, heartbeat_endpoint)
        if isinstance(sync_resolver, _Waiting) and not env.is_running():
            sync_resolver.job.stop()  # its execution was stopped, or its time is over
        return found


@dataclass(frozen=True)
class _Waiting:
    """A task that waits for a job."""

    state: SageMakerTask
    job: WaitedJob
    env: Environment

    def __call__(self) -> Mapping[str, object] | None:
        """The job as it has ended; None while it runs. StateFailure for one that did not complete."""
        found = self.job.described()
        status = found.get(f"{self.job.kind}Status")
        if status in ENDED - {COMPLETED}:
            raise StateFailure(task_failed(self.state, self.env, "States.TaskFailed", dumps(found)))
        return found if status == COMPLETED else None
