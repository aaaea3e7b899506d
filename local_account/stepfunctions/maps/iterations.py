"""Map: the items of an inline one in threads, as many as run at once; a distributed one is left to the map runs.

Runs in the server process.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import ClassVar, Protocol

from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEventException
from moto.stepfunctions.parser.asl.component.program.program import Program
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.inline_iteration_component import (
    InlineIterationComponent,
    InlineIterationComponentEvalInput,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.iteration_component import (
    IterationComponent,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.iteration_worker import IterationWorker
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.job import JobPool
from moto.stepfunctions.parser.asl.component.state.exec.state_map.state_map import StateMap
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.states import ItemData, MapData
from moto.stepfunctions.parser.asl.utils.json_path import NoSuchJsonPathError

from local_account.stepfunctions.environment import ExecutionEnvironment, own
from local_account.stepfunctions.flow.aborting import end_iterations
from local_account.stepfunctions.flow.attempts import attempt
from local_account.stepfunctions.flow.outcomes import failure_of
from local_account.stepfunctions.flow.trial import Trial
from local_account.stepfunctions.language.components import adopt, component
from local_account.stepfunctions.language.documents import DistributedMap, MapDocument
from local_account.stepfunctions.language.failures import (
    RUNTIME,
    StateFailure,
    completed,
    error_of,
    failure,
    missing_path,
)

INLINE_CONCURRENCY = 40  # step-functions/latest/dg/state-map-inline.html


DISTRIBUTED_ONLY = {"ItemReader", "ItemBatcher", "ResultWriter"}
NOT_INLINE = "The ItemReader, ItemBatcher and ResultWriter fields are not supported for INLINE maps"


class ChildRunner(Protocol):
    """Runs the children of Distributed Maps."""

    def evaluate(self, state: MapState, spec: DistributedMap, env: ExecutionEnvironment) -> None:
        """Leave the state's result on the stack."""


@component
class MapState(StateMap):
    """A Map state; moto makes these, so who runs the children hangs on the class, set at the installation."""

    distributed: DistributedMap | None = None
    """What it is, where it is a Distributed Map."""
    document: MapDocument | None = None
    """Its JSON."""
    runner: ClassVar[ChildRunner]

    def _eval_state(self, env: Environment) -> None:
        attempt(self, own(env), failed="MapStateFailed")

    def tried(self, env: ExecutionEnvironment, trial: Trial) -> None:
        """Note what a trial tells of a Map."""
        from local_account.stepfunctions.maps.trials import try_map  # which needs this class

        language = "JSONPath" if self._is_language_query_jsonpath() else "JSONata"
        try_map(self.distributed or DistributedMap(self.document or {}, language, ""), env, trial)

    def _eval_execution(self, env: Environment) -> None:
        if self.distributed is not None:
            self.runner.evaluate(self, self.distributed, own(env))
            return
        if (self.document or {}).keys() & DISTRIBUTED_ONLY:
            raise failure(own(env), RUNTIME, NOT_INLINE)
        try:
            super()._eval_execution(env)
        except FailureEventException as error:
            if isinstance(error, StateFailure) or not self._is_language_query_jsonpath():
                raise
            raise _no_list(self, own(env), error) from error


def _no_list(state: MapState, env: ExecutionEnvironment, error: FailureEventException) -> FailureEventException:
    """The error of a path to the items that leads to no list; any other as it is."""
    pair = error.extract_error_cause_pair()
    if pair is None or not str(pair[1]).startswith("Map state input must be an array"):
        return error
    path = str((state.document or {}).get("ItemsPath", "$"))
    return failure(env, RUNTIME, f'Reference path "{path[1:] if path.startswith("$$") else path}" must point to array.')


@component
class Iteration(IterationComponent):
    """What is done with each item, of which moto makes a program when the Map is evaluated."""

    def _get_iteration_program(self) -> Program:
        program = super()._get_iteration_program()
        adopt(program)
        return program


@component
class InlineIteration(InlineIterationComponent):
    """The items of an inline Map."""

    def _eval_body(self, env: Environment) -> None:
        given: InlineIterationComponentEvalInput = env.stack.pop()
        program = self._get_iteration_program()
        worker = self._create_worker(env=env, eval_input=given, job_pool=JobPool(program, []))
        running = _Iterations(own(env), worker, program, given.input_items)
        limit = min(given.max_concurrency or INLINE_CONCURRENCY, INLINE_CONCURRENCY)
        env.stack.append(running.outputs(limit))


class _Iterations:
    """The iterations of one Map while they run: workers that take item after item, of which an error ends all."""

    def __init__(
        self, env: ExecutionEnvironment, worker: IterationWorker, program: Program, items: list[object]
    ) -> None:
        self.env, self.worker, self.program = env, worker, program
        self._changed = threading.Condition()
        self._waiting = deque(enumerate(items))
        self._active: dict[int, ExecutionEnvironment] = {}
        self._outputs: list[object] = [None] * len(items)
        self._failure: StateFailure | None = None
        self._workers = 0

    def outputs(self, limit: int) -> list[object]:
        """What the items came to, once all are done; StateFailure when one failed."""
        begun = [self._begun(self.env.open_frame()) for _ in range(min(limit, len(self._waiting)))]
        self._workers = len(begun)
        for each in begun:
            threading.Thread(target=self._work, args=(each,), daemon=True).start()
        with self._changed:
            while self._workers and self._failure is None:
                self._changed.wait()
        if self._failure is not None:
            raise self._failure
        return self._outputs

    def _begun(self, frame: ExecutionEnvironment) -> _Iteration:
        """The next item, noted as begun, in a frame within that of the worker."""
        index, item = self._waiting.popleft()
        inner = frame.open_inner_frame()
        inner.add_event("MapIterationStarted", {"mapIterationStartedEventDetails": self._details(index)})
        self._active[index] = inner
        return _Iteration(index, item, inner, frame)

    def _work(self, first: _Iteration) -> None:
        each: _Iteration | None = first
        while each is not None:
            failed = self._run(each)
            with self._changed:
                each = self._after(each, failed)
                if each is None:
                    self._workers -= 1
                    self._changed.notify_all()

    def _run(self, each: _Iteration) -> StateFailure | None:
        env = each.env
        context = env.states.context_object.context_object_data
        context["Map"] = MapData(Item=ItemData(Index=each.index, Value=each.item))
        env.states.reset(input_value=each.item)
        try:
            self.worker._eval_input(env_frame=env)
        except Exception as error:
            return _selection_failure(env, error)
        self.program.eval(env)
        return failure_of(env)

    def _after(self, each: _Iteration, failed: StateFailure | None) -> _Iteration | None:
        """Note how an item ended; the next one for this worker."""
        self._active.pop(each.index, None)
        if self._failure is not None:
            return None
        if failed is not None:
            self._fail(each, failed)
        else:
            details = {"mapIterationSucceededEventDetails": self._details(each.index)}
            each.env.add_event("MapIterationSucceeded", details, update_source_event_id=False)
            self._outputs[each.index] = each.env.states.get_input()
        each.frame.close_frame(each.env)
        if failed is None and self._waiting and self.env.is_running():
            return self._begun(each.frame)
        if failed is None:  # what follows the Map follows the end of its last iteration
            history = each.env.event_history_context
            each.frame.event_history_context.source_event_id = history.last_published_event_id
        self.env.close_frame(each.frame)
        return None

    def _fail(self, each: _Iteration, failed: StateFailure) -> None:
        self._failure = failed
        told = error_of(failed.failure_event) != RUNTIME and self.env.is_running()
        end_iterations(self.worker._work_name, self._active, each.env, told)
        if told:  # behind those that it cut short: a recorded answer of AWS
            details = {"mapIterationFailedEventDetails": self._details(each.index)}
            each.env.add_event("MapIterationFailed", details, update_source_event_id=False)

    def _details(self, index: int) -> dict[str, object]:
        return {"name": self.worker._work_name, "index": index}


@dataclass(frozen=True)
class _Iteration:
    """An item that is worked on: in ``env``, which is a frame within that of a worker."""

    index: int
    item: object
    env: ExecutionEnvironment
    frame: ExecutionEnvironment


def _selection_failure(env: ExecutionEnvironment, error: Exception) -> StateFailure:
    """Why an item's input could not be made."""
    if isinstance(error, NoSuchJsonPathError):
        return missing_path(env, error)
    if not isinstance(error, FailureEventException):
        return failure(env, RUNTIME, str(error))
    event = completed(env, error.failure_event)
    if "evaluationFailedEventDetails" in (event.event_details or {}):
        env.add_event(event.event_type, event.event_details)
    return StateFailure(event)
