"""SageMaker Pipelines: create, update, describe, delete and list pipelines.

Runs in the server process; state: the tables ``pipelines`` (by name) and ``request-tokens``. The definition JSON is
what runs, so every client sees the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from local_account.base.arns import name_of
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import change, chosen, record_of, without
from local_account.protocol.service import now
from local_account.sagemaker.pipelines.executions import checked_definition
from local_account.sagemaker.pipelines.versions import add_version, drop_versions, version_of
from local_account.sagemaker.records import PipelineRecord
from local_account.sagemaker.service import SageMaker, listing
from local_account.sagemaker.tags import drop_tags, set_tags

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import GetObjectRequestTypeDef
    from types_boto3_sagemaker.type_defs import (
        CreatePipelineRequestTypeDef,
        DeletePipelineRequestTypeDef,
        DescribePipelineRequestTypeDef,
        ListPipelinesRequestTypeDef,
        UpdatePipelineRequestTypeDef,
    )


class Pipelines:
    """The actions on pipelines."""

    def __init__(self, sagemaker: SageMaker) -> None:
        self.sagemaker = sagemaker

    def pipeline(self, name_or_arn: str) -> PipelineRecord:
        """A pipeline by its name or ARN.

        Raises ServiceError when there is none.
        """
        name = name_of(name_or_arn, "sagemaker", "pipeline")
        pipeline = self.sagemaker.pipelines.get(name)
        if pipeline is None:
            arn = self.sagemaker.arn(f"pipeline/{name}")
            raise ServiceError(f"Pipeline '{arn}' does not exist.", "ResourceNotFound")
        return pipeline

    @action("CreatePipeline")
    def create(self, request: CreatePipelineRequestTypeDef) -> Reply:
        """Raises ServiceError for a name that is taken, and for a definition that cannot run."""
        name = request["PipelineName"]
        definition = self._definition_text(request)
        if definition is None:
            raise ServiceError("Expected PipelineDefinition or PipelineDefinitionS3Location.")
        checked_definition(definition)
        arn = self.sagemaker.arn(f"pipeline/{name}")
        token = f"CreatePipeline:{request['ClientRequestToken']}"
        with self.sagemaker.lock:
            if self.sagemaker.request_tokens.get(token) == {"Arn": arn}:
                return {"PipelineArn": arn}
            if name in self.sagemaker.pipelines:
                raise ServiceError(
                    "Pipeline names must be unique within an AWS account and region. "
                    f"Pipeline with name ({name}) already exists."
                )
            created = now()
            self.sagemaker.pipelines[name] = record_of(
                PipelineRecord,
                {"PipelineDisplayName": name},
                without(request, "PipelineDefinitionS3Location", "ClientRequestToken", "Tags"),
                {
                    "PipelineArn": arn,
                    "PipelineDefinition": definition,
                    "PipelineStatus": "Active",
                    "CreationTime": created,
                    "LastModifiedTime": created,
                    "CreatedBy": {},
                    "LastModifiedBy": {},
                },
            )
            add_version(self.sagemaker, self.sagemaker.pipelines[name])
            self.sagemaker.request_tokens[token] = {"Arn": arn}
            set_tags(self.sagemaker, arn, request.get("Tags"))
            self.sagemaker.changed()
        return {"PipelineArn": arn}

    @action("UpdatePipeline")
    def update(self, request: UpdatePipelineRequestTypeDef) -> Reply:
        """Executions that run keep the definition that they began with."""
        pipeline = self.pipeline(request["PipelineName"])
        definition = self._definition_text(request)
        if definition is not None:
            checked_definition(definition)
        kept = ("PipelineDisplayName", "PipelineDescription", "RoleArn", "ParallelismConfiguration")
        with self.sagemaker.lock:
            change(pipeline, {**chosen(request, kept), "LastModifiedTime": now()})
            if definition is not None:
                pipeline["PipelineDefinition"] = definition
            version = add_version(self.sagemaker, pipeline)
            self.sagemaker.changed()
        return {"PipelineArn": pipeline["PipelineArn"], "PipelineVersionId": version}

    def _definition_text(self, request: CreatePipelineRequestTypeDef | UpdatePipelineRequestTypeDef) -> str | None:
        location = request.get("PipelineDefinitionS3Location")
        if location is None:
            return request.get("PipelineDefinition")
        if "PipelineDefinition" in request:
            raise ServiceError("Expected either PipelineDefinition or PipelineDefinitionS3Location, got both.")
        try:
            wanted: GetObjectRequestTypeDef = {"Bucket": location["Bucket"], "Key": location["ObjectKey"]}
            if "VersionId" in location:
                wanted["VersionId"] = location["VersionId"]
            answer = self.sagemaker.account.client("s3").get_object(**wanted)
        except ClientError as error:
            where = f"s3://{location['Bucket']}/{location['ObjectKey']}"
            raise ServiceError(f"The pipeline definition {where} cannot be read: {error}") from error
        return str(answer["Body"].read().decode())

    @action("DescribePipeline")
    def describe(self, request: DescribePipelineRequestTypeDef) -> Reply:
        """Answers the pipeline with its newest definition, or with that of a version."""
        pipeline = self.pipeline(request["PipelineName"])
        return {
            **pipeline,
            **without(version_of(self.sagemaker, pipeline, request.get("PipelineVersionId")), "CreationTime"),
        }

    @action("DeletePipeline")
    def delete(self, request: DeletePipelineRequestTypeDef) -> Reply:
        """The pipeline's executions go with it.

        Raises ServiceError while one runs.
        """
        with self.sagemaker.lock:
            pipeline = self.pipeline(request["PipelineName"])
            arn = pipeline["PipelineArn"]
            executions = [e for e in self.sagemaker.pipeline_executions.values() if e["PipelineArn"] == arn]
            running = [e for e in executions if e["PipelineExecutionStatus"] in ("Executing", "Stopping")]
            if running:
                raise ServiceError(
                    f"Pipeline {arn} cannot be deleted: {len(running)} of its executions still run.",
                    "ConflictException",
                )
            for execution in executions:
                del self.sagemaker.pipeline_executions[execution["PipelineExecutionArn"]]
            del self.sagemaker.pipelines[pipeline["PipelineName"]]
            drop_versions(self.sagemaker, pipeline["PipelineName"])
            tokens = self.sagemaker.request_tokens
            for token in [t for t, made in tokens.items() if made["Arn"].startswith(arn)]:
                del tokens[token]
            drop_tags(self.sagemaker, arn)
            self.sagemaker.changed()
        return {"PipelineArn": arn}

    @action("ListPipelines")
    def list(self, request: ListPipelinesRequestTypeDef) -> Reply:
        """Answers a page of pipelines, the newest first."""
        prefix = request.get("PipelineNamePrefix", "")
        summaries: list[Mapping[str, object]] = [
            {**p, "LastExecutionTime": p["LastRunTime"]} if "LastRunTime" in p else p
            for p in self.sagemaker.pipelines.values()
            if p["PipelineName"].startswith(prefix)
        ]
        fields = [
            "PipelineArn", "PipelineName", "PipelineDisplayName", "PipelineDescription", "RoleArn", "CreationTime",
            "LastModifiedTime", "LastExecutionTime",
        ]  # fmt: skip
        return listing(summaries, request, key="PipelineSummaries", fields=fields, name_field="PipelineName")
