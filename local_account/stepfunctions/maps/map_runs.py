"""Distributed Map: each item, or batch of items, is an execution of its own.

Runs in the server process. The interpreter calls ``MapRuns.evaluate`` where moto would evaluate its own distributed
map; the children are programs of the same interpreter, run by a bounded number of threads. Differences from AWS: at
most ``WORKERS`` children run at once, whatever the state allows (AWS: 10,000); a redrive writes its results over those
of the run before.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from typing import Any

from local_account.account import Account
from local_account.authority.authority import AccessDeniedError
from local_account.cloudwatch.telemetry import Telemetry
from local_account.stepfunctions.executions import now
from local_account.stepfunctions.language.failures import failure
from local_account.stepfunctions.language.programs import Distributed, program_of
from local_account.stepfunctions.maps.items import Fields, inputs_of, read_items
from local_account.stepfunctions.maps.records import FAILED, Child, MapRun
from local_account.stepfunctions.maps.results import destination_of, output_of, write_results
from local_account.stepfunctions.past import PastWorker
from local_account.stepfunctions.runs import Outcome, Resume, Start, history_of, new_environment, resume_point, run

WORKERS = 40
POLL_S = 0.1
THRESHOLD = "The specified tolerated failure threshold was exceeded"
LABEL_SPACE = uuid.UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff")  # for labels that are not given: one a state


class MapRuns:
    """The account's map runs: those that run, and the records of all."""

    def __init__(self, account: Account, telemetry: Telemetry) -> None:
        self.account, self.telemetry = account, telemetry
        self.live: dict[str, Dispatcher] = {}

    @property
    def records(self) -> dict[str, MapRun]:
        """By ARN; kept with the backend, so that they survive a restart."""
        from moto.stepfunctions.parser.models import stepfunctions_parser_backends as backends

        backend = backends[self.account.account_id][self.account.region]
        found: dict[str, MapRun] = backend.__dict__.setdefault("map_runs", {})
        return found

    def evaluate(self, state: Any, env: Any) -> None:
        """Run the state's children and leave the state's result on the stack."""
        spec: Distributed = state.distributed
        data = env.stack.pop()
        items_env = env.open_inner_frame()
        items_env.next_state_name, items_env.entered_event_id = state.name, env.entered_event_id
        fields = Fields(items_env, spec, data)
        _event(env, "MapStateStarted", {"mapStateStartedEventDetails": {"length": 0}})
        record = self._redriven(state, env)
        first = record is None
        if record is None:
            record = self._new(state, env, fields)
            _event(env, "MapRunStarted", {"mapRunStartedEventDetails": {"mapRunArn": record.arn}})
        else:
            details = {"mapRunArn": record.arn, "redriveCount": record.redrive_count}
            _event(env, "MapRunRedriven", {"mapRunRedrivenEventDetails": details})
        try:
            self._may_start_children(fields)
            if first or not record.children:
                items = read_items(self.account, fields)
                record.children = [
                    Child(str(uuid.uuid4()), text, count) for text, count in inputs_of(fields, items, env.is_running)
                ]
            result = self._run(record, spec, env, fields)
        except BaseException as error:
            self._close(record, "ABORTED" if not env.is_running() else "FAILED")
            pair = getattr(error, "extract_error_cause_pair", lambda: None)() or ("States.Runtime", str(error))
            _event(env, "MapRunFailed", {"mapRunFailedEventDetails": {"error": pair[0], "cause": pair[1]}})
            raise
        finally:
            env.close_frame(items_env)
        if not env.is_running():
            _event(env, "MapRunAborted", None)
            return
        _event(env, "MapRunSucceeded", None)
        env.stack.append(result)
        env.event_manager.add_event(env.event_history_context, "MapStateSucceeded", update_source_event_id=False)

    def _may_start_children(self, fields: Fields) -> None:
        """The machine's role starts the children (Developer Guide, IAM policies for using Distributed Map)."""
        env = fields.env
        machine = env.states.context_object.context_object_data["StateMachine"]["Id"]
        try:
            self.account.authority.demand(env.aws_execution_details.role_arn, "states:StartExecution", machine)
        except AccessDeniedError as error:
            raise failure(env, "States.Permissions", error.message) from error

    def _new(self, state: Any, env: Any, fields: Fields) -> MapRun:
        context = env.states.context_object.context_object_data
        machine = context["StateMachine"]["Id"]
        spec = fields.spec
        label = spec.state.get("Label") or str(uuid.uuid5(LABEL_SPACE, f"{machine}/{state.name}"))
        name = f"{machine.split(':', 6)[6]}/{label}"
        record = MapRun(
            arn=self.account.arn("states", f"mapRun:{name}:{uuid.uuid4()}"),
            execution_arn=context["Execution"]["Id"],
            machine_arn=f"{machine}/{label}",
            state=state.name,
            kind=spec.kind,
            max_concurrency=fields.whole(spec.state, "MaxConcurrency", "MaxConcurrency") or 0,
            tolerated_count=fields.whole(spec.state, "ToleratedFailureCount", "ToleratedFailureCount"),
            tolerated_percentage=fields.number(
                spec.state, "ToleratedFailurePercentage", "ToleratedFailurePercentage", 100
            ),
            start_date=now(),
        )
        self.records[record.arn] = record
        return record

    def _redriven(self, state: Any, env: Any) -> MapRun | None:
        """The map run that is to go on, where the execution was redriven at this state."""
        if getattr(env, "redriven", None) != state.name:
            return None
        execution = env.states.context_object.context_object_data["Execution"]["Id"]
        for record in reversed(list(self.records.values())):
            if (record.execution_arn, record.state) == (execution, state.name) and record.status != "SUCCEEDED":
                record.status, record.stop_date = "RUNNING", None
                record.redrive_count += 1
                record.redrive_date = now()
                return record
        return None

    def _run(self, record: MapRun, spec: Distributed, env: Any, fields: Fields) -> Any:
        writer = spec.state.get("ResultWriter") or {}
        destination = destination_of(fields, writer)
        dispatcher = Dispatcher(self, record, spec, env)
        self.live[record.arn] = dispatcher
        try:
            dispatcher.run()
        finally:
            self.live.pop(record.arn, None)
        exceeded = record.exceeded
        try:
            written = write_results(self.account, record, fields, writer, destination)
        except Exception:
            if not exceeded:
                raise
        if exceeded:
            raise failure(fields.env, "States.ExceedToleratedFailureThreshold", THRESHOLD)
        self._close(record, "SUCCEEDED" if env.is_running() else "ABORTED")
        return output_of(record, writer, written)

    def _close(self, record: MapRun, status: str) -> None:
        if record.status == "RUNNING":
            record.stop_date = now()
            record.status = status
            self.account.snapshots.mark_dirty("states")


def _event(env: Any, kind: str, details: Any) -> None:
    env.event_manager.add_event(env.event_history_context, kind, details)


class Dispatcher:
    """Runs the children of one map run, as many at once as it allows."""

    def __init__(self, runs: MapRuns, record: MapRun, spec: Distributed, env: Any) -> None:
        self.runs, self.record, self.env = runs, record, env
        self.program = program_of(spec.definition)
        self._changed = threading.Condition()
        self._waiting = deque(child for child in record.children if child.status != "SUCCEEDED")
        self._active: dict[int, tuple[Child, Any]] = {}
        self._workers = 0
        self._over = False
        self._total = sum(child.items for child in record.children)
        self._failed = 0
        self._logging = self._logs()

    def _logs(self) -> Any:
        session = self.env.cloud_watch_logging_session
        machine = session and session.configuration
        return None if machine is None else lambda arn: type(session)(arn, machine)

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
            self._keep(child, env, Outcome("ABORTED"))
            env.set_stop(stop_date=child.stop_date, error=None, cause=None)

    def adapt(self) -> None:
        """Start as many workers as may run now; those too many end by themselves."""
        with self._changed:
            wanted = min(self._limit(), self._workers + len(self._waiting))
            for _ in range(wanted - self._workers):
                self._workers += 1
                threading.Thread(target=self._work, daemon=True).start()

    def stop_child(self, child: Child) -> None:
        with self._changed:
            env = self._active.pop(id(child), (None, None))[1]
            if env is None:
                return
            child.status, child.stop_date = "ABORTED", now()
        self._keep(child, env, Outcome("ABORTED"))
        env.set_stop(stop_date=child.stop_date, error=None, cause=None)

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
        record, arn = self.record, self.record.arn_of(child)
        start = Start(
            arn=arn,
            name=child.name,
            data=child.data,
            role=self.env.aws_execution_details.role_arn,
            machine_arn=record.machine_arn,
            machine_name=record.machine_arn.split(":", 6)[6],
            kind=record.kind,
            logging=self._logging(arn) if self._logging else None,
            at=child.start_date or now(),
            redrives=child.redrive_count,
        )
        env = new_environment(self.runs.account, start)
        env.callback_pool_manager = self.env.callback_pool_manager
        with self._changed:
            self._active[id(child)] = (child, env)
        resume = None
        if child.resume is not None and record.kind == "STANDARD":
            resume = Resume(*child.resume, history=child.worker.history)
        outcome = run(self.program, env, start, resume)
        with self._changed:
            if self._active.pop(id(child), None) is None or child.status != "RUNNING":
                return  # it was given up meanwhile
            self._keep(child, env, outcome)
            child.stop_date = now()
            child.status = outcome.status
            self.runs.account.snapshots.mark_dirty("states")
            self._failed += child.items if outcome.status in FAILED else 0
            if self.record.exceeds(self._failed, self._total):
                self._over = True
                self._changed.notify_all()

    def _keep(self, child: Child, env: Any, outcome: Outcome) -> None:
        child.output, child.error, child.cause = outcome.output, outcome.error, outcome.cause
        if self.record.kind == "STANDARD":
            child.worker = PastWorker(history_of(env, outcome))
            child.resume = None if outcome.status == "SUCCEEDED" else resume_point(env)


def hook_maps(runs: MapRuns) -> None:
    """Have the interpreter's Map states with children run here. Called once."""
    from moto.stepfunctions.parser.asl.component.state.exec.state_map.state_map import StateMap

    original = StateMap._eval_execution

    def evaluate(state: Any, env: Any) -> None:
        if state.distributed is None:
            original(state, env)
        else:
            runs.evaluate(state, env)

    StateMap._eval_execution = evaluate
