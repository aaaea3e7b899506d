"""Models, the model registry and its events; and that every answer of SageMaker has the shape botocore expects."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_account.protocol.actions import actions_of
from local_account.sagemaker.jobs.processing import ProcessingJobs
from local_account.sagemaker.jobs.training import TrainingJobs
from local_account.sagemaker.jobs.transform import TransformJobs
from local_account.sagemaker.models import Models
from local_account.sagemaker.pipelines.actions import Pipelines
from local_account.sagemaker.pipelines.executions import PipelineExecutions
from local_account.sagemaker.registry import Registry
from local_account.sagemaker.tags import Tags
from tests.local.conftest import RunningAccount
from tests.local.queues import Queue
from tests.local.sagemaker_requests import (
    IMAGE,
    ROLE,
    bucket,
    processing_arguments,
    training_arguments,
    wait_for_execution,
    wait_for_job,
)


@pytest.fixture(scope="module")
def model_data(account: RunningAccount) -> str:
    name = bucket(account, f"registry-{uuid.uuid4().hex[:8]}")
    account.client("s3").put_object(Bucket=name, Key="model.tar.gz", Body=b"weights")
    return f"s3://{name}/model.tar.gz"


@pytest.fixture
def group(account: RunningAccount) -> str:
    name = f"group-{uuid.uuid4().hex[:8]}"
    account.client("sagemaker").create_model_package_group(ModelPackageGroupName=name)
    return name


def register(account: RunningAccount, group: str, model_data: str, **options: Any) -> str:
    specification = {
        "Containers": [{"Image": IMAGE, "ModelDataUrl": model_data}],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    answer = account.client("sagemaker").create_model_package(
        ModelPackageGroupName=group, InferenceSpecification=specification, **options
    )
    return str(answer["ModelPackageArn"])


def versions(account: RunningAccount, group: str, **options: Any) -> list[int]:
    listed = account.client("sagemaker").list_model_packages(ModelPackageGroupName=group, **options)
    return [package["ModelPackageVersion"] for package in listed["ModelPackageSummaryList"]]


def test_versions_count_up_and_a_deleted_number_never_comes_back(
    account: RunningAccount, group: str, model_data: str
) -> None:
    arns = [register(account, group, model_data) for _ in range(3)]
    assert [arn.rsplit("/", 1)[-1] for arn in arns] == ["1", "2", "3"]
    account.client("sagemaker").delete_model_package(ModelPackageName=arns[-1])
    assert register(account, group, model_data).endswith("/4")
    assert versions(account, group) == [1, 2, 4]  # ascending is AWS's default
    assert versions(account, group, SortOrder="Descending") == [4, 2, 1]
    assert versions(account, group, SortBy="CreationTime", SortOrder="Descending", MaxResults=1) == [4]


def test_an_update_keeps_what_it_does_not_name(account: RunningAccount, group: str, model_data: str) -> None:
    sagemaker = account.client("sagemaker")
    arn = register(
        account,
        group,
        model_data,
        CustomerMetadataProperties={"threshold": "0.9", "commit": "abc"},
        ModelPackageDescription="first",
    )
    assert sagemaker.describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"] == "PendingManualApproval"
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="good")
    sagemaker.update_model_package(
        ModelPackageArn=arn,
        CustomerMetadataProperties={"threshold": "0.8"},
        CustomerMetadataPropertiesToRemove=["commit"],
    )
    package = sagemaker.describe_model_package(ModelPackageName=arn)
    assert package["ModelApprovalStatus"] == "Approved"
    assert package["ApprovalDescription"] == "good"
    assert package["ModelPackageDescription"] == "first"
    assert package["CustomerMetadataProperties"] == {"threshold": "0.8"}
    assert package["ModelPackageStatus"] == "Completed"
    assert package["ModelPackageStatusDetails"] == {"ValidationStatuses": [], "ImageScanStatuses": []}
    assert versions(account, group, ModelApprovalStatus="Approved") == [1]
    assert versions(account, group, ModelApprovalStatus="Rejected") == []


def test_creation_and_approval_send_events(account: RunningAccount, group: str, model_data: str) -> None:
    queue, url = _queue_of_events(account, group)
    arn = register(account, group, model_data, ModelMetrics={"ModelQuality": {}})
    sagemaker = account.client("sagemaker")
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    sagemaker.update_model_package(ModelPackageArn=arn, CustomerMetadataProperties={"a": "b"})  # no change of status
    events: list[dict[str, Any]] = []
    deadline = time.monotonic() + 300
    while len(events) < 2 and time.monotonic() < deadline:
        received = queue.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        events += [json.loads(message["Body"]) for message in received.get("Messages", [])]
    events.sort(key=lambda e: e["detail"]["ModelApprovalStatus"])  # a queue does not keep the order
    assert [e["detail"]["ModelApprovalStatus"] for e in events] == ["Approved", "PendingManualApproval"]
    event = events[0]
    assert event["source"] == "aws.sagemaker"
    assert event["detail-type"] == "SageMaker Model Package State Change"
    assert event["resources"] == [arn]
    named = {
        "ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "CreationTime", "InferenceSpecification",
        "ModelPackageStatus", "ModelApprovalStatus", "ModelMetrics", "LastModifiedTime",
    }  # fmt: skip
    assert named <= event["detail"].keys()
    assert event["detail"]["ModelPackageVersion"] == 1
    assert not queue.receive_message(QueueUrl=url, WaitTimeSeconds=0).get("Messages")


def _queue_of_events(account: RunningAccount, group: str) -> tuple[Any, str]:
    sqs, events = account.client("sqs"), account.client("events")
    queue = Queue(account, group)
    url, arn = queue.url, queue.arn
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Model Package State Change"],
        "detail": {"ModelPackageGroupName": [group]},
    }
    events.put_rule(Name=group, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=group, Targets=[{"Id": "queue", "Arn": arn}])
    return sqs, url


def test_groups_refuse_what_aws_refuses(account: RunningAccount, group: str, model_data: str) -> None:
    sagemaker = account.client("sagemaker")
    arn = register(account, group, model_data)
    for call, message in [
        (lambda: sagemaker.create_model_package_group(ModelPackageGroupName=group), "already exists"),
        (lambda: sagemaker.delete_model_package_group(ModelPackageGroupName=group), "still contains Model Packages"),
        (lambda: sagemaker.describe_model_package_group(ModelPackageGroupName="no-such"), "does not exist"),
        (lambda: sagemaker.list_model_packages(ModelPackageGroupName="no-such"), "does not exist"),
        (lambda: sagemaker.describe_model_package(ModelPackageName=f"{arn}0"), "does not exist"),
        (lambda: register(account, "no-such", model_data), "does not exist"),
        (lambda: register(account, group, f"{model_data}.no"), "Could not find model data at"),
        (
            lambda: sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Maybe"),
            "Member must satisfy enum value set",
        ),
    ]:
        with pytest.raises(ClientError, match=message):
            call()
    sagemaker.delete_model_package(ModelPackageName=arn)
    sagemaker.delete_model_package_group(ModelPackageGroupName=group)


def test_only_an_approved_package_becomes_a_model(account: RunningAccount, group: str, model_data: str) -> None:
    sagemaker = account.client("sagemaker")
    arn = register(account, group, model_data)
    request = {"ModelName": group, "ExecutionRoleArn": ROLE, "Containers": [{"ModelPackageName": arn}]}
    with pytest.raises(ClientError, match="PendingManualApproval; only a model package that is Approved"):
        sagemaker.create_model(**request)
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    sagemaker.create_model(**request)
    assert sagemaker.describe_model(ModelName=group)["Containers"] == [{"ModelPackageName": arn}]
    with pytest.raises(ClientError, match="Cannot create already existing model"):
        sagemaker.create_model(**request)


def test_a_model_needs_its_data(account: RunningAccount, model_data: str) -> None:
    sagemaker = account.client("sagemaker")
    for container, message in [
        ({"Image": IMAGE, "ModelDataUrl": f"{model_data}.no"}, "Could not find model data"),
        ({"ModelPackageName": "arn:aws:sagemaker:us-east-1:123456789012:model-package/no/1"}, "Could not find"),
        ({}, "needs an Image or a ModelPackageName"),
    ]:
        with pytest.raises(ClientError, match=message):
            sagemaker.create_model(ModelName="incomplete", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    with pytest.raises(ClientError, match="Could not find model"):
        sagemaker.describe_model(ModelName="incomplete")


def test_the_registry_survives_a_crash(fresh_account: Any) -> None:
    before = fresh_account()
    sagemaker = before.client("sagemaker")
    name = bucket(before, "kept")
    before.client("s3").put_object(Bucket=name, Key="model.tar.gz", Body=b"weights")
    sagemaker.create_model_package_group(ModelPackageGroupName="kept", Tags=[{"Key": "a", "Value": "b"}])
    arns = [register(before, "kept", f"s3://{name}/model.tar.gz") for _ in range(2)]
    sagemaker.update_model_package(ModelPackageArn=arns[0], ModelApprovalStatus="Approved")
    sagemaker.delete_model_package(ModelPackageName=arns[1])
    _wait_until_saved(before)
    before.kill()
    after = fresh_account(before.state_dir)
    package = after.client("sagemaker").describe_model_package(ModelPackageName=arns[0])
    assert package["ModelApprovalStatus"] == "Approved"
    assert register(after, "kept", f"s3://{name}/model.tar.gz").endswith("/3")
    arn = after.client("sagemaker").describe_model_package_group(ModelPackageGroupName="kept")["ModelPackageGroupArn"]
    assert after.client("sagemaker").list_tags(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]


def _wait_until_saved(account: RunningAccount) -> None:
    """Changes are on disk within a second, the first ones of a new server somewhat later."""
    deadline = time.monotonic() + 300
    while not (account.state_dir / "services" / "s3").is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.5)


def test_an_unknown_action_is_an_error_of_the_service(account: RunningAccount) -> None:
    with pytest.raises(ClientError, match="does not implement SageMaker's ListNotebookInstances") as refused:
        account.client("sagemaker").list_notebook_instances()
    assert refused.value.response["Error"]["Code"] == "UnknownOperationException"


def _unknown_members(value: Any, shape: Any, path: str) -> list[str]:
    if shape.type_name == "structure":
        found = [f"{path}.{name}" for name in value.keys() - shape.members.keys()]
        known = value.keys() & shape.members.keys()
        return found + [m for n in known for m in _unknown_members(value[n], shape.members[n], f"{path}.{n}")]
    if shape.type_name == "list":
        return [m for i, item in enumerate(value) for m in _unknown_members(item, shape.member, f"{path}[{i}]")]
    if shape.type_name == "map":
        return [m for k, item in value.items() for m in _unknown_members(item, shape.value, f"{path}.{k}")]
    kinds: dict[str, Any] = {"timestamp": (int, float), "integer": int, "long": int, "boolean": bool, "string": str}
    right = isinstance(value, kinds.get(shape.type_name, (int, float, str)))
    return [] if right else [f"{path} is {value!r}, expected {shape.type_name}"]


def test_every_answer_has_the_members_its_shape_knows(account: RunningAccount) -> None:
    """Calls every action of these parts and reads what goes over the wire: boto3 itself drops unknown members."""
    parts = (Tags, Models, Registry, ProcessingJobs, TrainingJobs, TransformJobs, Pipelines, PipelineExecutions)
    actions = {name for part in parts for name in actions_of(part)}
    seen: dict[str, list[str]] = {}

    def check(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
        if response_dict["status_code"] == 200 and operation_model.output_shape is not None:
            body = json.loads(response_dict["body"] or b"{}")
            problems = _unknown_members(body, operation_model.output_shape, operation_model.name)
            missing = [m for m in operation_model.output_shape.required_members if m not in body]
            # AWS, too, leaves these out: versioned packages have no name, unfinished jobs no artifacts
            missing = [m for m in missing if m not in ("ModelPackageName", "ModelArtifacts")]
            seen.setdefault(operation_model.name, []).extend([*problems, *missing])
        elif response_dict["status_code"] == 200:
            seen.setdefault(operation_model.name, [])

    sagemaker = account.client("sagemaker")
    sagemaker.meta.events.register("before-parse.sagemaker.*", check)
    try:
        _call_everything(account, sagemaker)
    finally:
        sagemaker.meta.events.unregister("before-parse.sagemaker.*", check)
    assert {name: problems for name, problems in seen.items() if problems} == {}
    assert actions - seen.keys() == set()


def _call_everything(account: RunningAccount, sagemaker: Any) -> None:
    name = f"all-{uuid.uuid4().hex[:8]}"
    data = bucket(account, name)
    account.client("s3").put_object(Bucket=data, Key="model.tar.gz", Body=b"weights")
    training = training_arguments(data, {"t.py": "print('loss=1.5')"}, "t.py", account)
    training["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]
    arn = sagemaker.create_processing_job(ProcessingJobName=name, **processing_arguments("print(1)"))[
        "ProcessingJobArn"
    ]
    sagemaker.create_training_job(TrainingJobName=name, **training)
    wait_for_job(account, "Processing", name)
    wait_for_job(account, "Training", name)
    sagemaker.list_processing_jobs()
    sagemaker.list_training_jobs()
    sleeper = "import time; time.sleep(30)"
    sagemaker.create_processing_job(ProcessingJobName=f"{name}-2", **processing_arguments(sleeper))
    sagemaker.create_training_job(
        TrainingJobName=f"{name}-2", **training_arguments(data, {"t.py": sleeper}, "t.py", account)
    )
    sagemaker.stop_processing_job(ProcessingJobName=f"{name}-2")
    sagemaker.stop_training_job(TrainingJobName=f"{name}-2")
    wait_for_job(account, "Processing", f"{name}-2")
    wait_for_job(account, "Training", f"{name}-2")
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "b"}])
    sagemaker.list_tags(ResourceArn=arn)
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a"])

    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{data}/model.tar.gz"}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    sagemaker.describe_model(ModelName=name)
    sagemaker.list_models()
    sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=name,
        TransformInput={"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{data}/model"}}},
        TransformOutput={"S3OutputPath": f"s3://{data}/answers"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    sagemaker.stop_transform_job(TransformJobName=name)
    wait_for_job(account, "Transform", name)
    sagemaker.list_transform_jobs()
    sagemaker.delete_model(ModelName=name)

    sagemaker.create_model_package_group(ModelPackageGroupName=name)
    sagemaker.describe_model_package_group(ModelPackageGroupName=name)
    sagemaker.list_model_package_groups()
    sagemaker.put_model_package_group_policy(ModelPackageGroupName=name, ResourcePolicy="{}")
    sagemaker.get_model_package_group_policy(ModelPackageGroupName=name)
    sagemaker.delete_model_package_group_policy(ModelPackageGroupName=name)
    package = register(account, name, f"s3://{data}/model.tar.gz", ModelApprovalStatus="Approved")
    sagemaker.describe_model_package(ModelPackageName=package)
    sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Rejected")
    sagemaker.list_model_packages(ModelPackageGroupName=name)
    sagemaker.delete_model_package(ModelPackageName=package)
    sagemaker.delete_model_package_group(ModelPackageGroupName=name)

    cached = {"Enabled": True, "ExpireAfter": "PT1H"}
    steps = [
        {"Name": "P", "Type": "Processing", "Arguments": processing_arguments("print(1)"), "CacheConfig": cached},
        {"Name": "T", "Type": "Training", "Arguments": training},
        {
            "Name": "C",
            "Type": "Condition",
            "DependsOn": ["P", "T"],
            "Arguments": {
                "Conditions": [{"Type": "Equals", "LeftValue": 1, "RightValue": 1}],
                "IfSteps": [{"Name": "F", "Type": "Fail", "Arguments": {"ErrorMessage": "as meant"}}],
            },
        },
    ]
    text = json.dumps({"Version": "2020-12-01", "Parameters": [], "Steps": steps})
    sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=ROLE)
    sagemaker.update_pipeline(PipelineName=name, PipelineDescription="every action")
    for _ in range(2):
        execution = sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"]
        wait_for_execution(account, execution)
        sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=execution)
    sagemaker.retry_pipeline_execution(PipelineExecutionArn=execution)
    wait_for_execution(account, execution)
    slow = json.loads(text) | {
        "Steps": [{"Name": "S", "Type": "Processing", "Arguments": processing_arguments(sleeper)}]
    }
    sagemaker.update_pipeline(PipelineName=name, PipelineDefinition=json.dumps(slow))
    stopped = sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"]
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=stopped)
    wait_for_execution(account, stopped)
    sagemaker.list_pipeline_executions(PipelineName=name)
    sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=execution)
    sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=execution)
    sagemaker.describe_pipeline(PipelineName=name)
    sagemaker.list_pipelines()
    sagemaker.delete_pipeline(PipelineName=name)
