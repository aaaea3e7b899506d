"""What a branch or an iteration came to.

Runs in the server process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from moto.stepfunctions.parser.api import HistoryEventType
from moto.stepfunctions.parser.asl.eval.program_state import ProgramEnded, ProgramError

from local_account.stepfunctions.environment import ExecutionEnvironment
from local_account.stepfunctions.language.failures import StateFailure, error_name, failure_event


def failure_of(frame: ExecutionEnvironment) -> StateFailure | None:
    """Why the program that was evaluated in the frame did not end well; None where it did."""
    end = frame.program_state()
    if isinstance(end, ProgramEnded):
        return None
    details = cast("Mapping[str, str]", (end.error if isinstance(end, ProgramError) else None) or {})
    name = error_name(details.get("error"))
    event = failure_event(frame, name, HistoryEventType.ExecutionFailed, "executionFailedEventDetails", details)
    return StateFailure(event)
