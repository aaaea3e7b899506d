"""The attempts of a Task, Map or Parallel: until one succeeds, its error is caught, or nothing is left to try.

Runs in the server process. A state is evaluated in the thread of its execution unless it has a time-out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from moto.stepfunctions.parser.asl.component.common.catch.catch_outcome import CatchOutcome
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.retry.retry_outcome import RetryOutcome
from moto.stepfunctions.parser.asl.component.common.timeouts.timeout import EvalTimeoutError
from moto.stepfunctions.parser.asl.component.state.exec.execute_state import ExecutionState
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.utils.json_path import NoSuchJsonPathError

from local_account.stepfunctions.environment import ExecutionEnvironment
from local_account.stepfunctions.flow.aborting import silence
from local_account.stepfunctions.flow.trial import note_caught, refuse_retry
from local_account.stepfunctions.language.encoding import copy_json
from local_account.stepfunctions.language.failures import (
    RUNTIME,
    StateFailure,
    completed,
    error_of,
    missing_path,
)


def attempt(state: ExecutionState, env: ExecutionEnvironment, failed: str | None = None) -> None:
    """Attempt the state as often as its Retry allows. Raises StateFailure when its error is not caught.

    ``failed`` is the event of a Map or Parallel that has failed; the failure of a Task is an event of its own.
    """
    if context := env.states.context_object.context_object_data["State"]:
        context["RetryCount"] = 0
    given = list(env.stack)
    while env.is_running():
        env.stack[:] = given
        try:
            state._evaluate_with_timeout(env)
        except Exception as error:
            if not env.is_running():
                return  # it was stopped, or timed out
            event = _event_of(state, env, error)
            if error_of(event) == RUNTIME:  # step-functions/latest/dg/concepts-error-handling.html: it always ends
                raise StateFailure(event) from error
            if not _is_answered(state, env, event, failed):
                raise StateFailure(event) from error
            if isinstance(env.stack[-1] if env.stack else None, CatchOutcome):
                return
        else:
            return


def _is_answered(state: ExecutionState, env: ExecutionEnvironment, event: FailureEvent, failed: str | None) -> bool:
    """Whether the state is to be tried again or its error was caught; the latter leaves its outcome on the stack."""
    before = env.event_history_context.source_event_id
    if failed is None or "evaluationFailedEventDetails" in (event.event_details or {}):
        env.add_event(event.event_type, event.event_details)
    output = state._construct_error_output_value(event)
    env.states.set_error_output(output)
    env.states.set_result(output)
    env.stack.clear()
    if env.trial is not None:
        refuse_retry(env.trial, state, event)
    elif state.retry and state._handle_retry(env=env, failure_event=event) == RetryOutcome.CanRetry:
        return True
    env.stack.clear()
    if failed:
        env.add_event(failed)
    try:
        return bool(state.catch) and _caught(state, env, event)
    except FailureEventException as again:
        raise _failed_in_catch(env, again, failed, before) from again


def _caught(state: ExecutionState, env: ExecutionEnvironment, event: FailureEvent) -> bool:
    state._handle_catch(env=env, failure_event=event)
    caught = bool(env.stack[-1] == CatchOutcome.Caught)
    if env.trial is not None and caught:
        note_caught(env.trial, state, event)
    return caught


def _failed_in_catch(
    env: ExecutionEnvironment, error: FailureEventException, failed: str | None, before: int
) -> StateFailure:
    """The error of a Catch itself: a Map or Parallel fails once more, from where it stood."""
    event = completed(env, error.failure_event)
    if "evaluationFailedEventDetails" in (event.event_details or {}):
        if failed:
            env.event_history_context.source_event_id = before
        env.add_event(event.event_type, event.event_details)
        if failed:
            env.add_event(failed)
    return StateFailure(event)


def _event_of(state: ExecutionState, env: ExecutionEnvironment, error: Exception) -> FailureEvent:
    if isinstance(error, NoSuchJsonPathError):
        error = missing_path(env, error)
    event = error.failure_event if isinstance(error, FailureEventException) else state._from_error(env=env, ex=error)
    return completed(env, event)


def attempted(
    state: ExecutionState, run: Callable[[Environment], None], env: ExecutionEnvironment, limit_s: float
) -> ExecutionEnvironment:
    """The frame in which the state was executed once, with the result on its stack."""
    frame = env.open_frame()
    frame.redriven, env.redriven = env.redriven, None
    frame.states.reset(input_value=env.data.given)
    frame.stack = copy_json(env.stack)
    try:
        if state.timeout.is_default_value():
            run(frame)
        else:
            _within(limit_s, run, frame)
    except NoSuchJsonPathError as missing:
        raise missing_path(frame, missing) from missing
    finally:
        frame.set_ended()
        env.close_frame(frame)
    return frame


def _within(limit_s: float, run: Callable[[Environment], None], frame: ExecutionEnvironment) -> None:
    """Run in a thread of its own; what it is at when the time is over goes on unheard."""
    raised: list[BaseException] = []

    def target() -> None:
        try:
            run(frame)
        except BaseException as found:  # whatever it is, it belongs to the thread that waits
            raised.append(found)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        silence(frame)
        raise EvalTimeoutError
    if raised:
        raise raised[0]
