"""Running one program: the environment that it is evaluated in, from its first event to what came of it.

Runs in the server process. Executions, synchronous executions and the children of a map run all run this way.
"""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from moto.stepfunctions.models import StateMachineInstance
from moto.stepfunctions.parser.api import HistoryEvent, LoggingConfiguration, StateMachineType
from moto.stepfunctions.parser.asl.component.program.program import Program
from moto.stepfunctions.parser.asl.eval import program_state
from moto.stepfunctions.parser.asl.eval.evaluation_details import AWSExecutionDetails
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventHistoryContext
from moto.stepfunctions.parser.asl.eval.event.logging import CloudWatchLoggingConfiguration
from moto.stepfunctions.parser.backend.activity import Activity

from local_account.account import Account
from local_account.cloudwatch.telemetry import Telemetry
from local_account.stepfunctions.environment import WHOLE, ExecutionEnvironment, ExecutionHistory, ExecutionLog
from local_account.stepfunctions.integrations.activities import ActivityQueues, TaskTokens
from local_account.stepfunctions.language.encoding import dumps, time_text

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExecutionStart:
    """What an execution is started with. ``data`` is the text of its input."""

    arn: str
    name: str
    data: str
    role: str
    machine_arn: str
    machine_name: str
    kind: str
    log: ExecutionLog | None
    at: datetime.datetime
    redrives: int = 0


@dataclass(frozen=True)
class ResumePoint:
    """Where an execution that failed stood: its state, the text of that state's input, its variables."""

    state: str
    data: str
    variables: Mapping[str, object] = field(default_factory=dict)
    history: list[HistoryEvent] = field(default_factory=list)


@dataclass(frozen=True)
class ExecutionResult:
    """What came of an execution. ``output`` is JSON's text."""

    status: str
    output: str | None = None
    error: str | None = None
    cause: str | None = None


def new_environment(
    account: Account, start: ExecutionStart, activities: ActivityQueues | None = None
) -> ExecutionEnvironment:
    """The interpreter's environment of one execution."""
    execution = {
        "Id": start.arn,
        "Input": json.loads(start.data),
        "Name": start.name,
        "RoleArn": start.role,
        "StartTime": time_text(start.at),
        "RedriveCount": start.redrives,
    }
    machine = {"Id": start.machine_arn, "Name": start.machine_name}
    store = cast("dict[str, Activity]", activities or {})
    env = ExecutionEnvironment(
        aws_execution_details=AWSExecutionDetails(account.account_id, account.region, start.role),
        execution_type=StateMachineType(start.kind),
        context={"Execution": execution, "StateMachine": machine},  # type: ignore[typeddict-item]  # the rest comes later
        event_history_context=EventHistoryContext.of_program_start(),
        cloud_watch_logging_session=start.log,
        activity_store=store,
    )
    env.callback_pool_manager = TaskTokens(store)
    env.event_manager = ExecutionHistory(start.log, kept=start.kind != "EXPRESS")
    return env


def run(
    program: Program, env: ExecutionEnvironment, start: ExecutionStart, resume: ResumePoint | None = None
) -> ExecutionResult:
    """Evaluate the program to its end, from its start or from where it failed before."""
    if resume is None:
        details = {"input": start.data, "inputDetails": WHOLE, "roleArn": start.role}
        env.add_event("ExecutionStarted", {"executionStartedEventDetails": details}, update_source_event_id=False)
    else:
        _go_on(env, resume)
        redriven = {"redriveCount": start.redrives}
        env.add_event("ExecutionRedriven", {"executionRedrivenEventDetails": redriven})
    try:
        program.eval(env)
    except Exception as error:  # a fault of ours or of moto's must not leave the execution running for ever
        log.exception("the evaluation of %s broke off", start.arn)
        return ExecutionResult("FAILED", error="States.Runtime", cause=f"{type(error).__name__}: {error}")
    return result_of(env)


def _go_on(env: ExecutionEnvironment, resume: ResumePoint) -> None:
    """Put the environment where the execution failed before."""
    env.event_manager.go_on_after(resume.history)
    env.event_history_context.source_event_id = len(resume.history)
    env.states.reset(input_value=json.loads(resume.data))
    for name, value in resume.variables.items():
        env.variable_store.set(name, value)
    env.resume_at = env.redriven = resume.state


def result_of(env: ExecutionEnvironment) -> ExecutionResult:
    """What the program came to that was evaluated here."""
    end = env._program_state
    if isinstance(end, program_state.ProgramEnded):
        return ExecutionResult("SUCCEEDED", output=dumps(env.data.given))
    if isinstance(end, program_state.ProgramTimedOut):
        return ExecutionResult("TIMED_OUT", error="States.Timeout")
    if isinstance(end, program_state.ProgramStopped):
        return ExecutionResult("ABORTED", error=end.error, cause=end.cause)
    if isinstance(end, program_state.ProgramError):
        error = end.error or {}
        return ExecutionResult("FAILED", error=error.get("error"), cause=error.get("cause"))
    return ExecutionResult("FAILED", error="States.Runtime", cause=f"The interpreter ended in state {end!r}")


def history_of(env: ExecutionEnvironment, result: ExecutionResult) -> list[HistoryEvent]:
    """The events, with the last one even where the thread that would add it still waits for a function."""
    events = env.event_manager.events()
    missing = {"ABORTED": "ExecutionAborted", "TIMED_OUT": "ExecutionTimedOut"}.get(result.status)
    if missing and not any(event["type"] == missing for event in events[-2:]):
        details = {name: value for name, value in (("error", result.error), ("cause", result.cause)) if value}
        member = missing[0].lower() + missing[1:] + "EventDetails"
        env.event_history_context.source_event_id = 0
        env.add_event(missing, {member: {} if missing == "ExecutionTimedOut" else details})
        events = env.event_manager.events()
    if env.log:
        env.log.closed = True  # nor is it logged what that thread will add
    return events


def log_of(
    telemetry: Telemetry, machine: StateMachineInstance, execution_arn: str, redrives: int
) -> ExecutionLog | None:
    """Where the log of an execution goes; None when its machine logs nothing."""
    settings = cast(LoggingConfiguration, {"includeExecutionData": False, **(machine.loggingConfiguration or {})})
    configuration = CloudWatchLoggingConfiguration.from_logging_configuration(machine.arn, settings)
    return ExecutionLog(telemetry, execution_arn, configuration, redrives) if configuration else None
