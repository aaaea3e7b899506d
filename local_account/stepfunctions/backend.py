"""moto's backend of Step Functions with what of it is ours: checks at creation, executions, task tokens.

Runs in the server process. moto's registry makes the backends and its dispatcher the responses
(``stepfunctions.service`` tells both of our classes), so what they need of the account hangs on the class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from re import Pattern
from typing import Any, ClassVar, cast

from moto.core.exceptions import AWSError
from moto.stepfunctions.exceptions import InvalidArn, InvalidToken, StateMachineDoesNotExist
from moto.stepfunctions.models import StateMachine, StepFunctionBackend
from moto.stepfunctions.parser.api import (
    ExecutionStatus,
    LoggingConfiguration,
)
from moto.stepfunctions.parser.asl.eval.callback.callback import ActivityCallbackEndpoint, CallbackOutcomeFailure
from moto.stepfunctions.parser.backend.activity import ActivityTask
from moto.stepfunctions.parser.models import StepFunctionsParserBackend

from local_account.account import Account
from local_account.authority.authority import AccessDeniedError
from local_account.base.arns import arn_fields, machine_part
from local_account.base.replacements import extends
from local_account.base.stored import stored
from local_account.stepfunctions.api.machines import check_encryption, check_logging, contents, revise
from local_account.stepfunctions.execution import AccountExecution, executions_of
from local_account.stepfunctions.executions import WorkflowExecutions, wrong_type
from local_account.stepfunctions.integrations.activities import ActivityQueues
from local_account.stepfunctions.language.definition import problems
from local_account.stepfunctions.language.programs import program_of
from local_account.stepfunctions.maps.map_runs import MapRuns
from local_account.stepfunctions.maps.records import MapRun

# What a role needs for the log of its machine (Developer Guide, logging to CloudWatch Logs).
LOG_DELIVERY = (
    *("CreateLogDelivery", "GetLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery", "ListLogDeliveries"),
    *("PutResourcePolicy", "DescribeResourcePolicies", "DescribeLogGroups"),
)


# What UpdateStateMachine changes: moto's name of it and the request's.
CHANGES = {
    "definition": "definition",
    "role_arn": "roleArn",
    "tracing_configuration": "tracingConfiguration",
    "encryption_configuration": "encryptionConfiguration",
    "logging_configuration": "loggingConfiguration",
}
NOTHING_TO_CHANGE = (
    "Either the definition, the role ARN, the LoggingConfiguration, or the TracingConfiguration must be specified"
)


@dataclass(frozen=True)
class Workflows:
    """What answers for Step Functions in this account."""

    account: Account
    executions: WorkflowExecutions
    map_runs: MapRuns
    activities: ActivityQueues


@stored
@extends
class AccountBackend(StepFunctionsParserBackend):
    """The machines, executions and map runs of a region."""

    workflows: ClassVar[Workflows]
    """Set while the service is installed."""
    handler: ClassVar[Callable[..., object]]
    """What answers requests, set with it."""

    @property
    def url_paths(self) -> dict[str, Callable[..., object]]:  # type: ignore[override]  # moto's names its answer's type
        """Where requests go, in place of moto's own responses."""
        return {"/$": type(self).handler}

    @staticmethod
    def _validate_definition(definition: str) -> None:
        """Done before, by ``check_definition``: moto's errors reach clients without their code."""

    def create_state_machine(
        self,
        name: str,
        definition: str,
        roleArn: str,  # noqa: N803  # moto's
        *rest: Any,
        **options: Any,
    ) -> StateMachine:
        """Create it unless there is the same; InvalidDefinition, AccessDeniedException, StateMachineAlreadyExists."""
        kind = str(options.get("sm_type") or "STANDARD")
        check_definition(definition, kind)
        check_encryption(options.get("encryptionConfiguration"))
        check_logging(self.workflows.account, options.get("loggingConfiguration"))
        self._validate_role_arn(roleArn)
        _check_role(self.workflows.account, name, roleArn, options.get("loggingConfiguration"))
        existing = self._revision_by_name(name)
        if existing is not None and (existing.definition, existing.type) != (definition, kind):
            raise AWSError(f"State Machine Already Exists: '{existing.arn}'", "StateMachineAlreadyExists")
        # Past the interpreter's own backend, which only parses the definition before, in words without their code.
        return StepFunctionBackend.create_state_machine(self, name, definition, roleArn, *rest, **options)

    def update_state_machine(
        self,
        arn: str,
        definition: str | None = None,
        role_arn: str | None = None,
        *rest: Any,  # moto's, which hand on two members only  # noqa: ARG002
        **options: Any,
    ) -> StateMachine:
        """Change it, after what is new was checked; as create does, and MissingRequiredParameter."""
        changes = {**options, "definition": definition, "role_arn": role_arn}
        if all(value is None for value in changes.values()):
            raise AWSError(NOTHING_TO_CHANGE, "MissingRequiredParameter")
        machine = self.machine(arn)
        if definition is not None:
            check_definition(definition, machine.type)
        check_encryption(options.get("encryption_configuration"))
        check_logging(self.workflows.account, options.get("logging_configuration"))
        if role_arn is not None:
            self._validate_role_arn(role_arn)
            _check_role(self.workflows.account, machine.name, role_arn, options.get("logging_configuration"))
        before = contents(machine)
        StepFunctionBackend.update_state_machine(self, arn, definition, role_arn, **options)
        revise(machine, before)
        return machine

    def machine(self, arn: str) -> StateMachine:
        """The machine itself, no version of it; InvalidArn, StateMachineDoesNotExist."""
        self._validate_machine_arn(arn)
        found = next((machine for machine in self.state_machines if machine.arn == arn), None)
        if found is None:
            raise StateMachineDoesNotExist(f"State Machine Does Not Exist: '{arn}'")
        return found

    def executions_named(self, arn: str) -> list[AccountExecution]:
        """Those of a machine, or of a version or alias by whose ARN they were started; StateMachineTypeNotSupported."""
        source = machine_part(arn)
        machine = self.machine(source)
        if machine.type == "EXPRESS":
            raise wrong_type()
        if source != arn:
            self.workflows.executions.check_named(self, arn)
        found = list(executions_of(machine))
        return [e for e in found if arn in (source, e.version_arn, e.alias_arn)]

    def take_task(self, arn: str, worker: str | None) -> ActivityTask | None:
        """The next task of an activity; None when there is none for a minute."""
        queue = self.workflows.activities.get(arn)
        return queue.take(lambda task: self.begin_task(task.task_token, worker)) if queue else None

    def begin_task(self, token: str, worker: str | None) -> bool:
        """Tell the execution that a worker has its task; False where it no longer waits."""
        for execution in self._get_executions(ExecutionStatus.RUNNING):
            env = execution.live_environment()
            endpoint = env.callback_pool_manager.get(token) if env else None
            if isinstance(endpoint, ActivityCallbackEndpoint):
                endpoint.notify_activity_task_start(worker)
                return True
        return False

    def _validate_arn(self, arn: str, regex: Pattern[str], invalid_msg: str) -> None:
        if not arn.startswith("arn:"):
            raise InvalidArn(f"Invalid Arn: 'Invalid ARN prefix: {arn}'")
        if not regex.match(arn):
            fields = arn_fields(arn)
            kind, _, named = fields[-1].partition(":") if fields else ("", "", "")
            told = f"Resource type not valid in this context: {kind}" if named else invalid_msg
            raise InvalidArn(f"Invalid Arn: '{told}'" if kind else invalid_msg)

    def start_execution(  # type: ignore[override]  # moto's two backends have an Execution each
        self,
        state_machine_arn: str,
        name: str | None = None,
        execution_input: str | None = None,
        trace_header: str | None = None,  # noqa: ARG002  # moto's
    ) -> AccountExecution:
        """Begin an execution; see ``WorkflowExecutions.start``."""
        return self.workflows.executions.start(self, state_machine_arn, name, execution_input)

    def describe_execution(self, execution_arn: str) -> AccountExecution:  # type: ignore[override]  # the same
        """The execution; InvalidArn, ExecutionDoesNotExist."""
        self._validate_execution_arn(execution_arn)
        return self.workflows.executions.find(self, execution_arn)

    def end_execution(self, execution_arn: str, error: str | None, cause: str | None) -> AccountExecution:
        """The execution, which has ended: as ABORTED, if it was running."""
        execution = self.describe_execution(execution_arn)
        self.workflows.executions.stop(execution, error, cause)
        return execution

    def _get_executions(self, execution_status: ExecutionStatus | None = None) -> list[AccountExecution]:
        if execution_status == ExecutionStatus.RUNNING:
            return list(self.workflows.executions.running.values())
        return [e for e in self.all_executions() if execution_status in (None, e.exec_status)]

    def all_executions(self) -> list[AccountExecution]:
        """Those of all machines."""
        return [execution for machine in self.state_machines for execution in executions_of(machine)]

    def send_task_failure(self, task_token: str, error: str | None = None, cause: str | None = None) -> None:  # type: ignore[override]  # moto's two backends disagree
        """Fail the task that waits for the token; InvalidToken. moto asks executions that have ended as well."""
        outcome = CallbackOutcomeFailure(callback_id=task_token, error=error, cause=cause)
        for execution in self._get_executions(ExecutionStatus.RUNNING):
            env = execution.live_environment()
            if env and env.callback_pool_manager.notify(callback_id=task_token, outcome=outcome):
                return
        raise InvalidToken("'Invalid token'")

    @property
    def kept_map_runs(self) -> dict[str, MapRun]:
        """The map runs of this region by their ARNs; kept with the backend, so that they survive a restart."""
        return cast("dict[str, MapRun]", vars(self).setdefault("map_runs", {}))


def faults(definition: str, kind: str) -> list[str]:
    """Everything for which the definition is refused."""
    found = problems(definition, kind)
    if not found:
        try:
            program_of(definition)
        except Exception as error:  # the parser reports what it does not accept in many ways
            found = [f"SCHEMA_VALIDATION_FAILED: {error}"]
    return found


def check_definition(definition: str, kind: str = "STANDARD") -> None:
    """Refuse a definition that cannot run; InvalidDefinition."""
    if found := faults(definition, kind):
        raise AWSError(f"Invalid State Machine Definition: '{', '.join(found)}'", "InvalidDefinition")


def check_trust(account: Account, name: str, role: str) -> None:
    """AccessDeniedException where Step Functions cannot assume the role."""
    authority = account.authority
    try:
        authority.demand_trust(role, "states.amazonaws.com", account.arn("states", f"stateMachine:{name}"))
    except AccessDeniedError as error:
        message = (
            "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to "
            f"assume the provided role. ({error.message})"
        )
        raise AWSError(message, "AccessDeniedException") from error


def _check_role(account: Account, name: str, role: str, logs: LoggingConfiguration | None) -> None:
    """Step Functions has to be able to assume the role, and to deliver logs with it."""
    check_trust(account, name, role)
    authority = account.authority
    if logs and logs.get("level", "OFF") != "OFF":
        missing = [action for action in LOG_DELIVERY if not authority.allows(role, f"logs:{action}", "*")]
        if missing:
            message = (
                "The state machine IAM Role is not authorized to access the Log Destination (it lacks logs:"
                f"{', logs:'.join(missing)} on *)"
            )
            raise AWSError(message, "AccessDeniedException")
