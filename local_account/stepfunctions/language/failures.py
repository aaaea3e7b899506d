"""Errors of the interpreter itself, named and worded as Step Functions does.

Runs in the server process.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from moto.stepfunctions.parser.api import ExecutionFailedEventDetails, HistoryEventType
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.utils.json_path import NoSuchJsonPathError

from local_account.base.replacements import extends
from local_account.stepfunctions.environment import ExecutionEnvironment
from local_account.stepfunctions.language.encoding import dumps

RUNTIME = "States.Runtime"
QUERY = "States.QueryEvaluationError"
# The causes of these begin with the state: recorded answers of AWS.
WITH_STATE = {RUNTIME, QUERY}
_PREFIX = "An error occurred while executing the state '"
_STATE = re.compile(rf"{_PREFIX}.*?' \(entered at the event id #\d+\)\. ", re.DOTALL)


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
    told = _with_state(env, error, cause)
    if error == QUERY:
        details = {"error": error, "cause": told, "location": location, "state": env.next_state_name}
        found = {name: value for name, value in details.items() if value is not None}
        return _raised(env, error, "EvaluationFailed", "evaluationFailedEventDetails", found)
    return _raised(env, error, "TaskFailed", "taskFailedEventDetails", {"error": error, "cause": told})


def completed(env: ExecutionEnvironment, event: FailureEvent) -> FailureEvent:
    """An error of moto's, with the state that it happened in where AWS's causes name it."""
    member, given = next(iter((event.event_details or {}).items()), ("", {}))
    details = dict(cast("Mapping[str, str]", given or {}))
    error, cause = details.get("error"), details.get("cause")
    if error not in WITH_STATE or cause is None or cause.startswith(_PREFIX):
        return event
    details["cause"] = _with_state(env, str(error), cause)
    if member == "evaluationFailedEventDetails":
        details.setdefault("state", str(env.next_state_name))
    return failure_event(env, error_name(error), event.event_type, member, details)


def without_state(cause: str) -> str:
    """The cause without the state that it begins with."""
    return _STATE.sub("", cause, count=1)


def missing_path(env: ExecutionEnvironment, missing: NoSuchJsonPathError) -> StateFailure:
    """A path of the state that leads nowhere."""
    cause = (
        f"The JSONPath '{missing.json_path}' specified for the field '{env.next_field_name}' "
        f"could not be found in the input '{dumps(missing.data)}'"
    )
    return failure(env, RUNTIME, cause)


def error_of(event: FailureEvent) -> str | None:
    """The name of the error, as Retry and Catch know it."""
    return event.error_name.error_name if event.error_name else None


def failure_event(
    env: Environment, name: ErrorName | None, kind: HistoryEventType, member: str, details: Mapping[str, str]
) -> FailureEvent:
    """What an error puts into the history: an event with these details in its ``member``."""
    return FailureEvent(env, name, kind, cast(EventDetails, {member: details}))


def error_name(error: str | None) -> ErrorName | None:
    """An error of the States Language, or one that a function or a Fail state has named."""
    if error is None:
        return None
    try:
        return StatesErrorName(StatesErrorNameType.from_name(error))
    except ValueError:
        return ErrorName(error)


def _raised(env: ExecutionEnvironment, error: str, kind: str, member: str, details: Mapping[str, str]) -> StateFailure:
    return StateFailure(failure_event(env, error_name(error), HistoryEventType(kind), member, details))


def _with_state(env: ExecutionEnvironment, error: str, cause: str) -> str:
    if error not in WITH_STATE:
        return cause
    entered = env.entered_event_id
    event = env.event_history_context.source_event_id if entered is None else entered
    return f"{_PREFIX}{env.next_state_name}' (entered at the event id #{event}). {cause}"
