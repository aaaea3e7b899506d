"""Requests the SageMaker tests send: small jobs that belong to no project of ours, and waiting for them."""

from __future__ import annotations

import io
import json
import tarfile
import time
from typing import Any

from tests.local.conftest import RunningAccount

ROLE = "arn:aws:iam::123456789012:role/jobs"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/anything:1"
UNFINISHED = {"InProgress", "Stopping", "Executing"}


def bucket(account: RunningAccount, name: str) -> str:
    account.client("s3").create_bucket(Bucket=name)
    return name


def processing_arguments(code: str, *, inputs: dict[str, str] | None = None, output_uri: str = "") -> dict[str, Any]:
    """CreateProcessingJob without the name: Python ``code`` with S3 prefixes as inputs below /opt/ml/processing."""
    outputs = [
        {
            "OutputName": "out",
            "S3Output": {"S3Uri": output_uri, "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"},
        }
    ]
    return {
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", "-c", code]},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "ProcessingInputs": [
            {
                "InputName": name,
                "S3Input": {
                    "S3Uri": uri,
                    "LocalPath": f"/opt/ml/processing/{name}",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
            for name, uri in (inputs or {}).items()
        ],
        **({"ProcessingOutputConfig": {"Outputs": outputs}} if output_uri else {}),
    }


def training_arguments(
    bucket_name: str, files: dict[str, str], program: str, account: RunningAccount, **hyperparameters: Any
) -> dict[str, Any]:
    """CreateTrainingJob without the name: a script archive of ``files`` is uploaded, ``program`` is its entry point."""
    key = f"code/{program.replace('/', '-')}-{time.time_ns()}/sourcedir.tar.gz"
    account.client("s3").put_object(Bucket=bucket_name, Key=key, Body=archive(files))
    parameters = {"sagemaker_program": program, "sagemaker_submit_directory": f"s3://{bucket_name}/{key}"}
    return {
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": {k: json.dumps(v) for k, v in {**parameters, **hyperparameters}.items()},
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket_name}/models"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 120},
    }


def channel(name: str, uri: str, data_type: str = "S3Prefix") -> dict[str, Any]:
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": data_type, "S3Uri": uri}}}


def archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def wait_for_job(account: RunningAccount, kind: str, name: str, timeout_s: float = 600) -> dict[str, Any]:
    """Describe a job once it has ended; ``kind`` is Processing or Training."""
    describe = getattr(account.client("sagemaker"), f"describe_{kind.lower()}_job")
    deadline = time.monotonic() + timeout_s
    while True:
        job: dict[str, Any] = describe(**{f"{kind}JobName": name})
        if job[f"{kind}JobStatus"] not in UNFINISHED:
            return job
        assert time.monotonic() < deadline, f"{kind} job {name} still {job[f'{kind}JobStatus']}"
        time.sleep(0.05)


def run_processing(account: RunningAccount, name: str, code: str, **options: Any) -> dict[str, Any]:
    request = processing_arguments(code, **options)
    account.client("sagemaker").create_processing_job(ProcessingJobName=name, **request)
    return wait_for_job(account, "Processing", name)


def run_training(account: RunningAccount, name: str, request: dict[str, Any]) -> dict[str, Any]:
    account.client("sagemaker").create_training_job(TrainingJobName=name, **request)
    return wait_for_job(account, "Training", name)


def job_log(account: RunningAccount, kind: str, name: str) -> list[str]:
    """What a job has written to CloudWatch Logs."""
    logs, group = account.client("logs"), f"/aws/sagemaker/{kind}Jobs"
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
    found = [logs.get_log_events(logGroupName=group, logStreamName=s["logStreamName"])["events"] for s in streams]
    return [event["message"] for events in found for event in events]


def wait_for_execution(account: RunningAccount, arn: str, timeout_s: float = 600) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while True:
        execution: dict[str, Any] = account.client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn)
        if execution["PipelineExecutionStatus"] not in UNFINISHED:
            return execution
        assert time.monotonic() < deadline, execution
        time.sleep(0.05)


def steps_of(account: RunningAccount, arn: str) -> dict[str, dict[str, Any]]:
    pages = account.client("sagemaker").get_paginator("list_pipeline_execution_steps")
    found = [s for p in pages.paginate(PipelineExecutionArn=arn) for s in p["PipelineExecutionSteps"]]
    return {step["StepName"]: step for step in found}
