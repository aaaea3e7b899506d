"""A scikit-learn project in script mode, as SDK v2 sends it: fit on two hosts, transform line by line, an endpoint.

The script lies in ``sourcedir.tar.gz`` alone: SDK v2 does not pack it into the model archive for scikit-learn.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from local_account.containers.namespaces import namespace_command
from tests.local.conftest import RunningAccount
from tests.local.sagemaker_requests import ROLE, archive, bucket, channel, run_training, wait_for_job

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
SCRIPT = """
import argparse, json, os, pathlib

def model_fn(model_dir):
    return json.loads((pathlib.Path(model_dir) / "line.json").read_text())

def input_fn(body, content_type):
    text = body.decode() if isinstance(body, bytes) else body
    return [float(line) for line in text.splitlines()]

def predict_fn(numbers, model):
    return [model["slope"] * number for number in numbers]

def output_fn(predictions, accept):
    return "\\n".join(str(p) for p in predictions), accept

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float)
    parser.add_argument("--model-dir", default=os.environ["SM_MODEL_DIR"])
    parser.add_argument("--train", default=os.environ["SM_CHANNEL_TRAIN"])
    known, _ = parser.parse_known_args()
    parts = sorted(pathlib.Path(known.train).glob("*.csv"))
    assert parts, "this host got no share"
    pairs = [tuple(map(float, line.split(","))) for part in parts for line in part.read_text().splitlines()]
    slope = known.scale * sum(y for _, y in pairs) / sum(x for x, _ in pairs)
    print(f"slope: {slope}")
    if os.environ["SM_CURRENT_HOST"] == "algo-1":
        (pathlib.Path(known.model_dir) / "line.json").write_text(json.dumps({"slope": slope}))
"""


@pytest.fixture(scope="module")
def data(account: RunningAccount) -> str:
    name, s3 = bucket(account, f"sagemaker-script-{uuid.uuid4().hex[:8]}"), account.client("s3")
    s3.put_object(Bucket=name, Key="train/a.csv", Body=b"1,2\n2,4\n")
    s3.put_object(Bucket=name, Key="train/b.csv", Body=b"3,6\n")
    s3.put_object(Bucket=name, Key="batch/numbers.csv", Body=b"1\n2\n3\n")
    s3.put_object(Bucket=name, Key="code/sourcedir.tar.gz", Body=archive({"train.py": SCRIPT}))
    return name


@pytest.fixture(scope="module")
def model(account: RunningAccount, data: str) -> str:
    """Fit, then the model that ``estimator.deploy()`` and ``estimator.transformer()`` make."""
    name = f"script-{uuid.uuid4().hex[:8]}"
    source = channel("train", f"s3://{data}/train")
    source["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    parameters = {
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": f"s3://{data}/code/sourcedir.tar.gz",
        "sagemaker_container_log_level": 20,
        "sagemaker_job_name": name,
        "sagemaker_region": "us-east-1",
        "scale": 10,
    }
    job = run_training(
        account,
        name,
        {
            "RoleArn": ROLE,
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "HyperParameters": {key: json.dumps(value) for key, value in parameters.items()},
            "InputDataConfig": [source],
            "OutputDataConfig": {"S3OutputPath": f"s3://{data}/models"},
            "ResourceConfig": {
                "InstanceCount": 2 if namespace_command() else 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 30,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        },
    )
    assert job["TrainingJobStatus"] == "Completed", job
    environment = {
        "SAGEMAKER_PROGRAM": "train.py",
        "SAGEMAKER_SUBMIT_DIRECTORY": parameters["sagemaker_submit_directory"],
        "SAGEMAKER_CONTAINER_LOG_LEVEL": "20",
        "SAGEMAKER_REGION": "us-east-1",
    }
    container = {
        "Image": IMAGE,
        "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"],
        "Environment": environment,
    }
    account.client("sagemaker").create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    return name


@pytest.mark.parametrize("strategy", ["MultiRecord", "SingleRecord"])
def test_a_transform_answers_every_line(account: RunningAccount, data: str, model: str, strategy: str) -> None:
    name = f"{model}-{strategy}"
    account.client("sagemaker").create_transform_job(
        TransformJobName=name,
        ModelName=model,
        BatchStrategy=strategy,
        TransformInput={
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{data}/batch"}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        TransformOutput={"S3OutputPath": f"s3://{data}/{name}", "Accept": "text/csv", "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    job = wait_for_job(account, "Transform", name)
    assert job["TransformJobStatus"] == "Completed", job
    answered = account.client("s3").get_object(Bucket=data, Key=f"{name}/numbers.csv.out")["Body"].read().decode()
    assert [float(line) for line in answered.splitlines()] == [20.0, 40.0, 60.0]


def test_predictions_are_joined_with_what_they_are_for(account: RunningAccount, data: str, model: str) -> None:
    name = f"{model}-joined"
    account.client("s3").put_object(Bucket=data, Key="named/rows.csv", Body=b"a,1,red\nb,2,blue\n")
    account.client("sagemaker").create_transform_job(
        TransformJobName=name,
        ModelName=model,
        TransformInput={
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{data}/named"}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        TransformOutput={"S3OutputPath": f"s3://{data}/{name}", "Accept": "text/csv", "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        DataProcessing={"InputFilter": "$[1]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"},
    )
    job = wait_for_job(account, "Transform", name)
    assert job["TransformJobStatus"] == "Completed", job
    answered = account.client("s3").get_object(Bucket=data, Key=f"{name}/rows.csv.out")["Body"].read().decode()
    assert answered == "a,20.0\nb,40.0\n"


@pytest.mark.parametrize(
    "sized",
    [
        {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1},
        {"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 1}},
    ],
    ids=["instance", "serverless"],
)
def test_the_model_is_deployed(account: RunningAccount, model: str, sized: dict[str, Any]) -> None:
    sagemaker, name = account.client("sagemaker"), f"{model}-{len(sized)}"
    variant = {"VariantName": "AllTraffic", "ModelName": model, "InitialVariantWeight": 1.0, **sized}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 1})
    answer = account.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=name, ContentType="text/csv", Accept="text/csv", Body=b"7"
    )
    assert float(answer["Body"].read()) == 140.0
    sagemaker.delete_endpoint(EndpointName=name)
