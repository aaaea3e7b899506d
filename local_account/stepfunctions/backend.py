"""moto's backend of Step Functions with what of it is ours: checks at creation, executions, task tokens.

Runs in the server process. moto's registry makes the backends and its dispatcher the responses
(``stepfunctions.service`` tells both of our classes), so what they need of the account hangs on the class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from moto.core.exceptions import AWSError
from moto.stepfunctions.exceptions import InvalidToken
from moto.stepfunctions.models import StateMachine, StepFunctionBackend
from moto.stepfunctions.parser.api import (
    ExecutionStatus,
    LoggingConfiguration,
)
from moto.stepfunctions.parser.asl.eval.callback.callback import CallbackOutcomeFailure
from moto.stepfunctions.parser.models import StepFunctionsParserBackend

from local_account.account import Account
from local_account.authority.authority import AccessDeniedError
from local_account.base.replacements import extends
from local_account.base.stored import stored
from local_account.stepfunctions.execution import AccountExecution, executions_of
from local_account.stepfunctions.executions import WorkflowExecutions
from local_account.stepfunctions.language.definition import problems
from local_account.stepfunctions.language.programs import program_of
from local_account.stepfunctions.maps.map_runs import MapRuns
from local_account.stepfunctions.maps.records import MapRun

# What a role needs for the log of its machine (Developer Guide, logging to CloudWatch Logs).
LOG_DELIVERY = (
    *("CreateLogDelivery", "GetLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery", "ListLogDeliveries"),
    *("PutResourcePolicy", "DescribeResourcePolicies", "DescribeLogGroups"),
)


@dataclass(frozen=True)
class Workflows:
    """What answers for Step Functions in this account."""

    account: Account
    executions: WorkflowExecutions
    map_runs: MapRuns


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
        _check_role(self.workflows.account, name, roleArn, options.get("loggingConfiguration"))
        existing = self._revision_by_name(name)
        if existing is not None and (existing.definition, existing.type) != (definition, kind):
            raise AWSError(f"State Machine Already Exists: '{existing.arn}'", "StateMachineAlreadyExists")
        # Past the interpreter's own backend, which only parses the definition before, in words without their code.
        return StepFunctionBackend.create_state_machine(self, name, definition, roleArn, *rest, **options)

    def update_state_machine(self, arn: str, definition: str | None = None, *rest: Any, **options: Any) -> StateMachine:
        """Change it, after its new definition was checked; InvalidDefinition."""
        if definition is not None:
            check_definition(definition, self.describe_state_machine(arn).type)
        return super().update_state_machine(arn, definition, *rest, **options)  # type: ignore[arg-type]  # None is moto's default

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


def _check_role(account: Account, name: str, role: str, logs: LoggingConfiguration | None) -> None:
    """Step Functions has to be able to assume the role, and to deliver logs with it."""
    authority = account.authority
    try:
        authority.demand_trust(role, "states.amazonaws.com", account.arn("states", f"stateMachine:{name}"))
    except AccessDeniedError as error:
        message = (
            "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to "
            f"assume the provided role. ({error.message})"
        )
        raise AWSError(message, "AccessDeniedException") from error
    if logs and logs.get("level", "OFF") != "OFF":
        missing = [action for action in LOG_DELIVERY if not authority.allows(role, f"logs:{action}", "*")]
        if missing:
            message = (
                "The state machine IAM Role is not authorized to access the Log Destination (it lacks logs:"
                f"{', logs:'.join(missing)} on *)"
            )
            raise AWSError(message, "AccessDeniedException")
