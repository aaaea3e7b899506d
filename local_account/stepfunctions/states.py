"""How states are evaluated: moto's interpreter with the parts extended that differ from AWS, or cost most.

Runs in the server process. Errors get the causes that AWS gives them, ``Output`` sees the variables as they were before
``Assign``, and a state is evaluated in the thread of its execution unless it has a time-out.
"""

from __future__ import annotations

import threading

from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
from moto.stepfunctions.parser.asl.component.program.program import Program
from moto.stepfunctions.parser.asl.component.state.exec.execute_state import ExecutionState
from moto.stepfunctions.parser.asl.component.state.state import CommonStateField
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.states import StateData
from moto.stepfunctions.parser.asl.utils.json_path import NoSuchJsonPathError

from local_account.stepfunctions.environment import WHOLE, ExecutionEnvironment, own
from local_account.stepfunctions.flow import branches as _branches  # noqa: F401  # its components have to be ours
from local_account.stepfunctions.flow import comparisons as _comparisons  # noqa: F401  # the same
from local_account.stepfunctions.flow import simple as _simple  # noqa: F401  # the same
from local_account.stepfunctions.flow.attempts import attempt, attempted
from local_account.stepfunctions.flow.mocked import called
from local_account.stepfunctions.flow.trial import TrialRetryError
from local_account.stepfunctions.language.components import component
from local_account.stepfunctions.language.definition import members_of
from local_account.stepfunctions.language.encoding import dumps, is_within, now_text
from local_account.stepfunctions.language.failures import RUNTIME, StateFailure, completed, failure, missing_path

EXPRESS_LIMIT_S = 300  # step-functions/latest/dg/service-quotas.html
HISTORY_LIMIT = 25_000 - 2  # events of a Standard execution, with room for the last ones
HISTORY_FULL = "The execution reached the maximum number of history events (25000)."


@component
class ProgramBody(Program):
    """A whole definition, a branch, or what an inline Map does with an item."""

    def __str__(self) -> str:
        return f"{type(self).__name__} from {self.start_at.start_at_name}"  # moto's is the whole program's text

    def eval(self, env: Environment) -> None:
        """Evaluate from the start, or where a redrive goes on, in this thread unless there is a limit of time."""
        here = own(env)
        if here.is_over():
            return
        env.next_state_name = here.resume_at or self.start_at.start_at_name
        here.resume_at = None
        limit_s = self.timeout_seconds.timeout_seconds if self.timeout_seconds else None
        if env.execution_type == "EXPRESS" and not env.is_frame():
            limit_s = min(limit_s or EXPRESS_LIMIT_S, EXPRESS_LIMIT_S)
        if limit_s is None:
            EvalComponent.eval(self, env)
            return
        thread = threading.Thread(target=EvalComponent.eval, args=(self, env), daemon=True)
        thread.start()
        thread.join(limit_s)
        if thread.is_alive():
            env.set_timed_out()


@component
class StateBody(CommonStateField):
    """A state of any type: what is noted when it is entered and left, and the errors between."""

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.name}"  # moto's is the text of all that is in it

    def _eval_body(self, env: Environment) -> None:
        here = own(env)
        _enter(self, here)
        try:
            here.note("input", here.data.given)
            self._eval_state_input(env)
            if self._is_language_query_jsonpath():
                here.note("afterInputPath", env.stack[-1])
            self._eval_state(env)
            if not env.is_running():
                return
            self._eval_state_output(env)
        except NoSuchJsonPathError as missing:
            raise missing_path(here, missing) from missing
        except FailureEventException as error:
            raise _ended(self, here, error) from error
        except TrialRetryError:
            raise
        except Exception as error:
            raise failure(here, RUNTIME, str(error)) from error
        output = _leave(self.name, here)
        self._set_next(env)
        if self.state_exited_event_type is not None:
            details = {"stateExitedEventDetails": _exited(self.name, here, output)}
            here.add_event(self.state_exited_event_type, details)


def _ended(state: CommonStateField, env: ExecutionEnvironment, error: FailureEventException) -> StateFailure:
    """The error with which a state ends its program; what could not be evaluated has an event of its own."""
    event = error.failure_event if isinstance(error, StateFailure) else completed(env, error.failure_event)
    if "evaluationFailedEventDetails" in (event.event_details or {}) and not isinstance(state, ExecutionState):
        env.add_event(event.event_type, event.event_details)
    return StateFailure(event)


def _enter(state: CommonStateField, env: ExecutionEnvironment) -> None:
    data = {"name": state.name, "input": dumps(env.data.given), "inputDetails": WHOLE}
    env.entered_event_id = env.add_event(state.state_entered_event_type, {"stateEnteredEventDetails": data})
    context = env.states.context_object.context_object_data
    told = StateData(EnteredTime=now_text(), Name=state.name, RetryCount=0)
    if env.trial is not None:
        told.update(env.trial.state)  # type: ignore[typeddict-item]  # checked when it was given
    context["State"] = told
    env.assigned = {}
    env.current_type = str(state.state_entered_event_type.value).removesuffix("StateEntered")
    if len(env.event_manager) >= HISTORY_LIMIT:
        raise failure(env, "States.Runtime", HISTORY_FULL)
    if not env.is_frame():  # where a redrive would go on
        env.last_entered = (state.name, env.data.given, env.own_variables)


def _leave(name: str, env: ExecutionEnvironment) -> str:
    """Set the variables; the output's text, when it is small enough."""
    for variable, value in env.assigned.items():
        env.variable_store.set(variable, value)
    env.current_type = None
    output = dumps(env.data.given)
    if not is_within(output):
        told = f"The state/task '{name}' returned a result with a size exceeding the maximum number of bytes"
        cause = f"{told} service limit."
        raise failure(env, "States.DataLimitExceeded", cause)
    return output


def _exited(name: str, env: ExecutionEnvironment, output: str) -> dict[str, object]:
    details: dict[str, object] = {"name": name, "output": output, "outputDetails": WHOLE}
    env.variable_store.reset_tracing()
    if env.assigned:
        details["assignedVariables"] = {variable: dumps(value) for variable, value in env.assigned.items()}
        details["assignedVariablesDetails"] = WHOLE
    return details


@component
class ExecutionBody(ExecutionState):
    """A Task, Map or Parallel."""

    def _eval_state(self, env: Environment) -> None:
        attempt(self, own(env))

    def _evaluate_with_timeout(self, env: Environment) -> None:
        """One attempt, up to its output: what fails here can be retried and caught."""
        self.timeout.eval(env=env)
        here = own(env)
        frame = attempted(self, called(self, self._eval_execution, here), here, env.stack.pop())
        if not env.is_running():
            return  # it was stopped, or timed out
        result = frame.stack.pop()
        env.stack.append(result)
        here.note("result", result)
        try:
            _shape(self, here, result)
        except NoSuchJsonPathError:  # told behind the success of a Map or Parallel: a recorded answer of AWS
            history = env.event_history_context
            history.source_event_id = history.last_published_event_id
            raise

    def _eval_state_output(self, env: Environment) -> None:
        if self._is_language_query_jsonpath():  # JSONata's Output is part of the attempt
            super()._eval_state_output(env)

    @staticmethod
    def _construct_error_output_value(failure_event: FailureEvent) -> dict[str, object]:
        details = members_of(next(iter((failure_event.event_details or {}).values()), None))
        return {"Error": details.get("error", ""), "Cause": details.get("cause", "")}


def _shape(state: ExecutionState, env: ExecutionEnvironment, result: object) -> None:
    """Make the result the state's output, and assign what is to be kept of it."""
    if not state._is_language_query_jsonpath():
        env.states.set_result(result)
    if state.assign_decl:
        state.assign_decl.eval(env=env)
    if not state._is_language_query_jsonpath():
        if state.output:
            state.output.eval(env=env)
        else:
            env.states.reset(input_value=env.stack.pop())
        return
    if state.result_selector:
        state.result_selector.eval(env=env)
    env.note("afterResultSelector", env.stack[-1])
    if state.result_path:
        state.result_path.eval(env)
    env.note("afterResultPath", env.stack[-1])
