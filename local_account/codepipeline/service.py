"""AWS CodePipeline in the stand-in account: pipelines whose executions really fetch, build, wait and go on.

Runs in the server process. Actions: sources from S3 and from connections, builds of CodeBuild, approval by hand; any
other is refused when the pipeline is made. Differs from AWS: an abandoned build is stopped (there it goes on); no
connection's trigger fires, because nothing tells this machine of a push. What the API does with executions is in
`execution_actions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_account.account import Account
from local_account.codepipeline import views
from local_account.codepipeline.definition import check
from local_account.codepipeline.execution_actions import FINAL, ExecutionActions
from local_account.codepipeline.executions import Gates
from local_account.codepipeline.records import ActionFailure, CodePipelineRecord, PipelineDeclaration, PipelineTag
from local_account.codepipeline.tables import Tables
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import chosen, record_of
from local_account.protocol.service import Service, now, page

if TYPE_CHECKING:
    from types_boto3_codepipeline.type_defs import (
        CreatePipelineInputTypeDef,
        DeletePipelineInputTypeDef,
        DisableStageTransitionInputTypeDef,
        EnableStageTransitionInputTypeDef,
        GetPipelineInputTypeDef,
        GetPipelineStateInputTypeDef,
        ListPipelinesInputTypeDef,
        ListTagsForResourceInputTypeDef,
        TagResourceInputTypeDef,
        UntagResourceInputTypeDef,
        UpdatePipelineInputTypeDef,
    )


def install(account: Account) -> CodePipeline:
    """Build the service; what ran when the account stopped has failed, and can be retried."""
    service = CodePipeline(account)
    why: ActionFailure = {"code": "InternalError", "message": "the stand-in account was stopped"}
    for record in service.tables.executions.values():
        if record["status"] in FINAL:
            continue
        record |= {"status": "Failed", "statusSummary": why["message"]}
        for detail in record["actions"]:
            if detail["status"] == "InProgress":
                detail |= {"status": "Failed", "errorDetails": why}
                detail.pop("token", None)
        for state in service.tables.stage_states.get(record["pipelineName"], {}).values():
            if state["status"] == "InProgress" and state["pipelineExecutionId"] == record["pipelineExecutionId"]:
                state["status"] = "Failed"
    service.changed()
    return service


class CodePipeline(Service):
    """Pipelines: their definitions, the states of their stages, and tags."""

    def __init__(self, account: Account) -> None:
        super().__init__(account, "codepipeline")
        self.tables = Tables(self)
        self._gates = Gates(self.tables)
        self._executions = ExecutionActions(self, self.tables, self._gates)
        self.add(self._executions)

    @action("CreatePipeline")
    def create(self, request: CreatePipelineInputTypeDef) -> Reply:
        """Make a pipeline, and start its first execution.

        Raises ServiceError for a name that is taken, and for what could not run here.
        """
        pipeline = _completed(request["pipeline"], version=1)
        name, pipelines = pipeline["name"], self.tables.pipelines
        tags = [record_of(PipelineTag, tag) for tag in request.get("tags", [])]
        with self.lock:
            if name in pipelines:
                message = f"A pipeline with the name '{name}' already exists in account"
                raise ServiceError(message, "PipelineNameInUseException")
            pipelines[name] = {"pipeline": pipeline, "tags": tags, "created": now(), "updated": now()}
        self.changed()
        self._executions.start({"triggerType": "CreatePipeline"}, {"name": name})
        return {"pipeline": pipeline, "tags": tags}

    @action("GetPipeline")
    def get(self, request: GetPipelineInputTypeDef) -> Reply:
        """Tell the last version of a pipeline.

        Raises ServiceError for an unknown pipeline or version.
        """
        found = self.tables.pipeline(request["name"])
        if request.get("version") not in (None, found["pipeline"]["version"]):
            raise ServiceError(
                "The stand-in account keeps a pipeline's last version.", "PipelineVersionNotFoundException"
            )
        metadata = {"pipelineArn": self.arn(request["name"]), "created": found["created"], "updated": found["updated"]}
        return {"pipeline": found["pipeline"], "metadata": metadata}

    @action("UpdatePipeline")
    def update(self, request: UpdatePipelineInputTypeDef) -> Reply:
        """Give a pipeline a new definition; executions that run keep theirs.

        Raises ServiceError for an unknown pipeline, and for what could not run here.
        """
        pipeline = _completed(request["pipeline"], version=1)
        with self.lock:
            found = self.tables.pipeline(pipeline["name"])
            pipeline["version"] = found["pipeline"]["version"] + 1
            found |= {"pipeline": pipeline, "updated": now()}
        self.changed()
        return {"pipeline": pipeline}

    @action("DeletePipeline")
    def delete(self, request: DeletePipelineInputTypeDef) -> None:
        """Remove a pipeline, if it exists, with its executions; those that run are abandoned."""
        name = request["name"]
        with self.lock:
            self.tables.pipelines.pop(name, None)
            gone = [record["pipelineExecutionId"] for record in self.tables.executions_of(name)]
            for execution_id in gone:
                del self.tables.executions[execution_id]
            self.tables.stage_states.pop(name, None)
        self._executions.forget(gone)
        self.changed()

    @action("ListPipelines")
    def list(self, request: ListPipelinesInputTypeDef) -> Reply:
        """List all pipelines."""
        rows = [_listed(found) for found in self.tables.pipelines.values()]
        return page(rows, request, "pipelines", stale_code="InvalidNextTokenException")

    @action("GetPipelineState")
    def state(self, request: GetPipelineStateInputTypeDef) -> Reply:
        """Tell how the stages of a pipeline and their actions went last.

        Raises ServiceError for an unknown pipeline.
        """
        found = self.tables.pipeline(request["name"])
        name, pipeline = request["name"], found["pipeline"]
        states = self.tables.stage_states.get(name, {})
        shown = []
        for stage in pipeline["stages"]:
            closed = self.tables.transitions.get(f"{name}/{stage['name']}")
            waiting = self._gates.waiting(name, stage["name"])
            actions = views.action_states(stage, self.tables.executions_of(name))
            shown.append({**views.stage_state(stage, states, closed, waiting), "actionStates": actions})
        times = {"created": found["created"], "updated": found["updated"]}
        return {"pipelineName": name, "pipelineVersion": pipeline["version"], "stageStates": shown, **times}

    @action("EnableStageTransition")
    def enable_transition(self, request: EnableStageTransitionInputTypeDef) -> None:
        """Let executions into a stage again.

        Raises ServiceError for an unknown pipeline.
        """
        self.tables.pipeline(request["pipelineName"])
        with self.lock:
            self.tables.transitions.pop(f"{request['pipelineName']}/{request['stageName']}", None)
        self.changed()

    @action("DisableStageTransition")
    def disable_transition(self, request: DisableStageTransitionInputTypeDef) -> None:
        """Let no execution into a stage; one that is in it stays.

        Raises ServiceError for an unknown pipeline, and for the way out of a stage, which is not closed here.
        """
        if request["transitionType"] != "Inbound":
            raise ServiceError("The stand-in account closes the way into a stage only.")
        self.tables.pipeline(request["pipelineName"])
        with self.lock:
            place = f"{request['pipelineName']}/{request['stageName']}"
            self.tables.transitions[place] = {"reason": request["reason"], "at": now()}
        self.changed()

    @action("TagResource")
    def tag(self, request: TagResourceInputTypeDef) -> None:
        """Give a pipeline tags; one of a key that it has replaces that.

        Raises ServiceError for an unknown pipeline.
        """
        with self.lock:
            found = self.tables.pipeline(request["resourceArn"])
            tags = {tag["key"]: tag["value"] for tag in found["tags"]}
            tags |= {tag["key"]: tag["value"] for tag in request["tags"]}
            found["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
        self.changed()

    @action("UntagResource")
    def untag(self, request: UntagResourceInputTypeDef) -> None:
        """Take tags of these keys from a pipeline.

        Raises ServiceError for an unknown pipeline.
        """
        with self.lock:
            found = self.tables.pipeline(request["resourceArn"])
            found["tags"] = [tag for tag in found["tags"] if tag["key"] not in request["tagKeys"]]
        self.changed()

    @action("ListTagsForResource")
    def list_tags(self, request: ListTagsForResourceInputTypeDef) -> Reply:
        """List the tags of a pipeline.

        Raises ServiceError for an unknown pipeline.
        """
        return {"tags": self.tables.pipeline(request["resourceArn"])["tags"]}


def _completed(given: Reply, version: int) -> PipelineDeclaration:
    """The pipeline that a request asks for, checked, with AWS's defaults; raises ServiceError."""
    check(given)
    return record_of(
        PipelineDeclaration, {"executionMode": "SUPERSEDED", "pipelineType": "V1"}, given, {"version": version}
    )


def _listed(found: CodePipelineRecord) -> Reply:
    kept = chosen(found["pipeline"], ("name", "version", "pipelineType", "executionMode"))
    return {**kept, "created": found["created"], "updated": found["updated"]}
