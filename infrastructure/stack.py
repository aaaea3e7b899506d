"""Deploys one stage: artifacts, then the stack, then the SageMaker pipelines. Deploying twice changes nothing.

Runs on a laptop or in CodeBuild. Reads the repository; writes the artifact bucket, the stack and the pipelines of the
connection's account, which is AWS or the stand-in account.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from infrastructure.cloudformation import Progress, Stack, StackError
from infrastructure.deployment_parameters import deployment_parameters
from infrastructure.removal import destroy
from infrastructure.template import stage_template
from scones import artifacts, threshold
from scones.artifacts import Artifact, Artifacts
from scones.connection import Connection
from scones.layers import image_layer
from scones.settings import WorkflowSettings

__all__ = ["StackError", "StackOutputs", "deploy", "destroy", "outputs"]


@dataclass(frozen=True)
class StackOutputs:
    """What a deployed stage consists of, as far as other code has to know."""

    data_bucket: str
    job_role_arn: str
    model_role_arn: str
    workflow_arn: str
    express_workflow_arn: str
    batch_workflow_arn: str
    review_queue_url: str
    threshold_parameter: str


def deploy(connection: Connection, progress: Progress) -> StackOutputs:
    """Bring the stage to the repository's state. Raises StackError with one line when that fails."""
    names = connection.names
    ensure_artifact_bucket(connection.client("s3"), names.artifact_bucket, connection.settings.region, progress)
    built = build_artifacts(connection.settings.workflow)
    layer = image_layer(connection.settings.workflow.image_layer)
    uploaded = artifacts.upload([*built.all(), layer], connection.client("s3"), names.artifact_bucket)
    for key in uploaded:
        progress(f"uploaded s3://{names.artifact_bucket}/{key}")
    with threshold.kept(connection, progress):
        found = Stack(names.stack, connection.client("cloudformation")).apply(
            stage_template(),
            template_parameters(connection, built, layer),
            {"project": names.project, "stage": names.stage},
            progress,
        )
    outputs = _outputs(found)
    deploy_pipelines(connection, built, outputs.job_role_arn, progress)
    return outputs


def outputs(connection: Connection) -> StackOutputs:
    """What the deployed stack says of itself. Raises StackError when there is no stack."""
    return _outputs(Stack(connection.names.stack, connection.client("cloudformation")).outputs())


def build_artifacts(choices: WorkflowSettings | None = None) -> Artifacts:
    """Everything that is uploaded and built from the repository; the image layer comes from elsewhere."""
    # Here, because it imports two SDKs, which takes seconds.
    from inference_workflow.definitions import definitions

    choices = choices or WorkflowSettings()
    return artifacts.build(definitions(choices.query_language, choices.on_low_confidence))


def template_parameters(connection: Connection, built: Artifacts, layer: Artifact) -> dict[str, str]:
    """A value for each parameter of the template without a default."""
    # Here, because it imports the SageMaker SDK, which takes seconds.
    from pipelines.built_in_pipeline import algorithm_image

    names, settings = connection.names, connection.settings
    return {
        "BuiltInAlgorithmsAccount": algorithm_image(settings.region).partition(".")[0],
        "ArtifactBucketName": names.artifact_bucket,
        "SerializeImageKey": built.functions["serialize_image"].key,
        "ClassifyImageKey": built.functions["classify_image"].key,
        "FilterInferencesKey": built.functions["filter_inferences"].key,
        "ClassifyBatchKey": built.functions["classify_batch"].key,
        "SummarizeBatchKey": built.functions["summarize_batch"].key,
        "ImageLayerKey": layer.key,
        "WorkflowKey": built.documents["inference-workflow"].key,
        "ExpressWorkflowKey": built.documents["inference-express"].key,
        "BatchWorkflowKey": built.documents["batch-workflow"].key,
        "DataBucketName": names.data_bucket,
        "DataKeyAlias": names.key_alias,
        "NotificationTopicName": names.notification_topic,
        "SerializeImageName": names.function("serialize_image"),
        "ClassifyImageName": names.function("classify_image"),
        "FilterInferencesName": names.function("filter_inferences"),
        "ClassifyBatchName": names.function("classify_batch"),
        "SummarizeBatchName": names.function("summarize_batch"),
        "ImageLayerName": names.image_layer,
        "WorkflowName": names.workflow,
        "ExpressWorkflowName": names.express_workflow,
        "BatchWorkflowName": names.batch_workflow,
        "ReviewQueueName": names.review_queue,
        "ReviewDeadLetterQueueName": names.review_dead_letter_queue,
        "ThresholdParameterName": names.threshold_parameter,
        "ModelPackageGroupName": names.model_package_group,
        **deployment_parameters(connection, built),
        "CaptureUri": names.capture_uri,
        "ConfidenceThreshold": str(settings.confidence_threshold),
        "ThresholdCacheSeconds": str(settings.workflow.threshold_cache_s),
        "Stage": settings.stage,
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
    """Create or update the SageMaker pipelines."""
    # Here, because they import the SageMaker SDK, which takes seconds.
    from pipelines import built_in_pipeline, monitoring_pipeline, training_pipeline
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
        names.built_in_pipeline: built_in_pipeline.definition(deployment),
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
            express_workflow_arn=found["ExpressWorkflowArn"],
            batch_workflow_arn=found["BatchWorkflowArn"],
            review_queue_url=found["ReviewQueueUrl"],
            threshold_parameter=found["ThresholdParameterName"],
        )
    except KeyError as error:
        raise StackError(f"the stack has no output {error}: run `scones deploy` to bring it up to date") from error
