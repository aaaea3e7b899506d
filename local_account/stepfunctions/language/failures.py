"""Errors of the interpreter itself, named and worded as Step Functions does.

Runs in the server process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from moto.stepfunctions.parser.api import ExecutionFailedEventDetails, HistoryEventType
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails

from local_account.base.replacements import extends
from local_account.stepfunctions.environment import ExecutionEnvironment


@extends
class StateFailure(FailureEventException):
    """What ends an execution whose cause is complete; moto's would put the state before some causes once more."""

    def get_execution_failed_event_details(self) -> ExecutionFailedEventDetails | None:
        """Error and cause, as far as there are any."""
        pair = self.extract_error_cause_pair()
        if pair is None:
            return None
        details = ExecutionFailedEventDetails()
        if pair[0]:
            details["error"] = pair[0]
        if pair[1]:
            details["cause"] = pair[1]
        return details


def failure(env: ExecutionEnvironment, error: str, cause: str, location: str | None = None) -> StateFailure:
    """An error of the interpreter itself, as it reaches Retry, Catch and the end of the execution."""
    if error == "States.QueryEvaluationError":
        details = {"error": error, "cause": _entered(env) + cause, "location": location, "state": env.next_state_name}
        told = {name: value for name, value in details.items() if value is not None}
        kind = HistoryEventType.EvaluationFailed
        return StateFailure(failure_event(env, _error_name(error), kind, "evaluationFailedEventDetails", told))
    prefix = _entered(env) if error == "States.Runtime" else ""
    told = {"error": error, "cause": prefix + cause}
    return StateFailure(
        failure_event(env, _error_name(error), HistoryEventType.TaskFailed, "taskFailedEventDetails", told)
    )


def failure_event(
    env: Environment, name: ErrorName, kind: HistoryEventType, member: str, details: Mapping[str, str]
) -> FailureEvent:
    """What an error puts into the history: an event with these details in its ``member``."""
    return FailureEvent(env, name, kind, cast(EventDetails, {member: details}))


def _error_name(error: str) -> ErrorName:
    try:
        return StatesErrorName(StatesErrorNameType.from_name(error))
    except ValueError:
        return CustomErrorName(error)


def _entered(env: ExecutionEnvironment) -> str:
    entered = env.entered_event_id
    event = env.event_history_context.source_event_id if entered is None else entered
    return f"An error occurred while executing the state '{env.next_state_name}' (entered at the event id #{event}). "
