"""How states are evaluated: moto's interpreter with the parts replaced that differ from AWS, or cost most.

Runs in the server process; ``stepfunctions`` installs it. JSONata gets its engine (``language.jsonata``), errors
get the causes that AWS gives them, ``Output`` sees the variables as they were before ``Assign``, and a state is
evaluated in the thread of its execution unless it has a time-out.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections import deque
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from local_account.stepfunctions.language.encoding import STATE_LIMIT_BYTES, copy_json, dumps, is_within, now_text
from local_account.stepfunctions.language.expressions import hook_choices, hook_expressions
from local_account.stepfunctions.language.failures import failure
from local_account.stepfunctions.maps.iterations import hook_iterations

EXPRESS_LIMIT_S = 300  # step-functions/latest/dg/service-quotas.html
HISTORY_LIMIT = 25_000 - 2  # events of a Standard execution, with room for the last ones
HISTORY_FULL = "The execution reached the maximum number of history events (25000)."
UNCAUGHT = {"States.DataLimitExceeded", "States.Runtime"}


def hook_states() -> None:
    """Replace what is wrong or slow in moto's interpreter. Called after all of its modules were imported."""
    _hook_copies()
    _hook_programs()
    hook_expressions()
    _hook_state_body()
    _hook_execution_states()
    _hook_error_names()
    hook_choices()
    hook_iterations()


def _hook_copies() -> None:
    """What is copied is JSON, for which copy.deepcopy is ten times too careful."""
    from moto.stepfunctions.parser import quotas
    from moto.stepfunctions.parser.asl.component.common.path import result_path
    from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
    from moto.stepfunctions.parser.asl.utils import json_path

    for name in ("component.common.string.string_expression", "component.state.exec.execute_state", "eval.states"):
        module: Any = importlib.import_module(f"moto.stepfunctions.parser.asl.{name}")
        module.copy = SimpleNamespace(deepcopy=copy_json)
    for paths in (json_path, result_path):  # parsing one path takes a millisecond
        paths.parse = lru_cache(maxsize=4096)(paths.parse)
    for name, module in list(sys.modules.items()):
        if name.startswith("moto.stepfunctions.parser.") and hasattr(module, "TMP_THREADS"):
            module.TMP_THREADS = deque(maxlen=0)  # moto's list of every thread that ever ran
    quotas.to_json_str = dumps
    quotas.MAX_STATE_SIZE_UTF8_BYTES = STATE_LIMIT_BYTES + 1  # AWS allows as much; moto one byte less
    # They describe the whole state machine, for a log that nobody reads, with every error.
    EvalComponent._log_failure_event_exception = lambda *_a, **_k: None
    EvalComponent._log_exception = lambda *_a, **_k: None


def _hook_programs() -> None:
    from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEventException
    from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
    from moto.stepfunctions.parser.asl.component.program.program import Program

    def run(program: Any, env: Any) -> None:
        env.next_state_name = env.__dict__.pop("resume_at", None) or program.start_at.start_at_name
        limit_s = program.timeout_seconds.timeout_seconds if program.timeout_seconds else None
        if env.execution_type == "EXPRESS" and not env.is_frame():
            limit_s = min(limit_s or EXPRESS_LIMIT_S, EXPRESS_LIMIT_S)
        if limit_s is None:
            EvalComponent.eval(program, env)
            return
        thread = threading.Thread(target=EvalComponent.eval, args=(program, env), daemon=True)
        thread.start()
        thread.join(limit_s)
        if thread.is_alive():
            env.set_timed_out()

    def details(raised: Any) -> dict[str, str] | None:
        pair = raised.extract_error_cause_pair()
        if pair is None:
            return None
        return {name: text for name, text in zip(("error", "cause"), pair, strict=True) if text}

    Program.eval = run
    FailureEventException.get_execution_failed_event_details = details


def _hook_state_body() -> None:
    from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEventException
    from moto.stepfunctions.parser.asl.component.state.exec.execute_state import ExecutionState
    from moto.stepfunctions.parser.asl.component.state.state import CommonStateField
    from moto.stepfunctions.parser.asl.utils.json_path import NoSuchJsonPathError

    def run(state: Any, env: Any) -> None:
        data = {"name": state.name, "input": dumps(env.states._states_data["input"]), "inputDetails": _WHOLE}
        env.entered_event_id = env.event_manager.add_event(
            env.event_history_context, state.state_entered_event_type, {"stateEnteredEventDetails": data}
        )
        env.states.context_object.context_object_data["State"] = {
            "EnteredTime": now_text(),
            "Name": state.name,
            "RetryCount": 0,
        }
        env.assigned = {}
        if len(env.event_manager._history_event_list) >= HISTORY_LIMIT:
            raise failure(env, "States.Runtime", HISTORY_FULL)
        if not env.is_frame():  # where a redrive would go on
            env.last_entered = (state.name, env.states._states_data["input"], dict(env.variable_store._inner_scope))
        try:
            state._eval_state_input(env)
            state._eval_state(env)
            if not env.is_running():
                return
            state._eval_state_output(env)
        except NoSuchJsonPathError as missing:
            cause = (
                f"The JSONPath '{missing.json_path}' specified for the field '{env.next_field_name}' "
                f"could not be found in the input '{dumps(missing.data)}'"
            )
            raise failure(env, "States.Runtime", cause) from missing
        except FailureEventException as error:
            event = error.failure_event
            if "evaluationFailedEventDetails" in (event.event_details or {}) and not isinstance(state, ExecutionState):
                env.event_manager.add_event(env.event_history_context, event.event_type, event.event_details)
            raise
        _leave(state, env)

    def _leave(state: Any, env: Any) -> None:
        for name, value in env.assigned.items():
            env.variable_store.set(name, value)
        output = dumps(env.states._states_data["input"])
        if not is_within(output):
            cause = (
                f"The state/task '{state.name}' returned a result with a size exceeding the maximum number of bytes "
                "service limit."
            )
            raise failure(env, "States.DataLimitExceeded", cause)
        state._set_next(env)
        if state.state_exited_event_type is None:
            return
        details: dict[str, Any] = {"name": state.name, "output": output, "outputDetails": _WHOLE}
        env.variable_store.reset_tracing()
        if env.assigned:
            details["assignedVariables"] = {name: dumps(value) for name, value in env.assigned.items()}
            details["assignedVariablesDetails"] = _WHOLE
        env.event_manager.add_event(
            env.event_history_context, state.state_exited_event_type, {"stateExitedEventDetails": details}
        )

    CommonStateField._eval_body = run


_WHOLE = {"truncated": False}


def _hook_execution_states() -> None:
    from moto.stepfunctions.parser.asl.component.common.timeouts.timeout import EvalTimeoutError
    from moto.stepfunctions.parser.asl.component.state.exec.execute_state import ExecutionState

    original_output = ExecutionState._eval_state_output

    def evaluate(state: Any, env: Any) -> None:
        """One attempt of a Task, Map or Parallel, up to its output: what fails here can be retried and caught."""
        state.timeout.eval(env=env)
        limit_s = env.stack.pop()
        frame = env.open_frame()
        frame.entered_event_id = env.entered_event_id
        frame.redriven, env.redriven = getattr(env, "redriven", None), None
        frame.states.reset(input_value=env.states._states_data["input"])
        frame.stack = copy_json(env.stack)
        try:
            if state.timeout.is_default_value():
                state._eval_execution(frame)
            else:
                _within(limit_s, state._eval_execution, frame, EvalTimeoutError)
        finally:
            frame.set_ended()
            env.close_frame(frame)
        if not env.is_running():
            return  # it was stopped, or timed out
        result = frame.stack.pop()
        env.stack.append(result)
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
        state.result_path.eval(env)

    def output(state: Any, env: Any) -> None:
        if state._is_language_query_jsonpath():
            original_output(state, env)

    def error_output(failure_event: Any) -> dict[str, str]:
        details = next(iter(failure_event.event_details.values())) or {}
        return {"Error": details.get("error", ""), "Cause": details.get("cause", "")}

    ExecutionState._evaluate_with_timeout = evaluate
    ExecutionState._eval_state_output = output
    ExecutionState._construct_error_output_value = staticmethod(error_output)


def _within(limit_s: float, run: Any, frame: Any, error: type[Exception]) -> None:
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
        raise error
    if raised:
        raise raised[0]


def _hook_error_names() -> None:
    from moto.stepfunctions.parser.asl.component.common.error_name.error_equals_decl import ErrorEqualsDecl

    original_match = ErrorEqualsDecl._eval_body

    def match(component: Any, env: Any) -> None:
        """States.ALL takes neither of these: step-functions/latest/dg/concepts-error-handling.html."""
        name = getattr(env.stack[-1], "error_name", None)
        original_match(component, env)
        if name in UNCAUGHT and all(given.error_name != name for given in component.error_names):
            env.stack[-1] = False

    ErrorEqualsDecl._eval_body = match
