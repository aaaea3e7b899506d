"""The tables of CodePipeline, and how their records are found. Runs in the server process."""

from __future__ import annotations

from local_account.base.arns import read_arn
from local_account.codepipeline.records import ClosedTransition, CodePipelineExecution, CodePipelineRecord, StageState
from local_account.protocol.actions import ServiceError
from local_account.protocol.service import Service

StageStates = dict[str, StageState]
"""The states of one pipeline's stages, by the stage's name."""


class Tables:
    """What the service keeps; hold its lock for every read-modify-write."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def pipelines(self) -> dict[str, CodePipelineRecord]:
        """Every pipeline by its name."""
        return self._service.table("pipelines", CodePipelineRecord)

    @property
    def executions(self) -> dict[str, CodePipelineExecution]:
        """Every execution by its id, the oldest first."""
        return self._service.table("executions", CodePipelineExecution)

    @property
    def stage_states(self) -> dict[str, StageStates]:
        """The states of stages by their pipeline's name."""
        return self._service.table("stage-states", StageStates)

    @property
    def transitions(self) -> dict[str, ClosedTransition]:
        """What is closed, by pipeline and stage (``pipeline/stage``)."""
        return self._service.table("transitions", ClosedTransition)

    def executions_of(self, pipeline: str) -> list[CodePipelineExecution]:
        """The executions of a pipeline, the newest first."""
        return [record for record in reversed(self.executions.values()) if record["pipelineName"] == pipeline]

    def pipeline(self, name_or_arn: str) -> CodePipelineRecord:
        """The pipeline of this name or ARN.

        Raises ServiceError for an unknown one.
        """
        arn = read_arn(name_or_arn)
        name = arn.resource if arn and arn.service == "codepipeline" else name_or_arn
        if name not in self.pipelines:
            message = f"Account '{self._service.account.account_id}' does not have a pipeline with name '{name}'"
            raise ServiceError(message, "PipelineNotFoundException")
        return self.pipelines[name]

    def execution(self, pipeline: str, execution_id: str) -> CodePipelineExecution:
        """An execution of a pipeline.

        Raises ServiceError for an unknown pipeline, and for an execution that is not its.
        """
        self.pipeline(pipeline)
        record = self.executions.get(execution_id)
        if record is None or record["pipelineName"] != pipeline:
            message = f"Pipeline execution {execution_id} does not exist"
            raise ServiceError(message, "PipelineExecutionNotFoundException")
        return record
