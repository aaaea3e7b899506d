"""Managed spot training and checkpoints on the stand-in account: interrupted, stopped, and what is refused."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import RunningAccount
from tests.local.sagemaker_requests import bucket, job_log, training_arguments, wait_for_job

# Counts from where its checkpoint says. After three steps of a first run it waits to be asked to end, and leaves a note
# then: so whatever comes in between comes after the third step, however busy the machine is.
COUNT = """
import pathlib, signal, sys, time
folder = pathlib.Path(__CHECKPOINTS__)
step = folder / "step"
def end(*_):
    (folder / "asked").write_text("to end")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
start = int(step.read_text()) if step.exists() else 0
print(f"starts after {start}", flush=True)
for number in range(start + 1, __LAST__ + 1):
    time.sleep(0.2)
    print(f"epoch={number}", flush=True)
    step.write_text(str(number))
    while number - start == 3 == number:
        time.sleep(0.1)
"""
STEPS = 8


@pytest.fixture(scope="module")
def data(account: RunningAccount) -> str:
    return bucket(account, f"spot-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def job_name() -> str:
    return f"job-{uuid.uuid4().hex[:12]}"


def counting(account: RunningAccount, data: str, name: str, last: int) -> dict[str, Any]:
    """A spot job with checkpoints. The folder comes as an argument, because a script may not spell /opt/ml out."""
    code = COUNT.replace("__CHECKPOINTS__", "sys.argv[sys.argv.index('--checkpoints') + 1]").replace(
        "__LAST__", f"{last}"
    )
    request = training_arguments(data, {"train.py": code}, "train.py", account, checkpoints="/opt/ml/checkpoints")
    request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "epoch", "Regex": "epoch=([0-9]+)"}]
    return request | {
        "CheckpointConfig": {"S3Uri": f"s3://{data}/{name}"},
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 3600},
    }


def read(account: RunningAccount, data: str, key: str) -> str:
    try:
        return str(account.client("s3").get_object(Bucket=data, Key=key)["Body"].read().decode())
    except account.client("s3").exceptions.NoSuchKey:
        return ""


def wait_until(condition: Callable[[], Any], timeout_s: float = 600) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_interrupted_job_goes_on_from_its_checkpoint(account: RunningAccount, data: str, job_name: str) -> None:
    sagemaker = account.client("sagemaker")
    arn = sagemaker.create_training_job(TrainingJobName=job_name, **counting(account, data, job_name, STEPS))[
        "TrainingJobArn"
    ]
    wait_until(lambda: read(account, data, f"{job_name}/step") == "3")
    assert sagemaker.describe_training_job(TrainingJobName=job_name)["TrainingJobStatus"] == "InProgress"
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "local-account:spot-interruption", "Value": "now"}])
    job = wait_for_job(account, "Training", job_name)
    assert job["TrainingJobStatus"] == "Completed", job
    assert [t["Status"] for t in job["SecondaryStatusTransitions"]] == [
        "Starting",
        "Downloading",
        "Training",
        "Interrupted",
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    lines = [line for line in job_log(account, "Training", job_name) if line.startswith(("starts", "epoch="))]
    epochs = [line for line in lines if line.startswith("epoch=")]
    assert epochs == [f"epoch={number}" for number in range(1, STEPS + 1)]  # none twice
    second = [line for line in lines if line.startswith("starts")][1]
    assert second == "starts after 3"
    assert read(account, data, f"{job_name}/step") == str(STEPS)
    assert read(account, data, f"{job_name}/asked") == "to end"
    assert job["TrainingTimeInSeconds"] >= 1
    assert job["BillableTimeInSeconds"] == job["TrainingTimeInSeconds"]
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == []
    assert {m["MetricName"]: m["Value"] for m in job["FinalMetricDataList"]} == {"epoch": float(STEPS)}


def test_a_stopped_job_is_asked_to_end_and_keeps_its_checkpoints(
    account: RunningAccount, data: str, job_name: str
) -> None:
    sagemaker = account.client("sagemaker")
    sagemaker.create_training_job(TrainingJobName=job_name, **counting(account, data, job_name, 100))
    wait_until(lambda: "FinalMetricDataList" in sagemaker.describe_training_job(TrainingJobName=job_name))
    sagemaker.stop_training_job(TrainingJobName=job_name)
    job = wait_for_job(account, "Training", job_name)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    statuses = [t["Status"] for t in job["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Downloading", "Training", "Stopping", "Stopped"]
    assert read(account, data, f"{job_name}/asked") == "to end"
    assert "FailureReason" not in job


def test_the_maximum_wait_ends_a_spot_job(account: RunningAccount, data: str, job_name: str) -> None:
    request = counting(account, data, job_name, 100)
    request["StoppingCondition"] = {"MaxRuntimeInSeconds": 2, "MaxWaitTimeInSeconds": 2}
    account.client("sagemaker").create_training_job(TrainingJobName=job_name, **request)
    job = wait_for_job(account, "Training", job_name)
    # Creation comes before the container's start, so the wait is over first.
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert "MaxWaitTimeInSeconds (2)" in job["FailureReason"]


def test_an_on_demand_job_is_not_interrupted(account: RunningAccount, data: str, job_name: str) -> None:
    request = counting(account, data, job_name, 2)
    del request["EnableManagedSpotTraining"]
    request["StoppingCondition"] = {"MaxRuntimeInSeconds": 60}
    tags = [{"Key": "local-account:spot-interruption", "Value": "now"}]
    account.client("sagemaker").create_training_job(TrainingJobName=job_name, Tags=tags, **request)
    job = wait_for_job(account, "Training", job_name)
    assert job["TrainingJobStatus"] == "Completed"
    assert "Interrupted" not in [t["Status"] for t in job["SecondaryStatusTransitions"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 60}}, "must be present and be greater than or equal to"),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 59}},
            "greater than or equal to MaxRuntimeInSeconds",
        ),
        ({"EnableManagedSpotTraining": False}, "not supported when EnableManagedSpotTraining is false"),
        (
            {
                "CheckpointConfig": None,
                "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 3601},
            },
            "Without CheckpointConfig it must be at most 3600 seconds, got 3601",
        ),
        ({"CheckpointConfig": {"S3Uri": "s3://b/c", "LocalPath": "/opt/ml/../x"}}, "must be below /opt/ml"),
    ],
)
def test_what_aws_refuses_of_spot_jobs_is_refused(
    account: RunningAccount, data: str, job_name: str, change: dict[str, Any], message: str
) -> None:
    request = {k: v for k, v in (counting(account, data, job_name, 1) | change).items() if v is not None}
    with pytest.raises(ClientError, match=message):
        account.client("sagemaker").create_training_job(TrainingJobName=job_name, **request)
