"""Deploys one stage: artifacts, then the stack, then the two SageMaker pipelines. Deploying twice changes nothing.

Runs on a laptop or in CodeBuild. Reads the repository and `templates/stack.yaml`; writes the artifact bucket, the
stack and the pipelines of the connection's account, which is AWS or the stand-in account.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from infrastructure.cloudformation import Progress, Stack, StackError
from infrastructure.removal import destroy
from scones import artifacts
from scones.artifacts import Artifacts
from scones.connection import Connection

__all__ = ["StackError", "StackOutputs", "deploy", "destroy", "outputs"]

TEMPLATE = Path(__file__).parent / "templates" / "stack.yaml"
WORKFLOW_DOCUMENT = "inference-workflow"


@dataclass(frozen=True)
class StackOutputs:
    """What a deployed stage consists of, as far as other code has to know."""

    data_bucket: str
    job_role_arn: str
    model_role_arn: str
    workflow_arn: str


def deploy(connection: Connection, progress: Progress) -> StackOutputs:
    """Bring the stage to the repository's state. Raises StackError with one line when that fails."""
    names = connection.names
    ensure_artifact_bucket(connection.client("s3"), names.artifact_bucket, connection.settings.region, progress)
    built = build_artifacts()
    uploaded = artifacts.upload(built.all(), connection.client("s3"), names.artifact_bucket)
    for key in uploaded:
        progress(f"uploaded s3://{names.artifact_bucket}/{key}")
    found = Stack(names.stack, connection.client("cloudformation")).apply(
        TEMPLATE.read_text(encoding="utf-8"),
        template_parameters(connection, built),
        {"project": names.project, "stage": names.stage},
        progress,
    )
    outputs = _outputs(found)
    deploy_pipelines(connection, built, outputs.job_role_arn, progress)
    return outputs


def outputs(connection: Connection) -> StackOutputs:
    """What the deployed stack says of itself. Raises StackError when there is no stack."""
    return _outputs(Stack(connection.names.stack, connection.client("cloudformation")).outputs())


def build_artifacts() -> Artifacts:
    """Everything that is uploaded, built from the repository."""
    # Here, because it imports two SDKs, which takes seconds.
    from inference_workflow import workflow

    return artifacts.build({WORKFLOW_DOCUMENT: workflow.definition()})


def template_parameters(connection: Connection, built: Artifacts) -> dict[str, str]:
    """A value for each parameter of the template without a default."""
    names, settings = connection.names, connection.settings
    return {
        "ArtifactBucketName": names.artifact_bucket,
        "SerializeImageKey": built.functions["serialize_image"].key,
        "ClassifyImageKey": built.functions["classify_image"].key,
        "FilterInferencesKey": built.functions["filter_inferences"].key,
        "DeployApprovedModelKey": built.functions["deploy_approved_model"].key,
        "WorkflowKey": built.documents[WORKFLOW_DOCUMENT].key,
        "DataBucketName": names.data_bucket,
        "SerializeImageName": names.function("serialize_image"),
        "ClassifyImageName": names.function("classify_image"),
        "FilterInferencesName": names.function("filter_inferences"),
        "DeployApprovedModelName": names.function("deploy_approved_model"),
        "WorkflowName": names.workflow,
        "ModelPackageGroupName": names.model_package_group,
        "EndpointName": names.endpoint,
        "ApprovalRuleName": names.approval_rule,
        "EndpointInstanceType": settings.pipeline.endpoint_instance_type,
        "CaptureUri": names.capture_uri,
        "ConfidenceThreshold": str(settings.confidence_threshold),
    }


def ensure_artifact_bucket(s3: Any, bucket: str, region: str, progress: Progress) -> None:
    """The bucket that must exist before the stack: private, encrypted, reached through TLS only."""
    try:
        s3.head_bucket(Bucket=bucket)
        return
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "NoSuchBucket"}:
            raise StackError(f"bucket {bucket} cannot be used: {error.response['Error'].get('Message')}") from error
    # us-east-1 is the one region that must not be named (CreateBucket, LocationConstraint).
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=bucket, **place)
    s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(tls_only_policy(bucket)))
    progress(f"created bucket {bucket}")


def tls_only_policy(bucket: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "RefuseUnencryptedTransport",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


def deploy_pipelines(connection: Connection, built: Artifacts, role_arn: str, progress: Progress) -> None:
    """Create or update both SageMaker pipelines."""
    # Here, because they import the SageMaker SDK, which takes seconds.
    from pipelines import monitoring_pipeline, training_pipeline
    from pipelines.container_jobs import Deployment

    names = connection.names
    deployment = Deployment(
        names=names,
        settings=connection.settings,
        role_arn=role_arn,
        source_archive_uri=built.source.uri(names.artifact_bucket),
        source_digest=built.source.sha256,
    )
    definitions = {
        names.training_pipeline: training_pipeline.definition(deployment),
        names.monitoring_pipeline: monitoring_pipeline.definition(deployment),
    }
    for name, definition in definitions.items():
        change = upsert_pipeline(connection.client("sagemaker"), name, definition, role_arn)
        progress(f"pipeline {name} {change}")


def upsert_pipeline(sagemaker: Any, name: str, definition: str, role_arn: str) -> str:
    """``created``, ``updated`` or ``is up to date``."""
    try:
        found = sagemaker.describe_pipeline(PipelineName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFound":
            raise
        sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=definition, RoleArn=role_arn)
        return "created"
    if json.loads(found["PipelineDefinition"]) == json.loads(definition) and found["RoleArn"] == role_arn:
        return "is up to date"
    sagemaker.update_pipeline(PipelineName=name, PipelineDefinition=definition, RoleArn=role_arn)
    return "updated"


def _outputs(found: Mapping[str, str]) -> StackOutputs:
    try:
        return StackOutputs(
            data_bucket=found["DataBucketName"],
            job_role_arn=found["JobRoleArn"],
            model_role_arn=found["ModelRoleArn"],
            workflow_arn=found["WorkflowArn"],
        )
    except KeyError as error:
        raise StackError(f"the stack has no output {error}: run `scones deploy` to bring it up to date") from error
