"""AWS CodePipeline in the stand-in account: pipelines whose executions really fetch, build, wait and go on.

Runs in the server process. Actions: sources from S3 and from connections, builds of CodeBuild, approval by hand; any
other is refused when the pipeline is made. Differs from AWS: an abandoned build is stopped (there it goes on); no
connection's trigger fires, because nothing tells this machine of a push.
"""

from __future__ import annotations

import copy
import uuid
from typing import Any

from local_account.account import Account
from local_account.codepipeline import views
from local_account.codepipeline.definition import check, resolved_variables, source_overrides
from local_account.codepipeline.executions import ExecutionRun, Gates
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.service import Resource, Service, now, page

FINAL = ("Succeeded", "Failed", "Stopped", "Superseded", "Cancelled")


def install(account: Account) -> CodePipeline:
    """Build the service; what ran when the account stopped has failed, and can be retried."""
    service = CodePipeline(account)
    why = {"code": "InternalError", "message": "the stand-in account was stopped"}
    for record in service.table("executions", Resource).values():
        if record["status"] in FINAL:
            continue
        record |= {"status": "Failed", "statusSummary": why["message"]}
        for detail in record["actions"]:
            if detail["status"] == "InProgress":
                detail |= {"status": "Failed", "errorDetails": why, "token": None}
        for state in service.table("stage-states", Resource).get(record["pipelineName"], {}).values():
            if state["status"] == "InProgress" and state["pipelineExecutionId"] == record["pipelineExecutionId"]:
                state["status"] = "Failed"
    service.changed()
    return service


class CodePipeline(Service):
    """Pipelines and their executions."""

    def __init__(self, account: Account) -> None:
        super().__init__(account, "codepipeline")
        self._gates = Gates(self)
        self._runs: dict[str, ExecutionRun] = {}
        self._tokens: dict[str, str] = {}

    @property
    def _pipelines(self) -> dict[str, Resource]:
        return self.table("pipelines", Resource)

    def _executions(self, pipeline: str) -> list[Resource]:
        """Of a pipeline, the newest first."""
        return [
            record
            for record in reversed(self.table("executions", Resource).values())
            if record["pipelineName"] == pipeline
        ]

    @action("CreatePipeline")
    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        pipeline = request["pipeline"]
        check(pipeline)
        with self.lock:
            if pipeline["name"] in self._pipelines:
                message = f"A pipeline with the name '{pipeline['name']}' already exists in account"
                raise ServiceError(message, "PipelineNameInUseException")
            stored = self._complete(pipeline) | {"version": 1}
            made = {"pipeline": stored, "tags": request.get("tags", []), "created": now(), "updated": now()}
            self._pipelines[pipeline["name"]] = made
        self.changed()
        self._start(pipeline["name"], {"triggerType": "CreatePipeline"}, {})
        return {"pipeline": stored, "tags": made["tags"]}

    @staticmethod
    def _complete(pipeline: Resource) -> Resource:
        return {"executionMode": "SUPERSEDED", "pipelineType": "V1", **pipeline}

    @action("GetPipeline")
    def get(self, request: dict[str, Any]) -> dict[str, Any]:
        found = self._pipeline(request["name"])
        if request.get("version") not in (None, found["pipeline"]["version"]):
            raise ServiceError(
                "The stand-in account keeps a pipeline's last version.", "PipelineVersionNotFoundException"
            )
        arn = self.account.arn("codepipeline", request["name"])
        metadata = {"pipelineArn": arn, "created": found["created"], "updated": found["updated"]}
        return {"pipeline": found["pipeline"], "metadata": metadata}

    @action("UpdatePipeline")
    def update(self, request: dict[str, Any]) -> dict[str, Any]:
        pipeline = request["pipeline"]
        check(pipeline)
        with self.lock:
            found = self._pipeline(pipeline["name"])
            stored = self._complete(pipeline) | {"version": found["pipeline"]["version"] + 1}
            found |= {"pipeline": stored, "updated": now()}
        self.changed()
        return {"pipeline": stored}

    @action("DeletePipeline")
    def delete(self, request: dict[str, Any]) -> None:
        with self.lock:
            self._pipelines.pop(request["name"], None)
            gone = [record["pipelineExecutionId"] for record in self._executions(request["name"])]
            for execution_id in gone:
                del self.table("executions", Resource)[execution_id]
            self.table("stage-states", Resource).pop(request["name"], None)
        for execution_id in gone:
            if run := self._runs.pop(execution_id, None):
                run.stop(abandon=True)
        self.changed()

    @action("ListPipelines")
    def list(self, request: dict[str, Any]) -> Reply:
        rows = []
        for found in self._pipelines.values():
            kept = {name: found["pipeline"][name] for name in ("name", "version", "pipelineType", "executionMode")}
            rows.append(kept | {"created": found["created"], "updated": found["updated"]})
        return page(rows, request, "pipelines")

    @action("GetPipelineState")
    def state(self, request: dict[str, Any]) -> dict[str, Any]:
        found = self._pipeline(request["name"])
        name, pipeline = request["name"], found["pipeline"]
        states = self.table("stage-states", Resource).get(name, {})
        shown = []
        for stage in pipeline["stages"]:
            closed = self.table("transitions", Resource).get(f"{name}/{stage['name']}")
            waiting = self._gates.waiting(name, stage["name"])
            actions = views.action_states(stage, self._executions(name))
            shown.append(views.stage_state(stage, states, closed, waiting) | {"actionStates": actions})
        times = {"created": found["created"], "updated": found["updated"]}
        return {"pipelineName": name, "pipelineVersion": pipeline["version"], "stageStates": shown, **times}

    @action("StartPipelineExecution")
    def start_execution(self, request: dict[str, Any]) -> dict[str, Any]:
        token = request.get("clientRequestToken")
        with self.lock:
            if token in self._tokens:
                return {"pipelineExecutionId": self._tokens[token]}
            trigger = {
                "triggerType": "StartPipelineExecution",
                "triggerDetail": f"arn:aws:iam::{self.account.account_id}:root",
            }
            execution_id = self._start(request["name"], trigger, request)
            if token:
                self._tokens[token] = execution_id
        return {"pipelineExecutionId": execution_id}

    def _start(self, name: str, trigger: Resource, request: dict[str, Any]) -> str:
        with self.lock:
            pipeline = self._pipeline(name)["pipeline"]
            record: Resource = {
                "pipelineName": name,
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
                **{member: {} for member in ("artifacts", "namespaces", "revisions", "stages")},
                "actions": [],
            }
            self.table("executions", Resource)[record["pipelineExecutionId"]] = record
            run = self._runs[record["pipelineExecutionId"]] = ExecutionRun(self, self._gates, record)
        self.changed()
        run.start()
        return str(record["pipelineExecutionId"])

    @action("StopPipelineExecution")
    def stop_execution(self, request: dict[str, Any]) -> dict[str, Any]:
        record = self._execution(request)
        run = self._runs.get(record["pipelineExecutionId"])
        with self.lock:
            if record["status"] in FINAL or run is None:
                message = f"The pipeline execution is {record['status']} and cannot be stopped"
                raise ServiceError(message, "PipelineExecutionNotStoppableException")
            record |= {"status": "Stopping", "stopReason": request.get("reason", ""), "lastUpdateTime": now()}
        self.changed()
        run.stop(abandon=bool(request.get("abandon")))
        return {"pipelineExecutionId": record["pipelineExecutionId"]}

    @action("GetPipelineExecution")
    def get_execution(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"pipelineExecution": views.execution(self._execution(request))}

    @action("ListPipelineExecutions")
    def list_executions(self, request: dict[str, Any]) -> Reply:
        self._pipeline(request["pipelineName"])
        rows = [views.summary(record) for record in self._executions(request["pipelineName"])]
        return page(rows, request, "pipelineExecutionSummaries")

    @action("ListActionExecutions")
    def list_actions(self, request: dict[str, Any]) -> Reply:
        self._pipeline(request["pipelineName"])
        wanted = request.get("filter", {}).get("pipelineExecutionId")
        rows = [
            views.action_execution(record, detail)
            for record in self._executions(request["pipelineName"])
            if wanted in (None, record["pipelineExecutionId"])
            for detail in reversed(record["actions"])
        ]
        return page(rows, request, "actionExecutionDetails")

    @action("PutApprovalResult")
    def put_approval(self, request: dict[str, Any]) -> dict[str, Any]:
        self._pipeline(request["pipelineName"])
        for record in self._executions(request["pipelineName"]):
            for detail in record["actions"]:
                if (detail["stageName"], detail["actionName"]) != (request["stageName"], request["actionName"]):
                    continue
                run = self._runs.get(record["pipelineExecutionId"])
                work = run.works.get(detail["actionName"]) if run else None
                if work and detail.get("token") == request["token"] and not work.decided.is_set():
                    work.decision = dict(request["result"])
                    work.note({"token": None})  # it waits no longer
                    work.decided.set()
                    return {"approvedAt": now()}
        raise ServiceError("No approval with this token waits.", "InvalidApprovalTokenException")

    @action("RetryStageExecution")
    def retry_stage(self, request: dict[str, Any]) -> dict[str, Any]:
        record = self._execution(request)
        name, stage = request["pipelineName"], request["stageName"]
        with self.lock:
            pipeline = self._pipeline(name)["pipeline"]
            if stage not in [each["name"] for each in pipeline["stages"]]:
                raise ServiceError(f"Pipeline {name} has no stage {stage}", "StageNotFoundException")
            state = self.table("stage-states", Resource).get(name, {}).get(stage, {})
            if state.get("pipelineExecutionId") != record["pipelineExecutionId"]:
                raise ServiceError("Another execution was in the stage since.", "NotLatestPipelineExecutionException")
            if record["status"] not in ("Failed", "Stopped") or state.get("status") not in ("Failed", "Stopped"):
                raise ServiceError("The stage has not failed.", "StageNotRetryableException")
            latest = {
                detail["actionName"]: detail["status"] for detail in record["actions"] if detail["stageName"] == stage
            }
            done = {action for action, status in latest.items() if status == "Succeeded"}
            kept = frozenset(done if request["retryMode"] == "FAILED_ACTIONS" else ())
            record |= {"status": "InProgress", "lastUpdateTime": now(), "attempt": record["attempt"] + 1}
            record.pop("statusSummary", None)
            run = ExecutionRun(self, self._gates, record, stage, kept)
            self._runs[record["pipelineExecutionId"]] = run
        self.changed()
        run.start()
        return {"pipelineExecutionId": record["pipelineExecutionId"]}

    @action("EnableStageTransition")
    def enable_transition(self, request: dict[str, Any]) -> None:
        self._pipeline(request["pipelineName"])
        with self.lock:
            self.table("transitions", Resource).pop(f"{request['pipelineName']}/{request['stageName']}", None)
        self.changed()

    @action("DisableStageTransition")
    def disable_transition(self, request: dict[str, Any]) -> None:
        if request["transitionType"] != "Inbound":
            raise ServiceError("The stand-in account closes the way into a stage only.")
        self._pipeline(request["pipelineName"])
        with self.lock:
            closed = {"reason": request["reason"], "at": now()}
            self.table("transitions", Resource)[f"{request['pipelineName']}/{request['stageName']}"] = closed
        self.changed()

    @action("TagResource")
    def tag(self, request: dict[str, Any]) -> None:
        with self.lock:
            found = self._pipeline(request["resourceArn"])
            tags = {tag["key"]: tag["value"] for tag in [*found["tags"], *request["tags"]]}
            found["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
        self.changed()

    @action("UntagResource")
    def untag(self, request: dict[str, Any]) -> None:
        with self.lock:
            found = self._pipeline(request["resourceArn"])
            found["tags"] = [tag for tag in found["tags"] if tag["key"] not in request["tagKeys"]]
        self.changed()

    @action("ListTagsForResource")
    def list_tags(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"tags": self._pipeline(request["resourceArn"])["tags"]}

    def _pipeline(self, name: str) -> Resource:
        name = name.rpartition(":")[2]  # of an ARN
        if name not in self._pipelines:
            message = f"Account '{self.account.account_id}' does not have a pipeline with name '{name}'"
            raise ServiceError(message, "PipelineNotFoundException")
        return self._pipelines[name]

    def _execution(self, request: dict[str, Any]) -> Resource:
        self._pipeline(request["pipelineName"])
        record = self.table("executions", Resource).get(request["pipelineExecutionId"])
        if record is None or record["pipelineName"] != request["pipelineName"]:
            message = f"Pipeline execution {request['pipelineExecutionId']} does not exist"
            raise ServiceError(message, "PipelineExecutionNotFoundException")
        return record
