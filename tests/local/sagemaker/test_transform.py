"""Batch transform on the stand-in account: a foreign model answers each object of a prefix, or the job says why."""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local import foreign_models
from tests.local.conftest import RunningAccount
from tests.local.sagemaker_requests import ROLE, bucket, steps_of, wait_for_execution, wait_for_job

BINARY = "application/octet-stream"


@pytest.fixture(scope="module")
def data(account: RunningAccount) -> str:
    name = bucket(account, f"transform-{uuid.uuid4().hex[:8]}")
    s3 = account.client("s3")
    s3.put_object(Bucket=name, Key="model.tar.gz", Body=foreign_models.archive(weights="7"))
    for key, body in {
        "in/one.bin": b"\x01\x01",
        "in/deep/two.bin": b"\x02\x04",
        "in/": b"",  # a folder marker
        "into/neighbour.bin": b"\x09",
        "bad/empty.bin": b"",
        "bad/fine.bin": b"\x05",
        "slow/1": b"sleep",
        "slow/2": b"sleep",
        "slow/3": b"sleep",
        "slow/4": b"sleep",
        "slow/5": b"sleep",
    }.items():
        s3.put_object(Bucket=name, Key=key, Body=body)
    return name


@pytest.fixture(scope="module")
def model(account: RunningAccount, data: str) -> str:
    name = f"mean-{uuid.uuid4().hex[:8]}"
    container = {"Image": foreign_models.IMAGE, "ModelDataUrl": f"s3://{data}/model.tar.gz"}
    account.client("sagemaker").create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    return name


@pytest.fixture
def job_name() -> str:
    return f"job-{uuid.uuid4().hex[:12]}"


def arguments(data: str, model: Any, prefix: str, output: str, content_type: str = BINARY) -> dict[str, Any]:
    return {
        "ModelName": model,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{data}/{prefix}"}},
            "ContentType": content_type,
        },
        "TransformOutput": {"S3OutputPath": f"s3://{data}/{output}", "Accept": "application/json"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }


def run(account: RunningAccount, name: str, request: dict[str, Any]) -> dict[str, Any]:
    account.client("sagemaker").create_transform_job(TransformJobName=name, **request)
    return wait_for_job(account, "Transform", name)


def outputs(account: RunningAccount, data: str, prefix: str) -> dict[str, Any]:
    s3 = account.client("s3")
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=data, Prefix=prefix).get("Contents", [])]
    return {k.removeprefix(f"{prefix}/"): json.loads(s3.get_object(Bucket=data, Key=k)["Body"].read()) for k in keys}


def log_lines(account: RunningAccount, name: str) -> dict[str, list[str]]:
    logs, group = account.client("logs"), "/aws/sagemaker/TransformJobs"
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
    return {
        "data-log" if s["logStreamName"].endswith("/data-log") else "container": [
            e["message"] for e in logs.get_log_events(logGroupName=group, logStreamName=s["logStreamName"])["events"]
        ]
        for s in streams
    }


def test_every_object_of_the_prefix_gets_an_answer(
    account: RunningAccount, data: str, model: str, job_name: str
) -> None:
    job = run(account, job_name, arguments(data, model, "in/", f"out/{job_name}"))
    assert job["TransformJobStatus"] == "Completed", job
    assert job["CreationTime"] <= job["TransformStartTime"] <= job["TransformEndTime"]
    assert outputs(account, data, f"out/{job_name}") == {
        "one.bin.out": {"mean": 1.0, "model": 7.0},
        "deep/two.bin.out": {"mean": 3.0, "model": 7.0},
    }
    lines = log_lines(account, job_name)
    assert len([line for line in lines["container"] if "POST /invocations" in line]) == 2
    assert lines["data-log"][0].endswith("MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD")
    assert not list(account.state_dir.glob(f"*/*{job_name}*"))
    with pytest.raises(ClientError, match="must be unique"):
        run(account, job_name, arguments(data, model, "in/", "out/again"))


def test_several_instances_share_the_objects_of_a_job(
    account: RunningAccount, data: str, model: str, job_name: str
) -> None:
    request = arguments(data, model, "in/", f"out/{job_name}") | {"BatchStrategy": "SingleRecord"}
    request["TransformResources"]["InstanceCount"] = 2
    job = run(account, job_name, request)
    assert job["TransformJobStatus"] == "Completed", job
    assert sorted(outputs(account, data, f"out/{job_name}")) == ["deep/two.bin.out", "one.bin.out"]
    streams = account.client("logs").describe_log_streams(
        logGroupName="/aws/sagemaker/TransformJobs", logStreamNamePrefix=f"{job_name}/"
    )["logStreams"]
    assert len([stream for stream in streams if not stream["logStreamName"].endswith("/data-log")]) == 2


def test_an_object_that_fails_fails_the_job_and_the_others_keep_their_outputs(
    account: RunningAccount, data: str, model: str, job_name: str
) -> None:
    job = run(account, job_name, arguments(data, model, "bad/", f"out/{job_name}"))
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("AlgorithmError: See job logs for more information")
    assert "bad/empty.bin" in job["FailureReason"]
    assert "nothing to average" in job["FailureReason"]
    assert list(outputs(account, data, f"out/{job_name}")) == ["fine.bin.out"]
    data_log = log_lines(account, job_name)["data-log"]
    assert any(f"{data}/bad/empty.bin: Bad HTTP status received from algorithm: 500" in line for line in data_log)


def test_a_content_type_that_the_model_refuses_is_the_clients_error(
    account: RunningAccount, data: str, model: str, job_name: str
) -> None:
    job = run(account, job_name, arguments(data, model, "in/", f"out/{job_name}", content_type="image/gif"))
    assert job["FailureReason"].startswith("ClientError: See job logs for more information. 2 of 2 objects")
    assert "content type image/gif is not served" in job["FailureReason"]
    assert outputs(account, data, f"out/{job_name}") == {}


def test_captures_are_manifests_of_what_was_read_and_of_what_was_answered(
    account: RunningAccount, data: str, model: str, job_name: str
) -> None:
    place = f"captures/{job_name}"
    config = {"DataCaptureConfig": {"DestinationS3Uri": f"s3://{data}/{place}"}}
    job = run(account, job_name, arguments(data, model, "bad/", f"out/{job_name}") | config)
    assert job["DataCaptureConfig"] == config["DataCaptureConfig"]
    found = outputs(account, data, place)
    hour = f"{job['TransformEndTime'].astimezone(UTC):%Y/%m/%d}/"
    assert sorted(name.partition("/")[0] for name in found) == ["input", "output"]
    assert all(name.partition("/")[2].startswith(hour) for name in found)
    assert [found[name] for name in sorted(found)] == [
        [{"prefix": f"s3://{data}/bad/"}, "fine.bin"],
        [{"prefix": f"s3://{data}/out/{job_name}/"}, "fine.bin.out"],
    ]
    with pytest.raises(ClientError, match="appends no inference ids"):
        config["DataCaptureConfig"]["GenerateInferenceId"] = True  # type: ignore[assignment]  # a flag
        run(account, f"{job_name}-2", arguments(data, model, "in/", "out/again") | config)


def test_the_input_is_a_prefix(account: RunningAccount, data: str, model: str, job_name: str) -> None:
    run(account, job_name, arguments(data, model, "in/one", f"out/{job_name}"))
    assert list(outputs(account, data, f"out/{job_name}")) == ["one.bin.out"]
    job = run(account, f"{job_name}-2", arguments(data, model, "nothing/", "out"))
    assert job["FailureReason"].startswith("ClientError: Data download failed:No S3 objects found")


def test_a_payload_over_the_limit_has_no_output(account: RunningAccount, data: str, model: str, job_name: str) -> None:
    account.client("s3").put_object(Bucket=data, Key=f"{job_name}/large.bin", Body=b"\x01" * (1024 * 1024 + 1))
    request = arguments(data, model, f"{job_name}/", f"out/{job_name}") | {"MaxPayloadInMB": 1}
    assert "Too much data for max payload size" in run(account, job_name, request)["FailureReason"]


def test_a_container_that_does_not_start_fails_the_job(account: RunningAccount, data: str, job_name: str) -> None:
    sagemaker = account.client("sagemaker")
    body = foreign_models.archive("raise ImportError('no such library')")
    account.client("s3").put_object(Bucket=data, Key=f"{job_name}.tar.gz", Body=body)
    container = {"Image": foreign_models.IMAGE, "ModelDataUrl": f"s3://{data}/{job_name}.tar.gz"}
    sagemaker.create_model(ModelName=job_name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    job = run(account, job_name, arguments(data, job_name, "in/", f"out/{job_name}"))
    assert job["FailureReason"].startswith("AlgorithmError: See job logs for more information")
    assert "no such library" in job["FailureReason"]


def test_a_stopped_job_stores_nothing(account: RunningAccount, data: str, model: str, job_name: str) -> None:
    sagemaker = account.client("sagemaker")
    sagemaker.create_transform_job(
        TransformJobName=job_name, **arguments(data, model, "slow/", f"out/{job_name}"), MaxConcurrentTransforms=1
    )
    while "TransformStartTime" not in sagemaker.describe_transform_job(TransformJobName=job_name):
        time.sleep(0.02)
    sagemaker.stop_transform_job(TransformJobName=job_name)
    assert wait_for_job(account, "Transform", job_name)["TransformJobStatus"] == "Stopped"
    assert outputs(account, data, f"out/{job_name}") == {}
    listed = sagemaker.list_transform_jobs(NameContains=job_name, StatusEquals="Stopped")["TransformJobSummaries"]
    assert [job["TransformJobName"] for job in listed] == [job_name]
    with pytest.raises(ClientError, match="is in status Stopped"):
        sagemaker.stop_transform_job(TransformJobName=job_name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ModelName": "nobody"}, "Could not find model"),
        ({"DataProcessing": {"InputFilter": "$[?(@.a)]"}}, "DataProcessing"),
        ({"MaxPayloadInMB": 50, "MaxConcurrentTransforms": 3}, "must not exceed 100 MB, got 150"),
        (
            {"TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 21}},
            "at most 20 instances, got 21",
        ),
        ({"TransformResources": {"InstanceType": "laptop", "InstanceCount": 1}}, "satisfy enum value set"),
        ({"BatchStrategy": "Half"}, "satisfy enum value set"),
    ],
)
def test_what_cannot_run_is_refused(
    account: RunningAccount, model: str, job_name: str, change: dict[str, Any], message: str
) -> None:
    request = arguments("any-bucket", model, "in/", "out") | change
    with pytest.raises(ClientError, match=message):
        account.client("sagemaker").create_transform_job(TransformJobName=job_name, **request)


def test_a_pipeline_makes_a_model_and_transforms_with_it(account: RunningAccount, data: str) -> None:
    create = {
        "Name": "Make",
        "Type": "Model",
        "Arguments": {
            "ExecutionRoleArn": ROLE,
            "PrimaryContainer": {"Image": foreign_models.IMAGE, "ModelDataUrl": f"s3://{data}/model.tar.gz"},
        },
    }
    folder = {"Std:Join": {"On": "/", "Values": [f"s3://{data}", {"Get": "Execution.PipelineExecutionId"}]}}
    transform = arguments(data, {"Get": "Steps.Make.ModelName"}, "in/", "replaced")
    transform["TransformOutput"]["S3OutputPath"] = folder
    document = {
        "Version": "2020-12-01",
        "Steps": [create, {"Name": "Answer", "Type": "Transform", "Arguments": transform}],
    }
    sagemaker, name = account.client("sagemaker"), f"pipeline-{uuid.uuid4().hex[:8]}"
    sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=json.dumps(document), RoleArn=ROLE)
    arn = sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"]
    assert wait_for_execution(account, arn)["PipelineExecutionStatus"] == "Succeeded"
    steps = steps_of(account, arn)
    job = steps["Answer"]["Metadata"]["TransformJob"]["Arn"].rsplit("/", 1)[-1]
    assert sagemaker.describe_transform_job(TransformJobName=job)["TransformJobStatus"] == "Completed"
    assert set(outputs(account, data, arn.rsplit("/", 1)[-1])) == {"one.bin.out", "deep/two.bin.out"}
