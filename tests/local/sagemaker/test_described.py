"""What Describe tells of what a request left out, and what SageMaker's lesser members do: defaults and side outputs."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import RunningAccount
from tests.local.sagemaker_requests import (
    IMAGE,
    ROLE,
    bucket,
    channel,
    processing_arguments,
    run_training,
    training_arguments,
    wait_for_job,
)


@pytest.fixture(scope="module")
def data(account: RunningAccount) -> str:
    name = bucket(account, f"sagemaker-described-{uuid.uuid4().hex[:8]}")
    account.client("s3").put_object(Bucket=name, Key="in/a.csv", Body=b"1\n")
    account.client("s3").put_object(Bucket=name, Key="model.tar.gz", Body=b"packed")
    return name


@pytest.fixture
def name() -> str:
    return f"described-{uuid.uuid4().hex[:12]}"


def text_of(account: RunningAccount, data: str, key: str) -> str:
    found: str = account.client("s3").get_object(Bucket=data, Key=key)["Body"].read().decode()
    return found


def test_training_tells_its_defaults_and_keeps_what_tensorboard_and_the_debugger_read(
    account: RunningAccount, data: str, name: str
) -> None:
    code = (
        "import pathlib\n"
        "for folder in ('tensorboard', 'tensors'):\n"
        "    place = pathlib.Path('/opt/ml/output', folder)\n"
        "    place.mkdir(parents=True, exist_ok=True)\n"
        "    (place / 'events').write_text(folder)\n"
        "assert 'CollectionConfigurations' in open('/opt/ml/input/config/debughookconfig.json').read()\n"
    )
    request = training_arguments(data, {"train.py": code}, "train.py", account)
    request["InputDataConfig"] = [channel("train", f"s3://{data}/in")]
    request["TensorBoardOutputConfig"] = {"S3OutputPath": f"s3://{data}/board"}
    request["DebugHookConfig"] = {"S3OutputPath": f"s3://{data}/debug/", "CollectionConfigurations": []}
    request["ProfilerConfig"] = {"S3OutputPath": f"s3://{data}/profile", "DisableProfiler": False}
    request["RetryStrategy"] = {"MaximumRetryAttempts": 2}
    del request["StoppingCondition"]
    job = run_training(account, name, request)
    assert job["TrainingJobStatus"] == "Completed", job
    assert job["OutputDataConfig"] == {"KmsKeyId": "", "S3OutputPath": f"s3://{data}/models", "CompressionType": "GZIP"}
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}
    assert job["AlgorithmSpecification"]["EnableSageMakerMetricsTimeSeries"] is False
    source = job["InputDataConfig"][0]
    assert (source["CompressionType"], source["RecordWrapperType"]) == ("None", "None")
    assert source["DataSource"]["S3DataSource"]["S3DataDistributionType"] == "FullyReplicated"
    assert (job["ProfilingStatus"], job["EnableManagedSpotTraining"]) == ("Disabled", False)
    assert job["RetryStrategy"] == {"MaximumRetryAttempts": 2}
    assert text_of(account, data, f"board/{name}/tensorboard-output/events") == "tensorboard"
    assert text_of(account, data, f"debug/{name}/debug-output/events") == "tensors"


def test_a_continuous_output_is_there_while_the_job_runs(account: RunningAccount, data: str, name: str) -> None:
    sagemaker, s3 = account.client("sagemaker"), account.client("s3")
    code = (
        "import pathlib, time; pathlib.Path('/opt/ml/processing/out/first').write_text('1'); "
        "[time.sleep(0.1) for _ in iter(pathlib.Path('/opt/ml/processing/never').exists, True)]"
    )
    request = processing_arguments(code, inputs={"given": f"s3://{data}/in"}, output_uri=f"s3://{data}/{name}")
    request["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3UploadMode"] = "Continuous"
    mine = {"InputName": "mine", "AppManaged": True}
    sagemaker.create_processing_job(
        ProcessingJobName=name, **request | {"ProcessingInputs": [*request["ProcessingInputs"], mine]}
    )
    while not s3.list_objects_v2(Bucket=data, Prefix=f"{name}/first").get("Contents"):
        job = sagemaker.describe_processing_job(ProcessingJobName=name)
        assert job["ProcessingJobStatus"] == "InProgress", job
        time.sleep(0.1)
    job = sagemaker.describe_processing_job(ProcessingJobName=name)
    assert [given["AppManaged"] for given in job["ProcessingInputs"]] == [False, True]
    given = job["ProcessingInputs"][0]["S3Input"]
    assert (given["S3DataDistributionType"], given["S3CompressionType"]) == ("FullyReplicated", "None")
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}
    sagemaker.stop_processing_job(ProcessingJobName=name)
    assert wait_for_job(account, "Processing", name)["ProcessingJobStatus"] == "Stopped"


def container(data: str) -> dict[str, Any]:
    return {"Image": IMAGE, "ModelDataUrl": f"s3://{data}/model.tar.gz"}


def test_models_and_packages_tell_their_defaults(account: RunningAccount, data: str, name: str) -> None:
    sagemaker = account.client("sagemaker")
    sagemaker.create_model(ModelName=name, PrimaryContainer=container(data), ExecutionRoleArn=ROLE)
    told = sagemaker.describe_model(ModelName=name)["PrimaryContainer"]
    assert told["Mode"] == "SingleModel"
    assert told["ModelDataSource"]["S3DataSource"]["CompressionType"] == "Gzip"
    sagemaker.create_model_package_group(ModelPackageGroupName=name)
    specification = {
        "Containers": [container(data)],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    request = {
        "ModelPackageGroupName": name,
        "InferenceSpecification": specification,
        "AdditionalInferenceSpecifications": [{"Name": "small", "Containers": [container(data)]}],
        "ModelApprovalStatus": "Approved",
        "ClientToken": name,
    }
    arn = sagemaker.create_model_package(**request)["ModelPackageArn"]
    assert sagemaker.create_model_package(**request)["ModelPackageArn"] == arn, "the same request makes one version"
    package = sagemaker.describe_model_package(ModelPackageName=arn)
    known = package["InferenceSpecification"]["Containers"][0]
    etag = account.client("s3").head_object(Bucket=data, Key="model.tar.gz")["ETag"].strip('"')
    assert (known["ModelDataETag"], known["IsCheckpoint"]) == (etag, False)
    named = {"ModelPackageName": arn, "InferenceSpecificationName": "large"}
    with pytest.raises(ClientError, match="no inference specification 'large'"):
        sagemaker.create_model(ModelName=f"{name}-2", PrimaryContainer=named, ExecutionRoleArn=ROLE)
    named["InferenceSpecificationName"] = "small"
    sagemaker.create_model(ModelName=f"{name}-2", PrimaryContainer=named, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "v", "ModelName": f"{name}-2", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    assert sagemaker.describe_endpoint_config(EndpointConfigName=name)["EnableNetworkIsolation"] is False


def test_what_does_nothing_is_refused_by_name(account: RunningAccount, data: str, name: str) -> None:
    sagemaker = account.client("sagemaker")
    refused = {
        "Mode": lambda: sagemaker.create_model(
            ModelName=name, PrimaryContainer={**container(data), "Mode": "MultiModel"}, ExecutionRoleArn=ROLE
        ),
        "ValidationSpecification.*no transform job": lambda: sagemaker.create_model_package(
            ModelPackageName=name,
            ValidationSpecification={"ValidationRole": ROLE, "ValidationProfiles": []},
        ),
        "takes CUSTOMER for ListPipelines.s ManagedBy": lambda: sagemaker.list_pipelines(ManagedBy="AWS"),
        "ProductionVariants.EnableSSMAccess": lambda: sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[{"VariantName": "v", "ModelName": name, "EnableSSMAccess": True}],
        ),
    }
    for message, call in refused.items():
        with pytest.raises(ClientError, match=message) as error:
            call()
        assert error.value.response["Error"]["Code"] == "ValidationException"


def test_lists_are_sorted_as_asked(account: RunningAccount, data: str, name: str) -> None:
    sagemaker = account.client("sagemaker")
    for letter in "bca":
        sagemaker.create_model(ModelName=f"{name}-{letter}", PrimaryContainer=container(data), ExecutionRoleArn=ROLE)
    for order, expected in (("Ascending", ["a", "b", "c"]), ("Descending", ["c", "b", "a"])):
        found = sagemaker.list_models(NameContains=name, SortBy="Name", SortOrder=order)["Models"]
        assert [model["ModelName"][-1] for model in found] == expected
