"""One execution, as moto's backend keeps it, with what redriving needs.

Runs in the server process; part of the state file of Step Functions.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import cast

from moto.stepfunctions.models import StateMachine, StateMachineInstance
from moto.stepfunctions.parser.api import ExecutionStatus, GetExecutionHistoryOutput, HistoryEvent, StateMachineType
from moto.stepfunctions.parser.backend.execution import Execution

from local_account.base.replacements import extends
from local_account.base.stored import stored
from local_account.stepfunctions.environment import ExecutionEnvironment
from local_account.stepfunctions.language.encoding import now
from local_account.stepfunctions.past import PastWorker
from local_account.stepfunctions.runs import ExecutionResult

# What moto keeps of an execution besides, and nobody asks for once it has ended.
_LIVE = ("input_data", "input_details", "output_details", "_activity_store", "_cloud_watch_logging_session")

# The last 10 tokens are answered alike for 15 minutes: step-functions/latest/apireference/API_RedriveExecution.html
TOKENS_KEPT = 10
TOKEN_HOLDS = datetime.timedelta(minutes=15)


@dataclass(frozen=True)
class LiveWorker:
    """In place of the worker of an execution that runs."""

    env: ExecutionEnvironment


@stored
@extends
class AccountExecution(Execution):
    """An execution of this account. Its members are set before its status: who sees SUCCEEDED must see the output."""

    exec_worker: LiveWorker | PastWorker | None  # type: ignore[assignment]  # not moto's, but with what it asks of one
    state_machine: StateMachineInstance  # type: ignore[assignment]  # moto has two classes of this name
    stop_date: datetime.datetime | None
    output: str | None  # type: ignore[assignment]  # moto's type is that of a module
    alias_arn: str | None = None
    """The alias by which it was started."""
    redrive_count: int = 0
    redrive_date: datetime.datetime | None = None
    redrive_tokens: tuple[tuple[str, datetime.datetime], ...] = ()
    """The client tokens of the last redrives, with what they were answered."""
    resume: tuple[str, str, dict[str, object]] | None = None
    """Where a redrive goes on: the state, the text of its input, the variables."""

    @property
    def machine_arn(self) -> str:
        """The ARN of the machine, without that of its version."""
        machine = self.state_machine
        return str(getattr(machine, "source_arn", None) or machine.arn)

    @property
    def version_arn(self) -> str | None:
        """The ARN of the version that runs; None where the machine itself does."""
        return self.state_machine.arn if "source_arn" in vars(self.state_machine) else None

    @property
    def is_express(self) -> bool:
        """Whether nothing is kept of it."""
        return self.sm_type == StateMachineType.EXPRESS

    @property
    def took_s(self) -> float:
        """How long it took; 0 while it runs."""
        seconds: float = (self.stop_date - self.start_date).total_seconds() if self.stop_date else 0.0
        return seconds

    def live_environment(self) -> ExecutionEnvironment | None:
        """Where it is evaluated, while it runs."""
        return self.exec_worker.env if isinstance(self.exec_worker, LiveWorker) else None

    def history(self) -> list[HistoryEvent]:
        """The events so far, oldest first."""
        if isinstance(self.exec_worker, PastWorker):
            return self.exec_worker.history
        env = self.live_environment()
        return [] if env is None else env.event_manager.get_event_history()

    def to_history_output(self) -> GetExecutionHistoryOutput:
        """The events, as moto's backend hands them on."""
        return GetExecutionHistoryOutput(events=self.history())

    def redriven_by(self, token: str | None) -> datetime.datetime | None:
        """When the redrive was that had this client token, which holds for a while; None when there was none."""
        at = dict(self.redrive_tokens).get(token) if token else None
        return at if at is not None and now() - at < TOKEN_HOLDS else None

    def begin_again(self, at: datetime.datetime, token: str | None) -> None:
        """Run once more, from where it failed."""
        if token:
            self.redrive_tokens = (*self.redrive_tokens, (token, at))[-TOKENS_KEPT:]
        self.redrive_count += 1
        self.redrive_date = at
        self.stop_date = self.error = self.cause = None

    def end(self, result: ExecutionResult, at: datetime.datetime) -> None:
        """Set what it came to, and let go of what moto keeps besides."""
        self.stop_date = at
        self.output, self.error, self.cause = result.output, result.error, result.cause
        for name in _LIVE:
            vars(self).pop(name, None)
        self.exec_status = ExecutionStatus(result.status)


def executions_of(machine: StateMachine) -> list[AccountExecution]:
    """The executions of a machine, oldest first: the list itself, which moto types as those of its other backend."""
    return cast("list[AccountExecution]", machine.executions)


def not_redrivable(execution: AccountExecution) -> str | None:
    """Why the execution cannot be redriven; None when it can."""
    if execution.status in {"RUNNING", "SUCCEEDED"}:
        return f"Execution is {execution.status} and cannot be redriven"
    if execution.resume is None:
        return "Execution ended before its first state and cannot be redriven"
    return None
