"""Distributed Map: each item, or batch of items, is an execution of its own.

Runs in the server process. ``MapState`` calls ``MapRuns.evaluate`` where moto would evaluate its own distributed map;
the children are programs of the same interpreter, run by a bounded number of threads. Differences from AWS: at most
``children.WORKERS`` children run at once, whatever the state allows (AWS: 10,000); a redrive writes its results over
those of the run before.
"""

from __future__ import annotations

import uuid

from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEventException

from local_account.account import Account
from local_account.authority.authority import AccessDeniedError
from local_account.base.arns import parse_arn
from local_account.cloudwatch.telemetry import Telemetry
from local_account.stepfunctions.environment import ExecutionEnvironment
from local_account.stepfunctions.language.documents import DistributedMap, ResultWriter
from local_account.stepfunctions.language.encoding import now
from local_account.stepfunctions.language.failures import failure
from local_account.stepfunctions.maps.answers import FoundChild
from local_account.stepfunctions.maps.children import ChildDispatcher
from local_account.stepfunctions.maps.items import MapFields, given_items, inputs_of, read_items
from local_account.stepfunctions.maps.iterations import MapState
from local_account.stepfunctions.maps.records import THRESHOLD, Child, MapRun
from local_account.stepfunctions.maps.results import destination_of, output_of, write_results

LABEL_SPACE = uuid.UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff")  # for labels that are not given: one a state


class MapRuns:
    """The account's map runs: those that run, and the records of all."""

    def __init__(self, account: Account, telemetry: Telemetry) -> None:
        self.account, self.telemetry = account, telemetry
        self.live: dict[str, ChildDispatcher] = {}

    @property
    def records(self) -> dict[str, MapRun]:
        """By ARN, as the backend keeps them."""
        from local_account.stepfunctions.api.base import backend_of  # which needs this class

        return backend_of(self.account.account_id, self.account.region).kept_map_runs

    def evaluate(self, state: MapState, spec: DistributedMap, env: ExecutionEnvironment) -> None:
        """Run the state's children and leave the state's result on the stack."""
        data = env.stack.pop()
        items_env = env.open_inner_frame()
        items_env.next_state_name, items_env.entered_event_id = state.name, env.entered_event_id
        fields = MapFields(items_env, spec, data)
        concurrency = fields.whole(spec.state, "MaxConcurrency", "MaxConcurrency") or 0
        # What a reader finds is not known yet.
        given = None if "ItemReader" in spec.state else given_items(fields)
        env.add_event("MapStateStarted", {"mapStateStartedEventDetails": {"length": len(given or ())}})
        record = self._redriven(state, env)
        if record is None:
            record = self._new(state, env, fields, concurrency)
            env.add_event("MapRunStarted", {"mapRunStartedEventDetails": {"mapRunArn": record.arn}})
        else:
            details = {"mapRunArn": record.arn, "redriveCount": record.redrive_count}
            env.add_event("MapRunRedriven", {"mapRunRedrivenEventDetails": details})
        try:
            result = self._result(record, env, fields, given)
        except BaseException as error:
            self._close(record, "ABORTED" if not env.is_running() else "FAILED")
            kind, cause = _error_and_cause(error)
            env.add_event("MapRunFailed", {"mapRunFailedEventDetails": {"error": kind, "cause": cause}})
            raise
        finally:
            env.close_frame(items_env)
        if not env.is_running():
            env.add_event("MapRunAborted")
            return
        begun = env.event_history_context.source_event_id
        env.add_event("MapRunSucceeded")
        env.stack.append(result)
        env.add_event("MapStateSucceeded", update_source_event_id=False)
        env.event_history_context.source_event_id = begun  # what follows the Map follows the start of its run

    def change(
        self, run: MapRun, concurrency: int | None = None, count: int | None = None, percentage: float | None = None
    ) -> None:
        """Change what a map run allows; what is None stays."""
        if concurrency is not None:
            run.max_concurrency = int(concurrency)
        if count is not None:
            run.tolerated_count = int(count)
        if percentage is not None:
            run.tolerated_percentage = float(percentage)
        if run.arn in self.live:
            self.live[run.arn].adapt()

    def stop_child(self, found: FoundChild) -> None:
        """End a child execution, if it runs."""
        if found.run.arn in self.live:
            self.live[found.run.arn].stop_child(found.child)

    def _result(
        self, record: MapRun, env: ExecutionEnvironment, fields: MapFields, given: list[object] | None
    ) -> object:
        self._may_start_children(fields)
        if not record.children:
            items = read_items(self.account, fields) if given is None else given
            inputs = inputs_of(fields, items, env.is_running)
            record.children = [Child(str(uuid.uuid4()), text, count) for text, count in inputs]
        return self._run(record, env, fields)

    def _may_start_children(self, fields: MapFields) -> None:
        """The machine's role starts the children (Developer Guide, IAM policies for using Distributed Map)."""
        env = fields.env
        machine = env.states.context_object.context_object_data["StateMachine"]["Id"]
        try:
            self.account.authority.demand(env.aws_execution_details.role_arn, "states:StartExecution", machine)
        except AccessDeniedError as error:
            raise failure(env, "States.Permissions", error.message) from error

    def _new(self, state: MapState, env: ExecutionEnvironment, fields: MapFields, concurrency: int) -> MapRun:
        context = env.states.context_object.context_object_data
        machine = context["StateMachine"]["Id"]
        spec = fields.spec
        label = spec.state.get("Label") or str(uuid.uuid5(LABEL_SPACE, f"{machine}/{state.name}"))
        name = f"{parse_arn(machine).name}/{label}"
        record = MapRun(
            arn=self.account.arn("states", f"mapRun:{name}:{uuid.uuid4()}"),
            execution_arn=context["Execution"]["Id"],
            machine_arn=f"{machine}/{label}",
            state=state.name,
            kind=spec.kind,
            max_concurrency=concurrency,
            tolerated_count=fields.whole(spec.state, "ToleratedFailureCount", "ToleratedFailureCount"),
            tolerated_percentage=fields.number(
                spec.state, "ToleratedFailurePercentage", "ToleratedFailurePercentage", 100
            ),
            start_date=now(),
        )
        self.records[record.arn] = record
        return record

    def _redriven(self, state: MapState, env: ExecutionEnvironment) -> MapRun | None:
        """The map run that is to go on, where the execution was redriven at this state."""
        if env.redriven != state.name:
            return None
        execution = env.states.context_object.context_object_data["Execution"]["Id"]
        for record in reversed(list(self.records.values())):
            if (record.execution_arn, record.state) == (execution, state.name) and record.status != "SUCCEEDED":
                record.status, record.stop_date = "RUNNING", None
                record.redrive_count += 1
                record.redrive_date = now()
                return record
        return None

    def _run(self, record: MapRun, env: ExecutionEnvironment, fields: MapFields) -> object:
        spec = fields.spec
        writer: ResultWriter = spec.state.get("ResultWriter") or {}
        destination = destination_of(fields, writer)
        dispatcher = ChildDispatcher(self.account, record, spec, env)
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


def _error_and_cause(error: BaseException) -> tuple[str | None, str | None]:
    pair = error.extract_error_cause_pair() if isinstance(error, FailureEventException) else None
    return pair or ("States.Runtime", str(error))
