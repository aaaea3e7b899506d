"""SageMaker Pipelines: create, update, describe, delete and list pipelines.

Runs in the server process; state: the tables ``pipelines`` (by name) and ``request-tokens``. The definition JSON is
what runs, so every client sees the same.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from local_account.sagemaker.pipelines.executions import VERSION_MEMBERS, Executions, checked_definition, refuse
from local_account.sagemaker.pipelines.runs import EXECUTIONS
from local_account.sagemaker.service import Resource, SageMaker, SageMakerError, listing, now
from local_account.sagemaker.tags import drop_tags, set_tags

PIPELINES = "pipelines"


class Pipelines:
    """The actions on pipelines."""

    def __init__(self, sagemaker: SageMaker) -> None:
        self.sagemaker = sagemaker

    def pipeline(self, name_or_arn: str) -> Resource:
        name = name_or_arn.rsplit("/", 1)[-1]
        pipeline = self.sagemaker.table(PIPELINES).get(name)
        if pipeline is None:
            arn = self.sagemaker.arn(f"pipeline/{name}")
            raise SageMakerError(f"Pipeline '{arn}' does not exist.", "ResourceNotFound")
        return pipeline

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        refuse(request, VERSION_MEMBERS)
        name = request["PipelineName"]
        definition = self._definition_text(request)
        if definition is None:
            raise SageMakerError("Expected PipelineDefinition or PipelineDefinitionS3Location.")
        checked_definition(definition)
        arn = self.sagemaker.arn(f"pipeline/{name}")
        token = f"CreatePipeline:{request['ClientRequestToken']}"
        with self.sagemaker.lock:
            if self.sagemaker.table("request-tokens").get(token) == {"Arn": arn}:
                return {"PipelineArn": arn}
            if name in self.sagemaker.table(PIPELINES):
                raise SageMakerError(
                    "Pipeline names must be unique within an AWS account and region. "
                    f"Pipeline with name ({name}) already exists."
                )
            created = now()
            self.sagemaker.table(PIPELINES)[name] = {
                "PipelineArn": arn,
                "PipelineName": name,
                "PipelineDisplayName": request.get("PipelineDisplayName", name),
                "PipelineDefinition": definition,
                **{k: request[k] for k in ("PipelineDescription", "ParallelismConfiguration") if k in request},
                "RoleArn": request["RoleArn"],
                "PipelineStatus": "Active",
                "CreationTime": created,
                "LastModifiedTime": created,
                "CreatedBy": {},
                "LastModifiedBy": {},
            }
            self.sagemaker.table("request-tokens")[token] = {"Arn": arn}
            set_tags(self.sagemaker, arn, request.get("Tags"))
            self.sagemaker.changed()
        return {"PipelineArn": arn}

    def update(self, request: dict[str, Any]) -> dict[str, Any]:
        refuse(request, VERSION_MEMBERS)
        pipeline = self.pipeline(request["PipelineName"])
        definition = self._definition_text(request)
        if definition is not None:
            checked_definition(definition)
        kept = ("PipelineDisplayName", "PipelineDescription", "RoleArn", "ParallelismConfiguration")
        with self.sagemaker.lock:
            pipeline.update({k: request[k] for k in kept if k in request}, LastModifiedTime=now())
            if definition is not None:
                pipeline["PipelineDefinition"] = definition
            self.sagemaker.changed()
        return {"PipelineArn": pipeline["PipelineArn"]}

    def _definition_text(self, request: dict[str, Any]) -> str | None:
        location = request.get("PipelineDefinitionS3Location")
        if location is None:
            text: str | None = request.get("PipelineDefinition")
            return text
        if "PipelineDefinition" in request:
            raise SageMakerError("Expected either PipelineDefinition or PipelineDefinitionS3Location, got both.")
        version = {"VersionId": location["VersionId"]} if "VersionId" in location else {}
        try:
            answer = self.sagemaker.account.client("s3").get_object(
                Bucket=location["Bucket"], Key=location["ObjectKey"], **version
            )
        except ClientError as error:
            where = f"s3://{location['Bucket']}/{location['ObjectKey']}"
            raise SageMakerError(f"The pipeline definition {where} cannot be read: {error}") from error
        return str(answer["Body"].read().decode())

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        refuse(request, VERSION_MEMBERS)
        return self.pipeline(request["PipelineName"])

    def delete(self, request: dict[str, Any]) -> dict[str, Any]:
        with self.sagemaker.lock:
            pipeline = self.pipeline(request["PipelineName"])
            arn = pipeline["PipelineArn"]
            executions = [e for e in self.sagemaker.table(EXECUTIONS).values() if e["PipelineArn"] == arn]
            running = [e for e in executions if e["PipelineExecutionStatus"] in ("Executing", "Stopping")]
            if running:
                raise SageMakerError(
                    f"Pipeline {arn} cannot be deleted: {len(running)} of its executions still run.",
                    "ConflictException",
                )
            for execution in executions:
                del self.sagemaker.table(EXECUTIONS)[execution["PipelineExecutionArn"]]
            del self.sagemaker.table(PIPELINES)[pipeline["PipelineName"]]
            tokens = self.sagemaker.table("request-tokens")
            for token in [t for t, made in tokens.items() if made["Arn"].startswith(arn)]:
                del tokens[token]
            drop_tags(self.sagemaker, arn)
            self.sagemaker.changed()
        return {"PipelineArn": arn}

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        prefix = request.get("PipelineNamePrefix", "")
        summaries = [
            {**p, "LastExecutionTime": p["LastRunTime"]} if "LastRunTime" in p else p
            for p in self.sagemaker.table(PIPELINES).values()
            if p["PipelineName"].startswith(prefix)
        ]
        fields = [
            "PipelineArn", "PipelineName", "PipelineDisplayName", "PipelineDescription", "RoleArn", "CreationTime",
            "LastModifiedTime", "LastExecutionTime",
        ]  # fmt: skip
        return listing(summaries, request, key="PipelineSummaries", fields=fields, name_field="PipelineName")


def install(sagemaker: SageMaker) -> None:
    pipelines = Pipelines(sagemaker)
    executions = Executions(sagemaker, pipelines.pipeline)
    sagemaker.implement(
        {
            "CreatePipeline": pipelines.create,
            "UpdatePipeline": pipelines.update,
            "DescribePipeline": pipelines.describe,
            "DeletePipeline": pipelines.delete,
            "ListPipelines": pipelines.list,
            **executions.actions(),
        }
    )
