"""Executions of CodePipeline: stage after stage, action beside action, one execution in a stage at a time.

Runs in the server process, a thread for each execution. QUEUED executions enter a stage in the order they came,
SUPERSEDED ones give way to a newer one that waits behind them, PARALLEL ones do not wait for each other. An execution
that runs when the account stops has failed when it is back, and its stage can be retried.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Mapping
from functools import partial

from local_account.base.clients import Clients
from local_account.codepipeline import events
from local_account.codepipeline.actions import AbandonedError, ActionError, Note, Work, perform
from local_account.codepipeline.definition import fill, orders
from local_account.codepipeline.records import (
    ActionDeclaration,
    ActionFailure,
    ActionRecord,
    CodePipelineExecution,
    StageDeclaration,
    StageState,
)
from local_account.codepipeline.tables import Tables
from local_account.protocol.records import change
from local_account.protocol.role_clients import role_client
from local_account.protocol.service import Service, now

log = logging.getLogger(__name__)

LOOK_S = 0.2


class _LeftError(Exception):
    """The execution does not enter the stage it waits for."""


class Gates:
    """Who is in a stage and who waits for it, by pipeline and stage."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._changed = threading.Condition()
        self._queues: dict[tuple[str, str], list[str]] = {}

    def enter(self, run: ExecutionRun, stage: str) -> None:
        """Return once the execution has the stage; raises _LeftError."""
        record = run.record
        queue = self._queues.setdefault((record["pipelineName"], stage), [])
        alone = record["executionMode"] != "PARALLEL"
        with self._changed:
            queue.append(record["pipelineExecutionId"])
            while not self._may_enter(run, queue, stage, alone=alone):
                if run.leaves() or (record["executionMode"] == "SUPERSEDED" and self._is_overtaken(record, queue)):
                    queue.remove(record["pipelineExecutionId"])
                    if not run.leaves():
                        record["status"] = "Superseded"
                    raise _LeftError
                self._changed.wait(LOOK_S)

    def leave(self, record: CodePipelineExecution, stage: str) -> None:
        """Give the stage to the next execution."""
        with self._changed:
            queue = self._queues[record["pipelineName"], stage]
            if record["pipelineExecutionId"] in queue:
                queue.remove(record["pipelineExecutionId"])
            self._changed.notify_all()

    def waiting(self, pipeline: str, stage: str) -> list[str]:
        """The ids of the executions that wait for a stage, in the order they came."""
        return self._queues.get((pipeline, stage), [])[1:]

    def _may_enter(self, run: ExecutionRun, queue: list[str], stage: str, *, alone: bool) -> bool:
        if run.leaves():
            return False
        closed = self.tables.transitions.get(f"{run.record['pipelineName']}/{stage}")
        return not closed and (not alone or queue[0] == run.record["pipelineExecutionId"])

    @staticmethod
    def _is_overtaken(record: CodePipelineExecution, queue: list[str]) -> bool:
        place = queue.index(record["pipelineExecutionId"])
        return place > 0 and place < len(queue) - 1


class ExecutionRun:
    """Runs one execution, from ``first`` on. ``kept``: actions of that stage that are not run again."""

    def __init__(
        self,
        service: Service,
        gates: Gates,
        record: CodePipelineExecution,
        first: str = "",
        kept: frozenset[str] = frozenset(),
    ) -> None:
        self.record = record
        self._service, self._gates = service, gates
        self._account = service.account
        self._definition = record["definition"]
        self._first, self._kept = first, kept
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self.works: dict[str, Work] = {}
        """Actions that run, by name."""

    def start(self) -> None:
        """Begin; returns at once."""
        threading.Thread(target=self._run, name=f"pipeline-{self.record['pipelineExecutionId']}", daemon=True).start()

    def stop(self, *, abandon: bool) -> None:
        """Let the running actions end, or abandon them."""
        self._stopping.set()
        if abandon:
            self._abandoned.set()

    def leaves(self) -> bool:
        """Whether the execution is to end after the actions that run."""
        return self._stopping.is_set() or self._account.stopping.is_set()

    def _run(self) -> None:
        events.pipeline(self._account, self.record, "RESUMED" if self._first else "STARTED")
        names = [stage["name"] for stage in self._definition["stages"]]
        stages = self._definition["stages"][names.index(self._first) if self._first else 0 :]
        try:
            for stage in stages:
                if not self._enter_and_run(stage):
                    break
            else:
                self._change(status="Succeeded")
        except Exception:
            log.exception("pipeline execution %s", self.record["pipelineExecutionId"])
            self._change(status="Failed", statusSummary="InternalError in the stand-in account; its log has the reason")
        events.pipeline(self._account, self.record, self.record["status"].upper())

    def _enter_and_run(self, stage: StageDeclaration) -> bool:
        self._change(stage=stage["name"])
        try:
            self._gates.enter(self, stage["name"])
        except _LeftError:
            if self.record["status"] != "Superseded":
                self._change(status="Stopped")
            return False
        try:
            return self._run_stage(stage)
        finally:
            self._gates.leave(self.record, stage["name"])

    def _run_stage(self, stage: StageDeclaration) -> bool:
        self._stage_state(stage, "InProgress")
        kept, self._kept = self._kept, frozenset()
        failed = ""
        for order in orders(stage):
            failed = failed or self._run_order(stage, [action for action in order if action["name"] not in kept])
            if failed or self.leaves():
                break
        if failed:
            self._stage_state(stage, "Failed")
            self._change(status="Stopped" if failed == "abandoned" else "Failed", statusSummary=failed)
            return False
        if self.leaves():
            self._stage_state(stage, "Stopped")
            self._change(status="Stopped")
            return False
        self._stage_state(stage, "Succeeded")
        return True

    def _run_order(self, stage: StageDeclaration, actions: list[ActionDeclaration]) -> str:
        """Run actions side by side; why one of them failed, or nothing."""
        failures: list[str] = []
        threads = [
            threading.Thread(target=self._run_action, args=(stage, action, failures), daemon=True) for action in actions
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return failures[0] if failures else ""

    def _run_action(self, stage: StageDeclaration, action: ActionDeclaration, failures: list[str]) -> None:
        detail: ActionRecord = {
            "actionExecutionId": str(uuid.uuid4()),
            "stageName": stage["name"],
            "actionName": action["name"],
            "actionTypeId": action["actionTypeId"],
            "startTime": now(),
            "lastUpdateTime": now(),
            "status": "InProgress",
            "configuration": action.get("configuration", {}),
            "inputs": {
                each["name"]: self.record["artifacts"].get(each["name"]) for each in action.get("inputArtifacts", [])
            },
        }

        def note(members: Mapping[str, object]) -> None:
            with self._service.lock:
                change(detail, {**members, "lastUpdateTime": now()})
            self._service.changed()

        with self._service.lock:
            self.record["actions"].append(detail)
        events.action(self._account, self.record, detail)
        status = "Succeeded"
        error: ActionFailure | None = None
        try:
            self._perform(action, detail, note)
        except AbandonedError:
            status = "Abandoned"
            failures.append("abandoned")
        except ActionError as failure:
            status, error = "Failed", {"code": failure.code, "message": str(failure)}
        except Exception as failure:
            log.exception("action %s", action["name"])
            status, error = "Failed", {"code": "InternalError", "message": f"{type(failure).__name__}: {failure}"}
        finally:
            self.works.pop(action["name"], None)
        if error:
            failures.append(f"{action['name']}: {error['message']}")
        note({"status": status, **({"errorDetails": error} if error else {})})
        events.action(self._account, self.record, detail)

    def _perform(self, action: ActionDeclaration, detail: ActionRecord, note: Note) -> None:
        configuration = self._filled(action.get("configuration", {}))
        note({"resolvedConfiguration": configuration})
        role = action.get("roleArn") or self._definition["roleArn"]

        clients: Clients = partial(
            role_client,
            self._account,
            role,
            self.record["pipelineExecutionId"],
            by="codepipeline.amazonaws.com",
            source_arn=self._account.arn("codepipeline", self.record["pipelineName"]),
        )
        work = Work(self._account, self.record, action, configuration, role, clients, note, self._abandoned)
        self.works[action["name"]] = work
        perform(work)
        note({"outputs": work.outputs, "outputVariables": work.variables})
        with self._service.lock:
            self.record["artifacts"].update(work.outputs)
            if "namespace" in action:
                self.record["namespaces"][action["namespace"]] = work.variables
            if "revision" in detail:
                made = action["outputArtifacts"][0]["name"]
                self.record["revisions"][action["name"]] = {**detail["revision"], "artifact": made}

    def _filled(self, configuration: Mapping[str, str]) -> dict[str, str]:
        variables = {
            **self.record["namespaces"],
            "variables": {each["name"]: each["resolvedValue"] for each in self.record["variables"]},
            "codepipeline": {"PipelineExecutionId": self.record["pipelineExecutionId"]},
        }
        try:
            return {name: fill(value, variables) for name, value in configuration.items()}
        except KeyError as error:
            raise ActionError("ValidationError", f"the variable {error} has no value") from error

    def _stage_state(self, stage: StageDeclaration, status: str) -> None:
        entry: StageState = {
            "pipelineExecutionId": self.record["pipelineExecutionId"],
            "status": status,
            "type": "STANDARD",
        }
        with self._service.lock:
            states = self._gates.tables.stage_states.setdefault(self.record["pipelineName"], {})
            states[stage["name"]] = entry
            self.record["stages"][stage["name"]] = status
        self._service.changed()
        events.stage(self._account, self.record, stage["name"], status)

    def _change(self, **members: str) -> None:
        with self._service.lock:
            change(self.record, {**members, "lastUpdateTime": now()})
        self._service.changed()
