"""Running one program: the environment that it is evaluated in, from its first event to what came of it.

Runs in the server process. Executions, synchronous executions and the children of a map run all run this way.
"""

from __future__ import annotations

import datetime
import json
import logging
from dataclasses import dataclass, field
from typing import Any

from local_account.account import Account
from local_account.cloudwatch.telemetry import Telemetry
from local_account.stepfunctions.language.encoding import dumps, time_text

WHOLE = {"truncated": False}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """What an execution is started with. ``data`` is the text of its input."""

    arn: str
    name: str
    data: str
    role: str
    machine_arn: str
    machine_name: str
    kind: str
    logging: Any
    at: datetime.datetime
    redrives: int = 0


@dataclass(frozen=True)
class Resume:
    """Where an execution that failed stood: its state, the text of that state's input, its variables."""

    state: str
    data: str
    variables: dict[str, Any] = field(default_factory=dict)
    history: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    status: str
    output: str | None = None
    error: str | None = None
    cause: str | None = None


def new_environment(account: Account, start: Start) -> Any:
    """The interpreter's environment of one execution."""
    from moto.stepfunctions.parser.asl.eval.environment import Environment
    from moto.stepfunctions.parser.asl.eval.evaluation_details import AWSExecutionDetails
    from moto.stepfunctions.parser.asl.eval.event.event_manager import EventHistoryContext

    execution = {
        "Id": start.arn,
        "Input": json.loads(start.data),
        "Name": start.name,
        "RoleArn": start.role,
        "StartTime": time_text(start.at),
        "RedriveCount": start.redrives,
    }
    env = Environment(
        aws_execution_details=AWSExecutionDetails(account.account_id, account.region, start.role),
        execution_type=start.kind,
        context={"Execution": execution, "StateMachine": {"Id": start.machine_arn, "Name": start.machine_name}},
        event_history_context=EventHistoryContext.of_program_start(),
        cloud_watch_logging_session=start.logging,
        activity_store={},
    )
    if start.kind == "EXPRESS":
        env.event_manager._publish_history_event = _forget
    return env


def _forget(**_event: Any) -> None:
    """Express executions have no history, only a log."""


def run(program: Any, env: Any, start: Start, resume: Resume | None = None) -> Outcome:
    """Evaluate the program to its end, from its start or from where it failed before."""
    first: tuple[str, dict[str, Any]]
    if resume is None:
        details = {"input": start.data, "inputDetails": WHOLE, "roleArn": start.role}
        first = ("ExecutionStarted", {"executionStartedEventDetails": details})
    else:
        env.event_manager._history_event_list.extend(resume.history)
        env.event_manager._event_id_gen._next_id = len(resume.history) + 1
        env.event_history_context.source_event_id = len(resume.history)
        env.states.reset(input_value=json.loads(resume.data))
        for name, value in resume.variables.items():
            env.variable_store.set(name, value)
        env.resume_at = env.redriven = resume.state
        first = ("ExecutionRedriven", {"executionRedrivenEventDetails": {"redriveCount": start.redrives}})
    env.event_manager.add_event(env.event_history_context, *first, update_source_event_id=resume is not None)
    try:
        program.eval(env)
    except Exception as error:  # a fault of ours or of moto's must not leave the execution running for ever
        log.exception("the evaluation of %s broke off", start.arn)
        return Outcome("FAILED", error="States.Runtime", cause=f"{type(error).__name__}: {error}")
    return outcome_of(env)


def outcome_of(env: Any) -> Outcome:
    from moto.stepfunctions.parser.asl.eval import program_state as states

    end = env._program_state
    if isinstance(end, states.ProgramEnded):
        return Outcome("SUCCEEDED", output=dumps(env.states._states_data["input"]))
    if isinstance(end, states.ProgramTimedOut):
        return Outcome("TIMED_OUT", error="States.Timeout")
    if isinstance(end, states.ProgramStopped):
        return Outcome("ABORTED", error=end.error, cause=end.cause)
    if isinstance(end, states.ProgramError):
        error = end.error or {}
        return Outcome("FAILED", error=error.get("error"), cause=error.get("cause"))
    return Outcome("FAILED", error="States.Runtime", cause=f"The interpreter ended in state {end!r}")


def history_of(env: Any, outcome: Outcome) -> list[Any]:
    """The events, with the last one even where the thread that would add it still waits for a function."""
    context, manager = env.event_history_context, env.event_manager
    events = list(manager._history_event_list)
    missing = {"ABORTED": "ExecutionAborted", "TIMED_OUT": "ExecutionTimedOut"}.get(outcome.status)
    if missing and not any(event["type"] == missing for event in events[-2:]):
        details = {name: value for name, value in (("error", outcome.error), ("cause", outcome.cause)) if value}
        member = missing[0].lower() + missing[1:] + "EventDetails"
        context.source_event_id = 0
        manager.add_event(context, missing, {member: {} if missing == "ExecutionTimedOut" else details})
        events = list(manager._history_event_list)
    manager._cloud_watch_logging_session = None  # nor is it logged what that thread will add
    return events


def resume_point(env: Any) -> tuple[str, str, dict[str, Any]] | None:
    """Where a redrive would go on: the last state of the outermost level, what it was given, the variables."""
    entered: tuple[str, Any, dict[str, Any]] | None = getattr(env, "last_entered", None)
    if entered is None:
        return None
    state, data, variables = entered
    return state, dumps(data), variables


def logging_session(telemetry: Telemetry, machine: Any, execution_arn: str, redrives: int = 0) -> Any:
    """Where the log of an execution goes; None when its machine logs nothing."""
    from moto.stepfunctions.parser.asl.eval.event.logging import (
        CloudWatchLoggingConfiguration,
        CloudWatchLoggingSession,
    )

    class Session(CloudWatchLoggingSession):  # type: ignore[misc]  # moto has no types
        """moto's session hands objects to a backend that wants dictionaries, and writes within the execution."""

        def publish_history_log(self, history_log: Any) -> None:
            at = datetime.datetime.fromisoformat(history_log["event_timestamp"])
            line = {**history_log, "event_timestamp": str(int(at.timestamp() * 1000)), "redrive_count": str(redrives)}
            group, stream = self.configuration.log_group_name, self.configuration.log_stream_name
            telemetry.add_lines(group, stream, [dumps(line)])

    settings = {"includeExecutionData": False, **(machine.loggingConfiguration or {})}
    configuration = CloudWatchLoggingConfiguration.from_logging_configuration(machine.arn, settings)
    return Session(execution_arn, configuration) if configuration else None
