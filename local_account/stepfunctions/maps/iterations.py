"""Inline Map and Parallel: their items and branches in threads.

Runs in the server process; ``stepfunctions.states`` installs it.
"""

from __future__ import annotations

import threading
from typing import Any

INLINE_CONCURRENCY = 40  # step-functions/latest/dg/state-map-inline.html


def hook_iterations() -> None:
    """An inline Map has as many workers as run at once, each in a loop (moto's recurse, and start one an item)."""
    from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.inline_iteration_component import (
        InlineIterationComponent,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.iteration_worker import IterationWorker
    from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.job import JobPool
    from moto.stepfunctions.parser.asl.component.state.exec.state_parallel.branch_worker import BranchWorker

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

    def start_branch(worker: Any) -> None:
        """moto names the thread by the whole program's text."""
        worker._worker_thread = threading.Thread(target=worker._thread_routine, daemon=True)
        worker._worker_thread.start()

    BranchWorker.start = start_branch
    InlineIterationComponent._eval_body = run_all
    IterationWorker._eval_pool = work
