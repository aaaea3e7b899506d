"""SageMaker's jobs that states wait for: their end, their failure, and the end of the execution before theirs."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

import pytest

from tests.local.foreign_functions import Workshop
from tests.local.sagemaker_requests import processing_arguments


@pytest.fixture(scope="module")
def shop(account: Any) -> Workshop:
    return Workshop(account)


def waiting(code: str, suffix: str = ".sync", **members: Any) -> tuple[str, dict[str, Any]]:
    """The name of a job, and the state that starts it and waits for it."""
    name = f"waited-{uuid4().hex[:12]}"
    parameters = {"ProcessingJobName": name, **processing_arguments(code)}
    resource = f"arn:aws:states:::sagemaker:createProcessingJob{suffix}"
    return name, {"Type": "Task", "Resource": resource, "Parameters": parameters, "End": True, **members}


def test_a_job_is_waited_for_and_is_the_result_as_it_ended(shop: Workshop) -> None:
    name, state = waiting("print('done')")
    machine = shop.machine({"J": state})
    execution = shop.run(machine)
    assert execution["status"] == "SUCCEEDED", execution
    output = json.loads(execution["output"])
    assert (output["ProcessingJobName"], output["ProcessingJobStatus"]) == (name, "Completed")
    assert isinstance(output["CreationTime"], int)
    client = shop.account.client("stepfunctions")
    events = client.get_execution_history(executionArn=execution["executionArn"])["events"]
    submitted = next(event for event in events if event["type"] == "TaskSubmitted")["taskSubmittedEventDetails"]
    assert (submitted["resourceType"], submitted["resource"]) == ("sagemaker", "createProcessingJob.sync")
    assert json.loads(submitted["output"])["ProcessingJobArn"].endswith(name)


def test_a_job_that_fails_fails_its_task_with_what_it_came_to(shop: Workshop) -> None:
    name, state = waiting("raise SystemExit(3)")
    execution = shop.run(shop.machine({"J": state}))
    assert (execution["status"], execution["error"]) == ("FAILED", "States.TaskFailed")
    told = json.loads(execution["cause"])
    assert (told["ProcessingJobName"], told["ProcessingJobStatus"]) == (name, "Failed")
    assert told["FailureReason"]


def test_a_job_that_is_not_waited_for_is_answered_at_once(shop: Workshop) -> None:
    name, state = waiting("print('done')", suffix="")
    output = shop.output(shop.machine({"J": state}))
    assert output["ProcessingJobArn"].endswith(name)
    assert output["SdkHttpMetadata"]["HttpStatusCode"] == 200


@pytest.mark.parametrize("ends", ["stopped", "timed out"])
def test_a_job_ends_with_the_execution_that_waits_for_it(shop: Workshop, ends: str) -> None:
    members = {"TimeoutSeconds": 4} if ends == "timed out" else {}
    name, state = waiting("import time; time.sleep(300)", **members)
    machine = shop.machine({"J": state})
    client = shop.account.client("stepfunctions")
    arn = client.start_execution(stateMachineArn=machine)["executionArn"]
    if ends == "stopped":
        job_status(shop, name, {"InProgress"})
        client.stop_execution(executionArn=arn)
    assert job_status(shop, name, {"Stopped"}) == "Stopped"
    status = client.describe_execution(executionArn=arn)
    assert (status["status"], status.get("error")) == {
        "stopped": ("ABORTED", None),
        "timed out": ("FAILED", "States.Timeout"),
    }[ends]


def job_status(shop: Workshop, name: str, wanted: set[str], timeout_s: float = 120) -> str:
    """The job's status once it is one of those wanted."""
    client = shop.account.client("sagemaker")
    deadline = time.monotonic() + timeout_s
    status = ""
    while status not in wanted and time.monotonic() < deadline:
        time.sleep(0.1)
        try:
            status = client.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"]
        except client.exceptions.ClientError:
            continue  # it has not been started yet
    return status
