"""Deploys one stage: artifacts, then the stack, then the SageMaker pipelines. Deploying twice changes nothing.

Runs on a laptop or in CodeBuild. Reads the repository; writes the artifact bucket, the stack and the pipelines of the
connection's account, which is AWS or the stand-in account.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from infrastructure.cloudformation import Agree, Progress, StackError, StageStack, Wanted
from infrastructure.part_parameters import deployment_parameters, monitoring_parameters
from infrastructure.removal import destroy
from infrastructure.template import stage_template
from scones.artifacts import build as artifacts
from scones.artifacts.build import Artifact, Artifacts
from scones.artifacts.layers import image_layer
from scones.review import threshold
from scones.stage.connection import Connection
from scones.stage.sections import WorkflowSettings
from scones.traffic import schedule

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.literals import BucketLocationConstraintType
    from types_boto3_s3.type_defs import CreateBucketRequestTypeDef, TagTypeDef
    from types_boto3_sagemaker import SageMakerClient

__all__ = ["StackError", "StackOutputs", "deploy", "destroy", "outputs"]


# CreateChangeSet, TemplateBody; an object in S3 may have a million.
MAX_TEMPLATE_BYTES = 51_200


@dataclass(frozen=True)
class StackOutputs:
    """What a deployed stage consists of, as far as other code has to know."""

    data_bucket: str
    pipeline_role_arn: str
    processing_role_arn: str
    training_role_arn: str
    evaluation_role_arn: str
    transform_role_arn: str
    monitoring_role_arn: str
    model_role_arn: str
    data_key_arn: str
    workflow_arn: str
    express_workflow_arn: str
    batch_workflow_arn: str
    review_queue_url: str
    threshold_parameter: str


def deploy(
    connection: Connection, progress: Progress, agree: Agree = lambda _: True, *, plan: bool = False
) -> StackOutputs | None:
    """Bring the stage to the repository's state; None when ``agree`` says no to the stack's changes, or for a plan.

    Raises StackError with one line when that fails.
    """
    names = connection.names
    ensure_artifact_bucket(
        connection.client("s3"), names.artifact_bucket, connection.settings.region, names.tags, progress
    )
    built = build_artifacts(connection.settings.workflow)
    layer = image_layer(connection.settings.workflow.image_layer)
    uploaded = artifacts.upload([*built.all(), layer], connection.client("s3"), names.artifact_bucket)
    for key in uploaded:
        progress(f"uploaded s3://{names.artifact_bucket}/{key}")
    found = StageStack(names.stack, connection.client("cloudformation"))
    # CodeBuild's roles may make no role without one; it stays when somebody deploys by hand what delivery made.
    boundary = os.environ.get("SCONES_PERMISSIONS_BOUNDARY") or found.parameter("PermissionsBoundaryArn")
    wanted = Wanted(
        template_source(connection.client("s3"), names.artifact_bucket, connection.settings.region, stage_template()),
        template_parameters(connection, built, layer) | {"PermissionsBoundaryArn": boundary},
        names.tags,
        os.environ.get("SCONES_EXECUTION_ROLE", ""),  # CodeBuild's deploying role may do little itself
    )
    with threshold.kept(connection, progress), schedule.kept(connection, progress):
        agreed = found.apply(wanted, progress, agree)
    if plan or not agreed:
        return None
    outputs = _outputs(found.outputs())
    deploy_pipelines(connection, built, outputs, progress)
    return outputs


def template_source(s3: S3Client, bucket: str, region: str, text: str) -> str:
    """The template's text, or, when it is too long for a request, the address of a copy in the artifact bucket."""
    if len(text.encode()) <= MAX_TEMPLATE_BYTES:
        return text
    template = artifacts.document("templates/stage-{}.yaml", text)
    artifacts.upload([template], s3, bucket)
    return f"https://{bucket}.s3.{region}.amazonaws.com/{template.key}"


def outputs(connection: Connection) -> StackOutputs:
    """What the deployed stack says of itself. Raises StackError when there is no stack."""
    return _outputs(StageStack(connection.names.stack, connection.client("cloudformation")).outputs())


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
        "ProductionAccountId": settings.delivery.production_account_id,
        "SubnetIds": ",".join(settings.network.subnet_ids),
        "SecurityGroupIds": ",".join(settings.network.security_group_ids),
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
        "NotificationEmail": settings.notifications.email,
        "MonthlyBudgetUsd": f"{settings.cost.monthly_budget_usd:g}",
        "NamePrefix": names.prefix,
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
        **monitoring_parameters(connection, built),
        "CaptureUri": names.capture_uri,
        "ConfidenceThreshold": str(settings.confidence_threshold),
        "ThresholdCacheSeconds": str(settings.workflow.threshold_cache_s),
        "MlflowServerArn": settings.mlflow if settings.mlflow.startswith("arn:") else "",
        "Stage": settings.stage,
    }


def ensure_artifact_bucket(s3: S3Client, bucket: str, region: str, tags: Mapping[str, str], progress: Progress) -> None:
    """The bucket that must exist before the stack: private, encrypted, reached through TLS only."""
    try:
        s3.head_bucket(Bucket=bucket)
        return
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "NoSuchBucket"}:
            raise StackError(f"bucket {bucket} cannot be used: {error.response['Error'].get('Message')}") from error
    # us-east-1 is the one region that must not be named (CreateBucket, LocationConstraint).
    request: CreateBucketRequestTypeDef = {"Bucket": bucket}
    if region != "us-east-1":
        request["CreateBucketConfiguration"] = {"LocationConstraint": cast("BucketLocationConstraintType", region)}
    s3.create_bucket(**request)
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
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tag_list(tags)})
    progress(f"created bucket {bucket}")


def tag_list(tags: Mapping[str, str]) -> list[TagTypeDef]:
    """Return tags as S3 and SageMaker take them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tls_only_policy(bucket: str) -> dict[str, object]:
    """Return a bucket policy that refuses whatever does not come through TLS."""
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


def deploy_pipelines(connection: Connection, built: Artifacts, found: StackOutputs, progress: Progress) -> None:
    """Create or update the SageMaker pipelines."""
    # Here, because they import the SageMaker SDK, which takes seconds.
    from pipelines import built_in_pipeline, collect_pipeline, monitoring_pipeline, training_pipeline
    from pipelines.container_jobs import PipelineDeployment, Roles

    names = connection.names
    deployment = PipelineDeployment(
        names=names,
        settings=connection.settings,
        roles=Roles(
            pipeline=found.pipeline_role_arn,
            processing=found.processing_role_arn,
            training=found.training_role_arn,
            evaluation=found.evaluation_role_arn,
            transform=found.transform_role_arn,
            monitoring=found.monitoring_role_arn,
        ),
        data_key_arn=found.data_key_arn,
        source_archive_uri=built.source.uri(names.artifact_bucket),
        source_digest=built.source.sha256,
    )
    definitions = {
        names.training_pipeline: training_pipeline.definition(deployment),
        names.built_in_pipeline: built_in_pipeline.definition(deployment),
        names.monitoring_pipeline: monitoring_pipeline.definition(deployment),
        names.collect_pipeline: collect_pipeline.definition(deployment),
    }
    for name, definition in definitions.items():
        change = upsert_pipeline(
            connection.client("sagemaker"), name, definition, found.pipeline_role_arn, connection.names.tags
        )
        progress(f"pipeline {name} {change}")


def upsert_pipeline(
    sagemaker: SageMakerClient, name: str, definition: str, role_arn: str, tags: Mapping[str, str]
) -> str:
    """``created``, ``updated`` or ``is up to date``."""
    try:
        found = sagemaker.describe_pipeline(PipelineName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFound":
            raise
        sagemaker.create_pipeline(
            PipelineName=name,
            PipelineDefinition=definition,
            ClientRequestToken=uuid.uuid4().hex,
            RoleArn=role_arn,
            Tags=tag_list(tags),
        )
        return "created"
    if json.loads(found["PipelineDefinition"]) == json.loads(definition) and found["RoleArn"] == role_arn:
        return "is up to date"
    sagemaker.update_pipeline(PipelineName=name, PipelineDefinition=definition, RoleArn=role_arn)
    return "updated"


def _outputs(found: Mapping[str, str]) -> StackOutputs:
    try:
        return StackOutputs(
            data_bucket=found["DataBucketName"],
            pipeline_role_arn=found["PipelineRoleArn"],
            processing_role_arn=found["ProcessingRoleArn"],
            training_role_arn=found["TrainingRoleArn"],
            evaluation_role_arn=found["EvaluationRoleArn"],
            transform_role_arn=found["TransformRoleArn"],
            monitoring_role_arn=found["MonitoringRoleArn"],
            model_role_arn=found["ModelRoleArn"],
            data_key_arn=found["DataKeyArn"],
            workflow_arn=found["WorkflowArn"],
            express_workflow_arn=found["ExpressWorkflowArn"],
            batch_workflow_arn=found["BatchWorkflowArn"],
            review_queue_url=found["ReviewQueueUrl"],
            threshold_parameter=found["ThresholdParameterName"],
        )
    except KeyError as error:
        raise StackError(f"the stack has no output {error}: run `scones deploy` to bring it up to date") from error
