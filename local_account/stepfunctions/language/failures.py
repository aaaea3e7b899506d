"""Errors of the interpreter itself, named and worded as Step Functions does.

Runs in the server process.
"""

from __future__ import annotations

from typing import Any


def failure(env: Any, error: str, cause: str, location: str | None = None) -> Exception:
    """An error of the interpreter itself, as it reaches Retry, Catch and the end of the execution."""
    from moto.stepfunctions.parser.api import HistoryEventType
    from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
    from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
        FailureEvent,
        FailureEventException,
    )
    from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
    from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType

    try:
        name: Any = StatesErrorName(StatesErrorNameType.from_name(error))
    except ValueError:
        name = CustomErrorName(error)
    if error == "States.QueryEvaluationError":
        details = {"error": error, "cause": _entered(env) + cause, "location": location, "state": env.next_state_name}
        event = {"evaluationFailedEventDetails": {k: v for k, v in details.items() if v is not None}}
        kind = HistoryEventType.EvaluationFailed
    else:
        prefix = _entered(env) if error == "States.Runtime" else ""
        event = {"taskFailedEventDetails": {"error": error, "cause": prefix + cause}}
        kind = HistoryEventType.TaskFailed
    raised: Exception = FailureEventException(FailureEvent(env, name, kind, event))
    return raised


def _entered(env: Any) -> str:
    event = getattr(env, "entered_event_id", env.event_history_context.source_event_id)
    return f"An error occurred while executing the state '{env.next_state_name}' (entered at the event id #{event}). "
