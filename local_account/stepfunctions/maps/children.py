"""The children of a map run, run by a bounded number of threads.

Runs in the server process.
"""

from __future__ import annotations

import threading
from collections import deque

from local_account.account import Account
from local_account.base.arns import parse_arn
from local_account.stepfunctions.environment import ExecutionEnvironment
from local_account.stepfunctions.language.documents import DistributedMap
from local_account.stepfunctions.language.encoding import now
from local_account.stepfunctions.language.programs import program_of
from local_account.stepfunctions.maps.records import FAILED, Child, MapRun
from local_account.stepfunctions.past import PastWorker
from local_account.stepfunctions.runs import (
    ExecutionResult,
    ExecutionStart,
    ResumePoint,
    history_of,
    new_environment,
    run,
)

WORKERS = 40
POLL_S = 0.1


class ChildDispatcher:
    """Runs the children of one map run, as many at once as it allows."""

    def __init__(self, account: Account, record: MapRun, spec: DistributedMap, env: ExecutionEnvironment) -> None:
        self.account, self.record, self.env = account, record, env
        self.program = program_of(spec.definition)
        self._changed = threading.Condition()
        self._waiting = deque(child for child in record.children if child.status != "SUCCEEDED")
        self._active: dict[int, tuple[Child, ExecutionEnvironment]] = {}
        self._workers = 0
        self._over = False
        self._total = sum(child.items for child in record.children)
        self._failed = 0

    def run(self) -> None:
        """Until every child has ended, more failed than is tolerated, or the execution has ended."""
        for child in self._waiting:
            if child.status != "PENDING":
                child.redrive_count, child.redrive_date = child.redrive_count + 1, now()
                child.status, child.stop_date = "PENDING", None
        self.adapt()
        with self._changed:
            while self._workers and not self._over:
                self._changed.wait(POLL_S)
                self._over = self._over or not self.env.is_running()
            self._over = True
            abandoned = list(self._active.values())
            for child, _ in abandoned:
                child.status, child.stop_date = "ABORTED", now()
        for child, env in abandoned:
            self._give_up(child, env)

    def adapt(self) -> None:
        """Start as many workers as may run now; those too many end by themselves."""
        with self._changed:
            wanted = min(self._limit(), self._workers + len(self._waiting))
            for _ in range(wanted - self._workers):
                self._workers += 1
                threading.Thread(target=self._work, daemon=True).start()

    def stop_child(self, child: Child) -> None:
        """End it, if it runs."""
        with self._changed:
            active = self._active.pop(id(child), None)
            if active is None:
                return
            child.status, child.stop_date = "ABORTED", now()
        self._give_up(*active)

    def _give_up(self, child: Child, env: ExecutionEnvironment) -> None:
        self._keep(child, env, ExecutionResult("ABORTED"))
        env.set_stop(stop_date=child.stop_date or now(), error=None, cause=None)

    def _limit(self) -> int:
        return min(self.record.max_concurrency or WORKERS, WORKERS)

    def _work(self) -> None:
        try:
            while (child := self._next()) is not None:
                self._run_child(child)
        finally:
            with self._changed:
                self._workers -= 1
                self._changed.notify_all()

    def _next(self) -> Child | None:
        with self._changed:
            if self._over or not self._waiting or self._workers > self._limit():
                return None
            child = self._waiting.popleft()
            child.status = "RUNNING"
            child.start_date = child.start_date or now()
            return child

    def _run_child(self, child: Child) -> None:
        start = self._start_of(child)
        env = new_environment(self.account, start)
        env.callback_pool_manager = self.env.callback_pool_manager
        with self._changed:
            self._active[id(child)] = (child, env)
        resume = None
        if child.resume is not None and child.worker is not None and self.record.kind == "STANDARD":
            resume = ResumePoint(*child.resume, history=child.worker.history)
        result = run(self.program, env, start, resume)
        with self._changed:
            if self._active.pop(id(child), None) is None or child.status != "RUNNING":
                return  # it was given up meanwhile
            self._keep(child, env, result)
            child.stop_date = now()
            child.status = result.status
            self.account.snapshots.mark_dirty("states")
            self._failed += child.items if result.status in FAILED else 0
            if self.record.exceeds(self._failed, self._total):
                self._over = True
                self._changed.notify_all()

    def _start_of(self, child: Child) -> ExecutionStart:
        record, arn = self.record, self.record.arn_of(child)
        return ExecutionStart(
            arn=arn,
            name=child.name,
            data=child.data,
            role=self.env.aws_execution_details.role_arn,
            machine_arn=record.machine_arn,
            machine_name=parse_arn(record.machine_arn).name,
            kind=record.kind,
            log=self.env.log.of_child(arn) if self.env.log else None,
            at=child.start_date or now(),
            redrives=child.redrive_count,
        )

    def _keep(self, child: Child, env: ExecutionEnvironment, result: ExecutionResult) -> None:
        child.output, child.error, child.cause = result.output, result.error, result.cause
        if self.record.kind == "STANDARD":
            child.worker = PastWorker(history_of(env, result))
            child.resume = None if result.status == "SUCCEEDED" else env.resume_point()
