"""A deployed stage for the console's tests: a model that decides by brightness, and its evaluation."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from tests.local.conftest import RunningAccount, start_account
from tests.local.foreign_models import IMAGE, archive
from tests.local.workflow_stage import BRIGHTNESS, BUCKET, CLASSES, ENDPOINT, PREFIX, deploy

DATASET = "pipeline-runs/made/dataset"
SAMPLES = Path(__file__).parent / "samples"
PATIENCE_S = 120.0
QUEUE = f"{PREFIX}-review"
# How sure the model is of the test images of its evaluation: 40 of them, the last four wrong.
CONFIDENCES = [0.5 + 0.0125 * number for number in range(1, 41)]


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for the thing itself, however slow the machine is."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def grey(level: int, width: int = 8) -> bytes:
    """An image of one brightness: 128 is where the model is least sure."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, 8), (level, level, level)).save(buffer, "PNG")
    return buffer.getvalue()


SURE, DOUBTFUL = grey(250), grey(135)


@dataclass
class ConsoleStage:
    """The stage and the ways into it."""

    account: RunningAccount
    _queue: str = ""

    def client(self, service: str) -> Any:
        return self.account.client(service)

    @property
    def environment(self) -> dict[str, str]:
        return self.account.environment() | {"SCONES_HOME": str(self.account.state_dir.parent)}

    def put(self, key: str, data: bytes) -> None:
        self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=data)

    def put_unreadable_images(self) -> str:
        """As many as a run takes, by their names, so that it begins and soon ends; answers where."""
        for number in range(20):
            for name in ("day", "night"):
                self.put(f"unreadable/{name}/{number}.png", b"no image")
        return f"s3://{BUCKET}/unreadable"

    def register(self, name: str, accuracy: float = 0.9) -> str:
        """A version with its evaluation, its page and its predictions; it waits for approval."""
        run = f"pipeline-runs/{name}"
        self.put(f"{run}/model.tar.gz", archive(BRIGHTNESS))
        self.put(f"{run}/evaluation/evaluation.json", json.dumps(evaluation(accuracy)).encode())
        self.put(f"{run}/evaluation/evaluation.html", b"<h1>evaluation of " + name.encode() + b"</h1>")
        self.put(f"{run}/evaluation/predictions.csv", predictions().encode())
        package = self.client("sagemaker").create_model_package(
            ModelPackageGroupName=ENDPOINT,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [
                    {
                        "Image": IMAGE,
                        "ModelDataUrl": f"s3://{BUCKET}/{run}/model.tar.gz",
                        "Environment": {"SCONES_CLASSES": ",".join(CLASSES)},
                    }
                ],
                "SupportedContentTypes": ["image/png"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            ModelMetrics={
                "ModelQuality": {
                    "Statistics": {
                        "ContentType": "application/json",
                        "S3Uri": f"s3://{BUCKET}/{run}/evaluation/evaluation.json",
                    }
                }
            },
            CustomerMetadataProperties={"dataset_s3_uri": f"s3://{BUCKET}/{DATASET}"},
        )
        return str(package["ModelPackageArn"])

    def approve(self, package: str) -> None:
        self.client("sagemaker").update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")

    def serves(self) -> str:
        """The package behind the endpoint; empty while none is in service."""
        found = self.client("sagemaker").list_endpoints(NameContains=ENDPOINT)["Endpoints"]
        if [endpoint["EndpointStatus"] for endpoint in found] != ["InService"]:
            return ""
        name = self.client("sagemaker").describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"]
        config = self.client("sagemaker").describe_endpoint_config(EndpointConfigName=name)
        model = self.client("sagemaker").describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
        return str(model["PrimaryContainer"]["Environment"]["SCONES_MODEL_PACKAGE_ARN"])

    def until_serves(self, package: str) -> None:
        until(lambda: self.serves() == package, f"{package} serves")

    def send(self, image: bytes, name: str) -> dict[str, Any]:
        """Through the workflow, until it ends."""
        self.put(f"incoming/{name}", image)
        states = self.client("stepfunctions")
        machine = f"arn:aws:states:us-east-1:123456789012:stateMachine:{PREFIX}-inference-workflow"
        given = json.dumps({"s3_bucket": BUCKET, "s3_key": f"incoming/{name}"})
        arn = states.start_execution(stateMachineArn=machine, input=given)["executionArn"]
        until(lambda: states.describe_execution(executionArn=arn)["status"] != "RUNNING", f"{arn} ends")
        ended: dict[str, Any] = states.describe_execution(executionArn=arn)
        return ended

    def queued(self) -> tuple[int, int]:
        """Messages that anybody may take, and those that somebody holds or that come later."""
        sqs = self.client("sqs")
        self._queue = self._queue or sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["All"])["Attributes"]
        hidden = int(found["ApproximateNumberOfMessagesNotVisible"]) + int(found["ApproximateNumberOfMessagesDelayed"])
        return int(found["ApproximateNumberOfMessages"]), hidden

    def threshold(self) -> dict[str, Any]:
        value = self.client("ssm").get_parameter(Name="/scones/local/confidence-threshold")["Parameter"]["Value"]
        found: dict[str, Any] = json.loads(value)
        return found

    def reports(self) -> list[str]:
        """The names of the reports, the newest first."""
        listed = self.client("s3").get_object(Bucket=BUCKET, Key="reports/index.json")["Body"].read()
        return [str(entry["name"]) for entry in json.loads(listed)]

    def ground_truth(self) -> list[str]:
        found = self.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="ground-truth/").get("Contents", [])
        return [self.client("s3").get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read().decode() for item in found]


def evaluation(accuracy: float) -> dict[str, Any]:
    table = [{"threshold": t / 100, "coverage": 2 - t / 50, "accuracy": 0.9 + t / 1000} for t in range(50, 100, 2)]
    return {
        "multiclass_classification_metrics": {"accuracy": {"value": accuracy, "standard_deviation": 0.01}},
        "images": len(CONFIDENCES),
        "threshold": 0.93,
        "coverage": [{"threshold": 0.93, "coverage": 0.14, "accuracy": 0.99}],
        "threshold_table": table,
        "champion": None,
    }


def predictions() -> str:
    rows = [
        f"test/{CLASSES[n % 2]}_{n:05d}.png,{CLASSES[n % 2]},{CLASSES[(n + (n >= 36)) % 2]},{confidence:.4f}"
        for n, confidence in enumerate(CONFIDENCES)
    ]
    return "path,true,predicted,confidence\n" + "\n".join(rows) + "\n"


def put_test_images(stage: ConsoleStage) -> None:
    """The held-out images, as the pipeline's first job leaves them."""
    names = [f"test/{CLASSES[number % 2]}_{number:05d}.png" for number in range(len(CONFIDENCES))]
    for number, name in enumerate(names):
        stage.put(f"{DATASET}/{name}", grey(200 if number % 2 else 50))
    manifest = json.loads((SAMPLES / "dataset.json").read_bytes()) | {"classes": CLASSES}
    listed = "".join(f"{number}\t{number % 2}\t{name}\n" for number, name in enumerate(names))
    stage.put(f"{DATASET}/dataset.json", json.dumps(manifest).encode())
    stage.put(f"{DATASET}/test.lst", listed.encode())


@contextmanager
def console_stage(folder: Path) -> Iterator[ConsoleStage]:
    """A stage whose first version serves, and whose second one waits."""
    account = start_account(folder / "home" / "account")
    try:
        deploy(account)
        stage = ConsoleStage(account)
        put_test_images(stage)
        first = stage.register("first")
        stage.approve(first)
        stage.until_serves(first)
        stage.register("second", 0.95)
        yield stage
    finally:
        account.stop()


@dataclass
class RunningConsole:
    """`scones console` as a user runs it."""

    process: subprocess.Popen[str]
    address: str
    said: list[str] = field(default_factory=list)

    @property
    def base(self) -> str:
        return self.address.partition("/?")[0]


@contextmanager
def running_console(stage: ConsoleStage, *options: str) -> Iterator[RunningConsole]:
    """Start one on any port, and end it as Ctrl-C does."""
    command = [str(Path(sys.executable).with_name("scones")), "console", "--port", "0", *options]
    environment = {**os.environ, **stage.environment}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = re.search(r"http://\S+", line)
            assert found, line
            console = RunningConsole(process, found[0])
            urllib.request.urlopen(urllib.request.Request(console.base + "/static/live.js"))  # noqa: S310 - ours
        except urllib.error.HTTPError:  # it answers: without the key, with 401
            pass
        try:
            yield console
        finally:
            process.send_signal(2)
            process.wait(30)
