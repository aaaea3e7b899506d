"""Images of the stand-in account: code that stands for one trains and serves, every other image is refused."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_account.base.errors import AccountError
from local_account.server import control
from tests.local.conftest import RunningAccount, free_port
from tests.local.roles import make_taken_for_granted
from tests.local.sagemaker_requests import ROLE, bucket, channel, wait_for_job

REGISTRY = "811284229777.dkr.ecr.us-east-1.amazonaws.com"
# An algorithm as a container would hold it: it counts the bytes of its channel.
TRAIN = """
import json, pathlib, sys
root = pathlib.Path(sys.argv[1])
unit = json.loads((root / "input/config/hyperparameters.json").read_text())["unit"]
count = sum(len(p.read_bytes()) for p in (root / "input/data/words").rglob("*") if p.is_file())
(root / "model" / "count.txt").write_text(f"{count} {unit}")
print(f"the counter ran: count={count}")
"""
SERVE = """
import json, pathlib
def model_fn(folder):
    return pathlib.Path(folder, "count.txt").read_text()
def input_fn(body, content_type):
    return body
def predict_fn(data, model):
    return [model, len(data)]
def output_fn(prediction, accept):
    return json.dumps(prediction)
"""


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAccount]:
    """An account that was told what stands for the image ``counter``."""
    folder = tmp_path_factory.mktemp("counter")
    (folder / "counter").mkdir()
    (folder / "counter" / "train.py").write_text(TRAIN)
    (folder / "serving.py").write_text(SERVE)
    image = {
        "folder": str(folder),
        "train": ["python3", "-m", "counter.train", "/opt/ml"],
        "serve": "serving.py",
        "metrics": {"validation:count": "count=([0-9]+)"},
    }
    state = folder / "account"
    found = control.start(state, free_port(), images={"counter": image})
    # Whoever started it stops it: the process is not this fixture's.
    running = RunningAccount(state, found.port, process=None)  # type: ignore[arg-type]
    make_taken_for_granted(running)
    yield running
    control.stop(state)


def training(bucket_name: str, image: str) -> dict[str, Any]:
    return {
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": f"{REGISTRY}/{image}", "TrainingInputMode": "File"},
        "HyperParameters": {"unit": "bytes"},
        "InputDataConfig": [channel("words", f"s3://{bucket_name}/words/")],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket_name}/models"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.g4dn.xlarge", "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }


def train(account: RunningAccount, request: dict[str, Any]) -> dict[str, Any]:
    name = f"job-{uuid.uuid4().hex[:8]}"
    account.client("sagemaker").create_training_job(TrainingJobName=name, **request)
    return wait_for_job(account, "Training", name)


def test_what_stands_for_an_image_trains_and_serves(counting: RunningAccount) -> None:
    data, sagemaker = bucket(counting, "words"), counting.client("sagemaker")
    counting.client("s3").put_object(Bucket=data, Key="words/a.txt", Body=b"seven")
    job = train(counting, training(data, "counter:1"))
    assert job["TrainingJobStatus"] == "Completed", job
    assert [(one["MetricName"], one["Value"]) for one in job["FinalMetricDataList"]] == [("validation:count", 5.0)]
    assert job["AlgorithmSpecification"]["MetricDefinitions"][0]["Name"] == "validation:count"
    sagemaker.create_model(
        ModelName="counter",
        ExecutionRoleArn=ROLE,
        PrimaryContainer={
            "Image": f"{REGISTRY}/counter@sha256:{'0' * 64}",
            "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"],
        },
    )
    sagemaker.create_transform_job(
        TransformJobName="answers",
        ModelName="counter",
        TransformInput={
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{data}/words/"}},
            "ContentType": "text/plain",
        },
        TransformOutput={"S3OutputPath": f"s3://{data}/answers"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    assert wait_for_job(counting, "Transform", "answers")["TransformJobStatus"] == "Completed"
    answer = counting.client("s3").get_object(Bucket=data, Key="answers/a.txt.out")["Body"].read()
    assert json.loads(answer) == ["5 bytes", 5]


def test_every_other_image_is_refused_and_the_known_ones_are_named(counting: RunningAccount) -> None:
    data = bucket(counting, "other-words")
    counting.client("s3").put_object(Bucket=data, Key="words/a.txt", Body=b"seven")
    job = train(counting, training(data, "counter-of-letters:1"))
    assert job["TrainingJobStatus"] == "Failed"
    assert f"image {REGISTRY}/counter-of-letters:1 cannot run here" in job["FailureReason"]
    assert job["FailureReason"].endswith("when it was started: sagemaker-xgboost, counter.")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"folder": "{here}", "train": ["x"], "serve": "missing.py"}, "there is no missing.py"),
        ({"folder": "{here}", "train": "x", "serve": "here.py"}, "--images must be JSON like"),
        ({"folder": "{here}", "serve": "here.py"}, "--images must be JSON like"),
    ],
)
def test_a_mistake_in_the_configuration_ends_the_start(tmp_path: Path, image: dict[str, Any], message: str) -> None:
    (tmp_path / "here.py").touch()
    with pytest.raises(AccountError, match=message):
        control.start(tmp_path / "account", free_port(), images={"counter": {**image, "folder": str(tmp_path)}})
    assert control.status(tmp_path / "account") is None
