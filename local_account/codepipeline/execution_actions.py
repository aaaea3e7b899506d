"""The actions of CodePipeline on executions: start, stop, approve, retry and tell of them.

Runs in the server process; every execution has a thread of its own (`executions`).
"""

from __future__ import annotations

import copy
import uuid
from typing import TYPE_CHECKING

from local_account.codepipeline import views
from local_account.codepipeline.definition import resolved_variables, source_overrides
from local_account.codepipeline.executions import ExecutionRun, Gates
from local_account.codepipeline.records import CodePipelineExecution, Trigger
from local_account.codepipeline.tables import Tables
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.service import Service, now, page

if TYPE_CHECKING:
    from types_boto3_codepipeline.type_defs import (
        GetPipelineExecutionInputTypeDef,
        ListActionExecutionsInputTypeDef,
        ListPipelineExecutionsInputTypeDef,
        PutApprovalResultInputTypeDef,
        RetryStageExecutionInputTypeDef,
        StartPipelineExecutionInputTypeDef,
        StopPipelineExecutionInputTypeDef,
    )

FINAL = ("Succeeded", "Failed", "Stopped", "Superseded", "Cancelled")


class ExecutionActions:
    """The executions of all pipelines and what the API does to them."""

    def __init__(self, service: Service, tables: Tables, gates: Gates) -> None:
        self._service, self._tables, self._gates = service, tables, gates
        self._runs: dict[str, ExecutionRun] = {}
        self._tokens: dict[str, str] = {}

    @action("StartPipelineExecution")
    def start_execution(self, request: StartPipelineExecutionInputTypeDef) -> Reply:
        """Start an execution; a second request with the same token starts none.

        Raises ServiceError for an unknown pipeline, and for variables that it lacks.
        """
        token = request.get("clientRequestToken", "")
        with self._service.lock:
            if token in self._tokens:
                return {"pipelineExecutionId": self._tokens[token]}
            owner = f"arn:aws:iam::{self._service.account.account_id}:root"
            trigger: Trigger = {"triggerType": "StartPipelineExecution", "triggerDetail": owner}
            execution_id = self.start(trigger, request)
            if token:
                self._tokens[token] = execution_id
        return {"pipelineExecutionId": execution_id}

    def start(self, trigger: Trigger, request: StartPipelineExecutionInputTypeDef) -> str:
        """Start an execution and answer its id.

        Raises ServiceError as `start_execution` does.
        """
        with self._service.lock:
            pipeline = self._tables.pipeline(request["name"])["pipeline"]
            record: CodePipelineExecution = {
                "pipelineName": request["name"],
                "pipelineVersion": pipeline["version"],
                "pipelineExecutionId": str(uuid.uuid4()),
                "status": "InProgress",
                "startTime": now(),
                "lastUpdateTime": now(),
                "trigger": trigger,
                "executionMode": pipeline["executionMode"],
                "variables": resolved_variables(pipeline, request.get("variables", [])),
                "overrides": source_overrides(request.get("sourceRevisions", [])),
                "definition": copy.deepcopy(pipeline),
                "attempt": 1.0,
                "stage": "",
                "artifacts": {},
                "namespaces": {},
                "revisions": {},
                "stages": {},
                "actions": [],
            }
            self._tables.executions[record["pipelineExecutionId"]] = record
            run = self._runs[record["pipelineExecutionId"]] = ExecutionRun(self._service, self._gates, record)
        self._service.changed()
        run.start()
        return record["pipelineExecutionId"]

    def forget(self, execution_ids: list[str]) -> None:
        """Abandon those of these executions that still run."""
        for execution_id in execution_ids:
            if run := self._runs.pop(execution_id, None):
                run.stop(abandon=True)

    @action("StopPipelineExecution")
    def stop_execution(self, request: StopPipelineExecutionInputTypeDef) -> Reply:
        """Have an execution end, once its actions have ended or at once (``abandon``).

        Raises ServiceError for one that does not run.
        """
        record = self._tables.execution(request["pipelineName"], request["pipelineExecutionId"])
        run = self._runs.get(record["pipelineExecutionId"])
        with self._service.lock:
            if record["status"] in FINAL or run is None:
                message = f"The pipeline execution is {record['status']} and cannot be stopped"
                raise ServiceError(message, "PipelineExecutionNotStoppableException")
            record |= {"status": "Stopping", "stopReason": request.get("reason", ""), "lastUpdateTime": now()}
        self._service.changed()
        run.stop(abandon=bool(request.get("abandon")))
        return {"pipelineExecutionId": record["pipelineExecutionId"]}

    @action("GetPipelineExecution")
    def get_execution(self, request: GetPipelineExecutionInputTypeDef) -> Reply:
        """Tell of an execution.

        Raises ServiceError for an unknown one.
        """
        record = self._tables.execution(request["pipelineName"], request["pipelineExecutionId"])
        return {"pipelineExecution": views.execution(record)}

    @action("ListPipelineExecutions")
    def list_executions(self, request: ListPipelineExecutionsInputTypeDef) -> Reply:
        """List the executions of a pipeline, the newest first.

        Raises ServiceError for an unknown pipeline.
        """
        self._tables.pipeline(request["pipelineName"])
        rows = [views.summary(record) for record in self._tables.executions_of(request["pipelineName"])]
        return page(rows, request, "pipelineExecutionSummaries", stale_code="InvalidNextTokenException")

    @action("ListActionExecutions")
    def list_actions(self, request: ListActionExecutionsInputTypeDef) -> Reply:
        """List what the actions of a pipeline did, the newest first; of one execution if ``filter`` names it.

        Raises ServiceError for an unknown pipeline.
        """
        self._tables.pipeline(request["pipelineName"])
        wanted = request.get("filter", {}).get("pipelineExecutionId")
        rows = [
            views.action_execution(record, detail)
            for record in self._tables.executions_of(request["pipelineName"])
            if wanted in (None, record["pipelineExecutionId"])
            for detail in reversed(record["actions"])
        ]
        return page(rows, request, "actionExecutionDetails", stale_code="InvalidNextTokenException")

    @action("PutApprovalResult")
    def put_approval(self, request: PutApprovalResultInputTypeDef) -> Reply:
        """Approve or reject what an action waits for.

        Raises ServiceError when none waits with the request's token.
        """
        self._tables.pipeline(request["pipelineName"])
        for record in self._tables.executions_of(request["pipelineName"]):
            for detail in record["actions"]:
                if (detail["stageName"], detail["actionName"]) != (request["stageName"], request["actionName"]):
                    continue
                run = self._runs.get(record["pipelineExecutionId"])
                work = run.works.get(detail["actionName"]) if run else None
                if work and detail.get("token") == request["token"] and not work.decided.is_set():
                    work.decision = {"summary": request["result"]["summary"], "status": request["result"]["status"]}
                    work.note({"token": None})  # it waits no longer
                    work.decided.set()
                    return {"approvedAt": now()}
        raise ServiceError("No approval with this token waits.", "InvalidApprovalTokenException")

    @action("RetryStageExecution")
    def retry_stage(self, request: RetryStageExecutionInputTypeDef) -> Reply:
        """Run a failed stage again and go on from there; ``FAILED_ACTIONS`` keeps what succeeded.

        Raises ServiceError for a stage that has not failed, or that another execution was in since.
        """
        record = self._tables.execution(request["pipelineName"], request["pipelineExecutionId"])
        with self._service.lock:
            self._check_retry(request, record)
            stage = request["stageName"]
            latest = {
                detail["actionName"]: detail["status"] for detail in record["actions"] if detail["stageName"] == stage
            }
            done = {action for action, status in latest.items() if status == "Succeeded"}
            kept = frozenset(done if request["retryMode"] == "FAILED_ACTIONS" else ())
            record |= {"status": "InProgress", "lastUpdateTime": now(), "attempt": record["attempt"] + 1}
            record.pop("statusSummary", None)
            run = ExecutionRun(self._service, self._gates, record, stage, kept)
            self._runs[record["pipelineExecutionId"]] = run
        self._service.changed()
        run.start()
        return {"pipelineExecutionId": record["pipelineExecutionId"]}

    def _check_retry(self, request: RetryStageExecutionInputTypeDef, record: CodePipelineExecution) -> None:
        name, stage = request["pipelineName"], request["stageName"]
        pipeline = self._tables.pipeline(name)["pipeline"]
        if stage not in [each["name"] for each in pipeline["stages"]]:
            raise ServiceError(f"Pipeline {name} has no stage {stage}", "StageNotFoundException")
        state = self._tables.stage_states.get(name, {}).get(stage)
        if state is None or state["pipelineExecutionId"] != record["pipelineExecutionId"]:
            raise ServiceError("Another execution was in the stage since.", "NotLatestPipelineExecutionException")
        if record["status"] not in ("Failed", "Stopped") or state["status"] not in ("Failed", "Stopped"):
            raise ServiceError("The stage has not failed.", "StageNotRetryableException")
