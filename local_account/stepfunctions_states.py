"""How states are evaluated: moto's interpreter with the parts replaced that differ from AWS, or cost most.

Runs in the server process; ``stepfunctions`` installs it. JSONata gets its engine (``stepfunctions_jsonata``), errors
get the causes that AWS gives them, ``Output`` sees the variables as they were before ``Assign``, and a state is
evaluated in the thread of its execution unless it has a time-out.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from local_account import stepfunctions_jsonata as jsonata
from local_account.stepfunctions_encoding import STATE_LIMIT_BYTES, copy_json, dumps, is_within, now_text

INLINE_CONCURRENCY = 40  # step-functions/latest/dg/state-map-inline.html
EXPRESS_LIMIT_S = 300  # step-functions/latest/dg/service-quotas.html
NO_TRANSITION = "Failed to transition out of the state. The state does not point to a next state."
COMPONENT = "moto.stepfunctions.parser.asl.component."


def hook_states() -> None:
    """Replace what is wrong or slow in moto's interpreter. Called after all of its modules were imported."""
    _hook_copies()
    _hook_programs()
    _hook_expressions()
    _hook_state_body()
    _hook_execution_states()
    _hook_choices()
    _hook_iterations()


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


def _hook_copies() -> None:
    """What is copied is JSON, for which copy.deepcopy is ten times too careful."""
    import importlib

    from moto.stepfunctions.parser import quotas
    from moto.stepfunctions.parser.asl.component.common.path import result_path
    from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
    from moto.stepfunctions.parser.asl.utils import json_path

    for name in ("component.common.string.string_expression", "component.state.exec.execute_state", "eval.states"):
        module: Any = importlib.import_module(f"moto.stepfunctions.parser.asl.{name}")
        module.copy = SimpleNamespace(deepcopy=copy_json)
    for paths in (json_path, result_path):  # parsing one path takes a millisecond
        paths.parse = lru_cache(maxsize=4096)(paths.parse)
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


def _hook_expressions() -> None:
    from moto.stepfunctions.parser.asl.component.common.assign.assign_decl import AssignDecl
    from moto.stepfunctions.parser.asl.component.common.query_language import QueryLanguageMode
    from moto.stepfunctions.parser.asl.component.common.string import string_expression as strings
    from moto.stepfunctions.parser.asl.utils.json_path import extract_json

    def evaluate_expression(component: Any, env: Any) -> None:
        env.stack.append(expression_value(env, component.expression, getattr(component, "location", None)))

    def evaluate_variable(component: Any, env: Any) -> None:
        if component.query_language_mode == QueryLanguageMode.JSONata:
            evaluate_expression(component, env)
            return
        name = next(iter(jsonata.references(component.expression)))
        rest = component.expression[len(name) + 1 :]
        value = env.variable_store.get(name)
        env.stack.append(copy_json(extract_json(f"${rest}", value) if rest else value))

    def assign(component: Any, env: Any) -> None:
        """Kept until the state is left: its Output sees the variables as they were."""
        env.assigned = {}
        for binding in component.declaration_bindings:
            binding.eval(env=env)
            env.assigned.update(env.stack.pop())

    strings.StringJSONata._eval_body = evaluate_expression
    strings.StringVariableSample._eval_body = evaluate_variable
    AssignDecl._eval_body = assign


def expression_value(env: Any, expression: str, location: str | None = None) -> Any:
    """What a JSONata expression comes to where ``env`` stands."""
    store = env.variable_store
    wanted = jsonata.references(expression)
    variables = {**store._outer_scope, **store._inner_scope}
    bindings = {name: variables[name] for name in wanted & variables.keys()}
    if "states" in wanted:
        members = jsonata.states_members(expression)
        data = env.states._states_data
        bindings["states"] = {name: data[name] for name in members or data if name in data}
    try:
        return jsonata.evaluate(expression, bindings)
    except jsonata.QueryError as error:
        where = f" specified for the field '{location}'" if location else ""
        told = f" {error}." if str(error).startswith("returned ") else f" threw an error during evaluation. {error}"
        cause = f"The JSONata expression '{expression}'{where}{told}"
        raise failure(env, "States.QueryEvaluationError", cause, location) from error


def unexpected_type(env: Any, component: Any, expected: str, value: Any) -> Exception:
    """An expression that came to something of another type than its field takes."""
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    location = getattr(component, "location", None)
    cause = (
        f"The JSONata expression '{component.expression}' specified for the field '{location}' returned an unexpected "
        f"result type. Expected '{expected}', but was '{names.get(type(value), 'null')}' for value: {dumps(value)}"
    )
    return failure(env, "States.QueryEvaluationError", cause, location)


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


def _hook_choices() -> None:
    from moto.stepfunctions.parser.asl.component.state.choice.comparison.comparison import ConditionStringJSONata
    from moto.stepfunctions.parser.asl.component.state.choice.state_choice import StateChoice

    original = StateChoice._eval_state

    def condition(component: Any, env: Any) -> None:
        component.string_jsonata.eval(env=env)
        if not isinstance(env.stack[-1], bool):
            raise unexpected_type(env, component.string_jsonata, "boolean", env.stack[-1])

    def choose(state: Any, env: Any) -> None:
        try:
            original(state, env)
        except RuntimeError as error:
            raise failure(env, "States.Runtime", NO_TRANSITION) from error

    ConditionStringJSONata._eval_body = condition
    StateChoice._eval_state = choose


def _hook_iterations() -> None:
    """An inline Map: as many workers as run at once, each in a loop (moto's recurse, and start one an item)."""
    from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.inline_iteration_component import (
        InlineIterationComponent,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.iteration_worker import IterationWorker
    from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.job import JobPool

    def run_all(component: Any, env: Any) -> None:
        given = env.stack.pop()
        pool = JobPool(job_program=component._get_iteration_program(), job_inputs=given.input_items)
        limit = min(given.max_concurrency or INLINE_CONCURRENCY, INLINE_CONCURRENCY, len(given.input_items))
        for _ in range(limit):
            worker = component._create_worker(env=env, eval_input=given, job_pool=pool)
            threading.Thread(target=worker.eval, daemon=True).start()
        pool.await_jobs()
        if (raised := pool.get_worker_exception()) is not None:
            raise raised
        env.stack.append([job.job_output for job in pool.get_closed_jobs()])

    def work(worker: Any, job: Any, worker_frame: Any) -> None:
        while job is not None:
            frame = worker_frame.open_inner_frame()
            worker._eval_job(env=frame, job=job)
            worker_frame.close_frame(frame)
            following = None
            if not isinstance(job.job_output, Exception) and not worker.stopped():
                following = worker._job_pool.next_job()
                if following is None:
                    last = frame.event_history_context.last_published_event_id
                    worker_frame.event_history_context.source_event_id = last
            if following is None:  # before the job is closed, since the Map goes on then
                worker._env.close_frame(worker_frame)
            worker._job_pool.close_job(job)
            if following is None:
                return
            job = following
        worker._env.close_frame(worker_frame)

    InlineIterationComponent._eval_body = run_all
    IterationWorker._eval_pool = work
