"""The deployed stage that the workflows' tests share: its stack, and a model that decides by brightness.

The model is foreign, so that the fate of each real image can be told beforehand, and takes orders in an image's width.
"""

from __future__ import annotations

import io
import json
import math
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from botocore.config import Config
from PIL import Image

from processing.dataset.cifar_source import read_archive
from tests.local.foreign_models import IMAGE, archive

if TYPE_CHECKING:  # the fixtures in conftest use this module
    from tests.local.conftest import RunningAccount

PREFIX = "scones-local"
ACCOUNT = "123456789012"
BUCKET = f"{PREFIX}-data-{ACCOUNT}-us-east-1"
STATES_ARN = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine"
ENDPOINT = f"{PREFIX}-vehicle-classifier"
CLASSES = ["dark", "bright"]
THRESHOLD = 0.93

# Brighter than 128 is bright. Some widths are orders: 7 always fails, 9 fails once, 11 answers nonsense,
# 13 dies, 15 is refused, 17 takes three seconds.
BRIGHTNESS = """
import io, json, math, os, time
import numpy
from PIL import Image
seen = set()

class Refused(ValueError):
    status_code = 422

def model_fn(folder):
    return None

def input_fn(body, content_type):
    try:
        return Image.open(io.BytesIO(body)).convert("RGB")
    except Exception as error:
        raise Refused(f"no image: {error}") from error

def predict_fn(image, model):
    pixels = numpy.asarray(image)
    if image.width == 7 or (image.width == 9 and pixels.tobytes() not in seen):
        seen.add(pixels.tobytes())
        raise RuntimeError("out of order")
    if image.width == 11:
        return {"answer": 42}
    if image.width == 13:
        os._exit(3)
    if image.width == 15:
        raise Refused("no such width")
    if image.width == 17:
        time.sleep(3)
    bright = 1 / (1 + math.exp(-(float(pixels.mean()) - 128) / 10))
    return [1 - bright, bright]

def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json"
"""


@dataclass
class Photos:
    """Real images and what the model makes of them."""

    passing: list[bytes]
    doubtful: list[bytes]


def png(pixels: Any, **size: int) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if size:
        image = image.resize((size["width"], 8))
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def photographs(real_archive: Path) -> Photos:
    """A hundred test images, told apart by what the model will make of them."""
    test = read_archive(real_archive, ["bicycle", "motorcycle"]).splits["test"]
    pixels = test.pixels(test.rows[:100])
    certain = [max(p, 1 - p) >= THRESHOLD for p in (1 / (1 + math.exp(-(float(i.mean()) - 128) / 10)) for i in pixels)]
    found = Photos([], [])
    for image, passes in zip(pixels, certain, strict=True):
        (found.passing if passes else found.doubtful).append(png(np.asarray(image)))
    return found


def deploy(account: RunningAccount) -> None:
    """The local stage's stack."""
    environment = account.environment() | {"SCONES_HOME": str(account.state_dir.parent)}
    command = [str(Path(sys.executable).with_name("scones")), "deploy"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


@dataclass
class Shop:
    """The deployed stage with a model behind its endpoint."""

    account: RunningAccount

    @cached_property
    def sync(self) -> Any:
        """A client that does not put ``sync-`` before the account's address."""
        from tests.local.conftest import owners_client

        config = Config(inject_host_prefix=False)
        return owners_client("stepfunctions", self.account.state_dir, self.account.port, config)

    def put(self, key: str, data: bytes, **options: Any) -> dict[str, str]:
        self.account.client("s3").put_object(Bucket=BUCKET, Key=key, Body=data, **options)
        return {"s3_bucket": BUCKET, "s3_key": key}

    def get(self, uri: str) -> str:
        key = uri.removeprefix(f"s3://{BUCKET}/")
        return str(self.account.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read().decode())

    def start(self, machine: str, document: Any) -> str:
        client = self.account.client("stepfunctions")
        name = f"run-{uuid.uuid4().hex}"
        arn = f"{STATES_ARN}:{machine}"
        return str(client.start_execution(stateMachineArn=arn, name=name, input=json.dumps(document))["executionArn"])

    def ended(self, arn: str, timeout_s: float = 300) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while True:
            execution: dict[str, Any] = self.account.client("stepfunctions").describe_execution(executionArn=arn)
            if execution["status"] != "RUNNING" or time.monotonic() > deadline:
                return execution
            time.sleep(0.05)

    def run(self, machine: str, document: Any) -> dict[str, Any]:
        if machine.endswith("express"):
            arn = f"{STATES_ARN}:{machine}"
            answer: dict[str, Any] = self.sync.start_sync_execution(stateMachineArn=arn, input=json.dumps(document))
            return answer
        return self.ended(self.start(machine, document))

    def batch(self, **document: Any) -> dict[str, Any]:
        return self.ended(self.start(f"{PREFIX}-batch-workflow", {"s3_bucket": BUCKET, **document}))

    def register(self, name: str, content: bytes, classes: Sequence[str] = CLASSES) -> str:
        """A version that waits for its approval."""
        model = self.put(f"pipeline-runs/{name}/model.tar.gz", content)  # where the endpoint's role may read
        environment = {"SCONES_CLASSES": ",".join(classes)}
        uri = f"s3://{BUCKET}/{model['s3_key']}"
        package = self.account.client("sagemaker").create_model_package(
            ModelPackageGroupName=ENDPOINT,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [{"Image": IMAGE, "ModelDataUrl": uri, "Environment": environment}],
                "SupportedContentTypes": ["image/png"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
        )
        return str(package["ModelPackageArn"])

    def approve(self, package: str) -> None:
        client = self.account.client("sagemaker")
        client.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")

    def in_service(self, model: str = "", timeout_s: float = 300) -> None:
        """Wait until the endpoint serves the model of this name, or any."""
        client = self.account.client("sagemaker")
        deadline = time.monotonic() + timeout_s
        while True:
            found = client.list_endpoints(NameContains=ENDPOINT)["Endpoints"]
            if [endpoint["EndpointStatus"] for endpoint in found] == ["InService"]:
                config = client.describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"]
                if f"{config}-".startswith(f"{model or ENDPOINT}-"):
                    return
            assert time.monotonic() < deadline, found
            time.sleep(0.1)

    def reviews(self) -> list[dict[str, Any]]:
        """All messages of the review queue, which is empty afterwards."""
        sqs = self.account.client("sqs")
        url = sqs.get_queue_url(QueueName=f"{PREFIX}-review")["QueueUrl"]
        found: list[dict[str, Any]] = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            found += [json.loads(message["Body"]) for message in messages]
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found


def open_shop(account: RunningAccount) -> Shop:
    """The deployed stage, its model approved, and the same workflow once more in JSONata."""
    made = Shop(account)
    made.approve(made.register("brightness", archive(BRIGHTNESS)))
    create_jsonata(account)
    made.in_service()
    return made


def create_jsonata(account: RunningAccount) -> None:
    """The JSONata definition with the deployed one's functions."""
    from inference_workflow.definitions import definitions

    states, sqs = account.client("stepfunctions"), account.client("sqs")
    deployed = states.describe_state_machine(stateMachineArn=f"{STATES_ARN}:{PREFIX}-inference-workflow")
    queue = sqs.get_queue_url(QueueName=f"{PREFIX}-review")["QueueUrl"]

    def value(match: re.Match[str]) -> str:
        name = re.sub(r"(?<!^)([A-Z])", r"-\1", match[1].removesuffix("Arn")).lower()
        return queue if match[1] == "ReviewQueueUrl" else f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{PREFIX}-{name}"

    text = re.sub(r"\$\{(\w+)\}", value, definitions("JSONata")["inference-workflow"])
    states.create_state_machine(name=f"{PREFIX}-jsonata", definition=text, roleArn=deployed["roleArn"])


def large_photo() -> bytes:
    """More than the endpoint takes: dark noise, 7 MB."""
    rng = np.random.default_rng(0)
    data = png(rng.integers(0, 90, (1700, 1700, 3), dtype=np.uint8))
    assert len(data) > 6_291_456
    return data
