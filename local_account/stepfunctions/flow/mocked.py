"""What a state that is tried with a mock does up to its call, whose result the mock gives.

Runs in the server process.
"""

from __future__ import annotations

from collections.abc import Callable

from moto.stepfunctions.parser.api import HistoryEventType
from moto.stepfunctions.parser.asl.component.state.exec.execute_state import ExecutionState
from moto.stepfunctions.parser.asl.component.state.exec.state_task.state_task import StateTask
from moto.stepfunctions.parser.asl.component.state.exec.state_task.state_task_lambda import StateTaskLambda
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.states import TaskData

from local_account.stepfunctions.environment import ExecutionEnvironment, own
from local_account.stepfunctions.flow.trial import Trial, TrialMock, TriedState
from local_account.stepfunctions.language.encoding import copy_json
from local_account.stepfunctions.language.failures import StateFailure, error_name, failure_event


def called(
    state: ExecutionState, call: Callable[[Environment], None], env: ExecutionEnvironment
) -> Callable[..., None]:
    """What is done in place of the state's call: the call itself, unless the state is tried."""
    trial = env.trial
    if trial is None:
        return call

    def run(frame: Environment) -> None:
        if trial.token is not None:
            frame.states.context_object.context_object_data["Task"] = TaskData(Token=trial.token)
        if isinstance(state, StateTask):
            _note_arguments(state, own(frame), trial)
        elif isinstance(state, TriedState) and trial.mock is not None:
            state.tried(own(frame), trial)
        if trial.mock is None:
            call(frame)
        else:
            frame.stack.append(mock_result(own(frame), trial.mock))

    return run


def mock_result(env: ExecutionEnvironment, mock: TrialMock) -> object:
    """The mock's result; StateFailure for its error."""
    if not mock.failed:
        return copy_json(mock.result)
    details = {name: text for name, text in (("error", mock.error), ("cause", mock.cause)) if text is not None}
    event = failure_event(env, error_name(mock.error), HistoryEventType.TaskFailed, "taskFailedEventDetails", details)
    raise StateFailure(event)


def _note_arguments(state: StateTask, frame: ExecutionEnvironment, trial: Trial) -> None:
    if state.parargs is None and not state._is_language_query_jsonpath():
        return
    given = list(frame.stack)
    found = state._eval_parameters(env=frame)
    frame.stack[:] = given
    if isinstance(state, StateTaskLambda):
        found = found["Payload"]
    elif state.parargs is None:
        found = given[-1]
    trial.note("afterParameters" if state._is_language_query_jsonpath() else "afterArguments", found)
