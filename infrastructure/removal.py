"""Removes everything of a stage that costs money or takes up a name: what the stack made, and what was made beside it.

Runs on a laptop. First has the stack disable its rules and schedules, because what these start would make again what
has just been removed. Deletes, in this order: pipelines with the logs of their jobs, endpoint, endpoint configurations,
models, model packages, the contents of the data bucket, the stack, what an invocation of its function made until then,
logs that nobody else deletes, the artifact bucket. Each part may be gone already, or be half there.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from infrastructure.cloudformation import FIRST_WAIT_SECONDS, Progress, StackError, StageStack
from scones.stage.connection import Connection

if TYPE_CHECKING:
    from types_boto3_application_autoscaling import ApplicationAutoScalingClient
    from types_boto3_kms import KMSClient
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef
    from types_boto3_sagemaker import SageMakerClient

MAX_LOOKS = 300
LOOK_SECONDS = 2.0
STACK_ATTEMPTS = 3
# DeleteObjects takes at most a thousand.
_BATCH = 1000
_JOBS = ("ProcessingJob", "TrainingJob", "TransformJob")


# What stays, costs nothing, and cannot be deleted or goes by itself.
KEPT = (
    ("the records of jobs and pipeline executions", "SageMaker does not delete them; they cost nothing"),
    (
        "the log groups /aws/sagemaker/*Jobs",
        "every project of the account writes there; the streams of this stage are gone",
    ),
    (
        "metrics and traces",
        "CloudWatch keeps metrics for 15 months and X-Ray traces for 30 days; neither can be deleted",
    ),
)


@dataclass
class Removal:
    """What was removed, a line each, and what was kept with the reason."""

    removed: list[str] = field(default_factory=list)
    kept: list[tuple[str, str]] = field(default_factory=list)


def destroy(connection: Connection, progress: Progress, sleep: Callable[[float], None] = time.sleep) -> Removal:
    """Remove the stage."""
    names = connection.names
    sagemaker, s3, logs = connection.client("sagemaker"), connection.client("s3"), connection.client("logs")
    done = Removal()

    def say(what: str) -> None:
        done.removed.append(what)
        progress(f"removed {what}")

    stack = StageStack(names.stack, connection.client("cloudformation"), sleep)
    stop_triggers(stack, say, progress)
    key = key_behind(connection.client("kms"), names.key_alias)
    pipelines = (names.training_pipeline, names.built_in_pipeline, names.monitoring_pipeline, names.collect_pipeline)
    for name in pipelines:
        remove_pipeline(sagemaker, logs, name, say, sleep)
    remove_scaling(connection.client("application-autoscaling"), names.endpoint, say)
    remove_endpoint(sagemaker, names.endpoint, say, sleep)
    remove_model_packages(sagemaker, names.model_package_group, say)
    remove_stack(stack, s3, names.data_bucket, say, progress)
    # Of an invocation that had begun before: now that its function is gone, there are no more.
    remove_endpoint(sagemaker, names.endpoint, say, sleep)
    for prefix in (f"/aws/sagemaker/Endpoints/{names.endpoint}", f"/aws/lambda/{names.prefix}-"):
        remove_log_groups(logs, prefix, say)
    # The data bucket is the stack's, unless CloudFormation gave it up in a deployment that failed half-way.
    for bucket in (names.data_bucket, names.artifact_bucket):
        if empty_bucket(s3, bucket, say):
            s3.delete_bucket(Bucket=bucket)
            say(f"bucket {bucket}")
    if key:
        done.kept.append(
            (f"key {key}", "KMS deletes it in seven days; until then it costs nothing and can be restored")
        )
    if done.removed:
        done.kept.extend(KEPT)
    return done


def stop_triggers(stack: StageStack, say: Progress, progress: Progress) -> None:
    """By an update of the stack, so that `scones deploy` enables them again if the removal does not get to its end."""
    try:
        if stack.change("Triggers", "DISABLED", progress):
            say(f"the rules and schedules of stack {stack.name}, until it goes itself")
    except StackError as error:
        progress(f"rules and schedules go on until the stack goes: {error}")


def key_behind(kms: KMSClient, alias: str) -> str | None:
    """The ARN of the stage's key; None when the alias does not exist."""
    try:
        found = kms.describe_key(KeyId=alias)["KeyMetadata"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NotFoundException":
            raise
        return None
    return str(found["Arn"])


def remove_log_groups(logs: CloudWatchLogsClient, prefix: str, say: Progress) -> None:
    """What functions and containers that have just been removed may still have written."""
    pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix)
    for name in [group["logGroupName"] for page in pages for group in page["logGroups"]]:
        logs.delete_log_group(logGroupName=name)
        say(f"log group {name}")


def remove_job_logs(logs: CloudWatchLogsClient, jobs: list[tuple[str, str]], say: Progress) -> None:
    """The streams of jobs (kind, name): the groups hold those of every job in the account."""
    removed = 0
    for kind, name in jobs:
        group = f"/aws/sagemaker/{kind}s"
        try:
            pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=group, logStreamNamePrefix=name)
            streams = [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
        except logs.exceptions.ResourceNotFoundException:
            continue
        for stream in streams:
            logs.delete_log_stream(logGroupName=group, logStreamName=stream)
        removed += len(streams)
    if removed:
        say(f"{removed} log streams of jobs")


def remove_stack(stack: StageStack, s3: S3Client, bucket: str, say: Progress, progress: Progress) -> None:
    """The stack with its bucket, which has to be empty: captures and logs of what was just removed may still arrive."""
    for attempt in range(STACK_ATTEMPTS):
        empty_bucket(s3, bucket, say)
        try:
            if stack.delete(progress):
                say(f"stack {stack.name}")
            return
        except StackError:
            if attempt == STACK_ATTEMPTS - 1:
                raise


def remove_pipeline(
    sagemaker: SageMakerClient, logs: CloudWatchLogsClient, name: str, say: Progress, sleep: Callable[[float], None]
) -> None:
    """Stop what runs, then delete what its steps left and the pipeline."""
    if not _exists(sagemaker.describe_pipeline, PipelineName=name):
        return
    for execution in list(_running(sagemaker, name)):
        sagemaker.stop_pipeline_execution(PipelineExecutionArn=execution, ClientRequestToken=uuid.uuid4().hex)
    _wait_until(lambda: not list(_running(sagemaker, name)), f"the executions of pipeline {name}", sleep)
    made = list(_made_by_steps(sagemaker, name))
    for model in (found for kind, found in made if kind == "Model"):
        if _exists(sagemaker.describe_model, ModelName=model):
            sagemaker.delete_model(ModelName=model)
            say(f"model {model}")
    remove_job_logs(logs, [(kind, job) for kind, job in made if kind in _JOBS], say)
    sagemaker.delete_pipeline(PipelineName=name, ClientRequestToken=uuid.uuid4().hex)
    say(f"pipeline {name}")


def remove_scaling(autoscaling: ApplicationAutoScalingClient, endpoint: str, say: Progress) -> None:
    """Else the alarms that scale the endpoint stay (Application Auto Scaling, DeregisterScalableTarget)."""
    pages = autoscaling.get_paginator("describe_scalable_targets").paginate(ServiceNamespace="sagemaker")
    for target in [target for page in pages for target in page["ScalableTargets"]]:
        if target["ResourceId"].startswith(f"endpoint/{endpoint}/"):
            autoscaling.deregister_scalable_target(
                ServiceNamespace="sagemaker",
                ResourceId=target["ResourceId"],
                ScalableDimension=target["ScalableDimension"],
            )
            say(f"scaling of {target['ResourceId']}")


def remove_endpoint(sagemaker: SageMakerClient, name: str, say: Progress, sleep: Callable[[float], None]) -> None:
    """The endpoint, then the configurations and models that were made for it."""
    if _exists(sagemaker.describe_endpoint, EndpointName=name):
        # DeleteEndpoint refuses an endpoint that is being created or updated.
        _wait_until(lambda: not _is_changing(sagemaker, name), f"the update of endpoint {name}", sleep)
        sagemaker.delete_endpoint(EndpointName=name)
        _wait_until(lambda: not _exists(sagemaker.describe_endpoint, EndpointName=name), f"endpoint {name}", sleep)
        say(f"endpoint {name}")
    for configs in list(sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=name)):
        for config in configs["EndpointConfigs"]:
            if config["EndpointConfigName"].startswith(f"{name}-"):
                sagemaker.delete_endpoint_config(EndpointConfigName=config["EndpointConfigName"])
                say(f"endpoint configuration {config['EndpointConfigName']}")
    for models in list(sagemaker.get_paginator("list_models").paginate(NameContains=name)):
        for model in models["Models"]:
            if model["ModelName"].startswith(f"{name}-"):
                sagemaker.delete_model(ModelName=model["ModelName"])
                say(f"model {model['ModelName']}")


def remove_model_packages(sagemaker: SageMakerClient, group: str, say: Progress) -> None:
    """The versions; the group itself belongs to the stack, which can only delete it empty."""
    if not _exists(sagemaker.describe_model_package_group, ModelPackageGroupName=group):
        return
    pages = sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
    for arn in [package["ModelPackageArn"] for page in pages for package in page["ModelPackageSummaryList"]]:
        sagemaker.delete_model_package(ModelPackageName=arn)
        say(f"model package {arn}")


def empty_bucket(s3: S3Client, bucket: str, say: Progress) -> bool:
    """Delete every version of every object; False when there is no such bucket."""
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchBucket"}:
            return False
        raise
    versions: list[ObjectIdentifierTypeDef] = []
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for item in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            versions.append({"Key": item["Key"], "VersionId": item["VersionId"]})
    for start in range(0, len(versions), _BATCH):
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": versions[start : start + _BATCH], "Quiet": True})
        if answer.get("Errors"):
            first = answer["Errors"][0]
            raise StackError(f"s3://{bucket}/{first['Key']} cannot be deleted: {first['Message']}")
    if versions:
        say(f"{len(versions)} object versions in bucket {bucket}")
    return True


def _running(sagemaker: SageMakerClient, pipeline: str) -> Iterator[str]:
    for page in sagemaker.get_paginator("list_pipeline_executions").paginate(PipelineName=pipeline):
        for execution in page["PipelineExecutionSummaries"]:
            if execution["PipelineExecutionStatus"] in {"Executing", "Stopping"}:
                yield execution["PipelineExecutionArn"]


def _made_by_steps(sagemaker: SageMakerClient, pipeline: str) -> Iterator[tuple[str, str]]:
    """The jobs and models of the pipeline's executions, as (kind, name): nothing else knows whose they are."""
    for page in sagemaker.get_paginator("list_pipeline_executions").paginate(PipelineName=pipeline):
        for execution in page["PipelineExecutionSummaries"]:
            pages = sagemaker.get_paginator("list_pipeline_execution_steps").paginate(
                PipelineExecutionArn=execution["PipelineExecutionArn"]
            )
            for step in (step for steps in pages for step in steps["PipelineExecutionSteps"]):
                for kind, found in step.get("Metadata", {}).items():
                    if kind in {*_JOBS, "Model"} and isinstance(found, Mapping) and "Arn" in found:
                        yield kind, str(found["Arn"]).rpartition("/")[2]


def _is_changing(sagemaker: SageMakerClient, endpoint: str) -> bool:
    status = sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"]
    return status in {"Creating", "Updating", "SystemUpdating", "RollingBack"}


def _exists(describe: Callable[..., object], **name: str) -> bool:
    try:
        describe(**name)
    except ClientError as error:
        message = error.response["Error"].get("Message", "").lower()
        if error.response["Error"]["Code"] == "ResourceNotFound" or "could not find" in message:
            return False
        if "does not exist" in message or "not found" in message:
            return False
        raise
    return True


def _wait_until(done: Callable[[], bool], what: str, sleep: Callable[[float], None]) -> None:
    wait = FIRST_WAIT_SECONDS
    for _ in range(MAX_LOOKS):
        if done():
            return
        sleep(wait)
        wait = min(wait * 1.5, LOOK_SECONDS)
    raise StackError(f"{what} did not come to an end within {MAX_LOOKS * LOOK_SECONDS / 60:.0f} minutes")
