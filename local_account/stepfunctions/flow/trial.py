"""A state that is tried on its own (TestState): its mock, and what is seen of its data on the way.

Runs in the server process. An environment that has a trial notes the data of its state, takes a mock's result in place
of a call, and says that it would try again instead of doing so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from local_account.stepfunctions.language.encoding import copy_json

if TYPE_CHECKING:
    from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
    from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent
    from moto.stepfunctions.parser.asl.component.state.exec.execute_state import ExecutionState

    from local_account.stepfunctions.environment import ExecutionEnvironment


@dataclass(frozen=True)
class TrialMock:
    """What is taken for the result of the call: a value, or an error with its cause."""

    result: object = None
    error: str | None = None
    cause: str | None = None
    failed: bool = False


@dataclass
class Trial:
    """One state's trial."""

    mock: TrialMock | None = None
    retries: int = 0
    """How often the state was tried before."""
    failed_iterations: int = 0
    item_data: str | None = None
    """The text of what a Map's reader is taken to have read."""
    state: Mapping[str, object] = field(default_factory=dict)
    """What the context object is given to say of the state."""
    token: str | None = None
    """The task's token in it."""
    seen: dict[str, object] = field(default_factory=dict)
    """What is told about the data on the way, by the names that TestState gives it."""
    details: dict[str, object] = field(default_factory=dict)
    """What is told about the error."""
    caught: FailureEvent | None = None
    """The error that the state's Catch took."""

    def note(self, name: str, value: object) -> None:
        """Keep what the data is at one point."""
        self.seen[name] = copy_json(value)


@runtime_checkable
class TriedState(Protocol):
    """A state that tells a trial more than its arguments."""

    def tried(self, env: ExecutionEnvironment, trial: Trial) -> None:
        """Note what its members come to."""


class TrialRetryError(Exception):
    """The state would be tried again."""

    def __init__(self, event: FailureEvent) -> None:
        super().__init__("the state would be tried again")
        self.event = event


def takes(names: Iterable[ErrorName], event: FailureEvent) -> bool:
    """Whether an error is among those that a Retry or Catch names."""
    wanted = {name.error_name for name in names}
    error = event.error_name.error_name if event.error_name else None
    own = error is not None and error.startswith("States.")
    return error in wanted or "States.ALL" in wanted or ("States.TaskFailed" in wanted and not own)


def refuse_retry(trial: Trial, state: ExecutionState, event: FailureEvent) -> None:
    """TrialRetryError where the state's Retry takes the error once more."""
    for index, retrier in enumerate(state.retry.retriers if state.retry else ()):
        if takes(retrier.error_equals.error_names, event):
            if trial.retries < retrier.max_attempts.attempts:
                wait = retrier.interval_seconds.seconds * retrier.backoff_rate.rate**trial.retries
                trial.details = {"retryIndex": index, "retryBackoffIntervalSeconds": int(wait)}
                raise TrialRetryError(event)
            return


def note_caught(trial: Trial, state: ExecutionState, event: FailureEvent) -> None:
    """Keep the error that the state's Catch took, and which of its clauses did."""
    trial.caught = event
    for index, catcher in enumerate(state.catch.catchers if state.catch else ()):
        if takes(catcher.error_equals.error_names, event):
            trial.details = {"catchIndex": index}
            return
