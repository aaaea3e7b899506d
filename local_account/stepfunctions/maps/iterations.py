"""Map: the items of an inline one in threads, as many as run at once; a distributed one is left to the map runs.

Runs in the server process.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import ClassVar, Protocol

from moto.stepfunctions.parser.asl.component.program.program import Program
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.inline_iteration_component import (
    InlineIterationComponent,
    InlineIterationComponentEvalInput,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.iteration_component import (
    IterationComponent,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.iteration_worker import IterationWorker
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.job import Job, JobPool
from moto.stepfunctions.parser.asl.component.state.exec.state_map.state_map import StateMap
from moto.stepfunctions.parser.asl.eval.environment import Environment

from local_account.stepfunctions.environment import ExecutionEnvironment, own
from local_account.stepfunctions.language.components import adopt, component
from local_account.stepfunctions.language.documents import DistributedMap

INLINE_CONCURRENCY = 40  # step-functions/latest/dg/state-map-inline.html


class ChildRunner(Protocol):
    """Runs the children of Distributed Maps."""

    def evaluate(self, state: MapState, spec: DistributedMap, env: ExecutionEnvironment) -> None:
        """Leave the state's result on the stack."""


@component
class MapState(StateMap):
    """A Map state; moto makes these, so who runs the children hangs on the class, set at the installation."""

    distributed: DistributedMap | None = None
    """What it is, where it is a Distributed Map."""
    runner: ClassVar[ChildRunner]

    def _eval_execution(self, env: Environment) -> None:
        if self.distributed is None:
            super()._eval_execution(env)
        else:
            self.runner.evaluate(self, self.distributed, own(env))


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
        """As many workers as run at once, each in a loop; moto's recurse, and start one an item."""
        given: InlineIterationComponentEvalInput = env.stack.pop()
        pool = JobPool(job_program=self._get_iteration_program(), job_inputs=given.input_items)
        limit = min(given.max_concurrency or INLINE_CONCURRENCY, INLINE_CONCURRENCY, len(given.input_items))
        for _ in range(limit):
            loop = _Loop(self._create_worker(env=env, eval_input=given, job_pool=pool), pool, env, env.open_frame())
            threading.Thread(target=loop.run, daemon=True).start()
        pool.await_jobs()
        if (raised := pool.get_worker_exception()) is not None:
            raise raised
        env.stack.append([job.job_output for job in pool.get_closed_jobs()])


@dataclass(frozen=True)
class _Loop:
    """One worker that takes item after item, in a frame of its own within the Map's."""

    worker: IterationWorker
    pool: JobPool
    env: Environment
    frame: Environment

    def run(self) -> None:
        """Until no item is left, or one failed."""
        job: Job | None = self.pool.next_job()
        if job is None:
            self.env.close_frame(self.frame)
        while job is not None:
            inner = self._evaluated(job)
            following = self._after(job, inner)
            if following is None:  # before the job is closed, since the Map goes on then
                self.env.close_frame(self.frame)
            self.pool.close_job(job)
            job = following

    def _evaluated(self, job: Job) -> Environment:
        inner = self.frame.open_inner_frame()
        self.worker._eval_job(env=inner, job=job)
        self.frame.close_frame(inner)
        return inner

    def _after(self, job: Job, inner: Environment) -> Job | None:
        if isinstance(job.job_output, Exception) or self.worker.stopped():
            return None
        following: Job | None = self.pool.next_job()
        if following is None:
            self.frame.event_history_context.source_event_id = inner.event_history_context.last_published_event_id
        return following
