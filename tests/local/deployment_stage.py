"""A deployed stage for the tests of deployments: tiny models that tell which version they are, and what came of each.

Every model answers each image with probabilities of its own, so that an answer shows who gave it. Some are broken on
purpose. Each test works with the endpoint of its own account's stage, one after the other.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import psutil
from boto3.dynamodb.types import TypeDeserializer

from tests.local.foreign_models import IMAGE, archive
from tests.local.queues import Queue

if TYPE_CHECKING:  # the fixtures in conftest use this module
    from tests.local.conftest import RunningAccount

PREFIX = "scones-local"
BUCKET = f"{PREFIX}-data-123456789012-us-east-1"
ENDPOINT = f"{PREFIX}-vehicle-classifier"
FUNCTION = f"{PREFIX}-deploy-approved-model"
TABLE = f"{PREFIX}-deployments"
CLASSES = ["bicycle", "motorcycle"]
PATIENCE_S = 300.0

# `weights.txt` holds the probability of the first class; a word instead of it is an order, as is a file to wait for
# when the model is loaded, or before each answer.
MODEL = """
import json, os, time

def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.02)

def model_fn(folder):
    with open(os.path.join(folder, "weights.txt")) as stream:
        said = stream.read()
    if said == "unhealthy":
        raise RuntimeError("this model cannot be loaded")
    said, _, order = said.partition(" ")
    if order.startswith("loads after "):
        wait_for(order.removeprefix("loads after "))
    return said, order

def input_fn(body, content_type):
    return body

def predict_fn(body, model):
    said, order = model
    if order.startswith("answers after "):
        wait_for(order.removeprefix("answers after "))
    if said == "faulty":
        raise RuntimeError("out of order")
    return [float(said), 1 - float(said)]

def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json"
"""


@dataclass
class Stage:
    """The deployed stage, driven by boto3 as any client would."""

    account: RunningAccount
    images: list[bytes]
    """Real ones, for the smoke tests."""
    _deserializer: Any = field(default_factory=TypeDeserializer)
    _heard: Any = None

    @property
    def sagemaker(self) -> Any:
        return self.account.client("sagemaker")

    def register(self, weights: str, expected: float | None = None, content: bytes | None = None) -> str:
        """A version whose answers are ``weights``, and whose evaluation saw ``expected`` (as it is, if None)."""
        run = f"pipeline-runs/{uuid.uuid4().hex}"
        self._put(f"{run}/model.tar.gz", archive(MODEL, weights) if content is None else content)
        self._put(f"{run}/evaluation/evaluation.json", json.dumps(_evaluation()).encode())
        said = weights.partition(" ")[0]
        if expected is not None or said.replace(".", "", 1).isdecimal():
            self._put(f"{run}/evaluation/smoke.json", self._smoke(float(said) if expected is None else expected))
        container = {
            "Image": IMAGE,
            "ModelDataUrl": f"s3://{BUCKET}/{run}/model.tar.gz",
            "Environment": {"SCONES_CLASSES": ",".join(CLASSES)},
        }
        statistics = {"ContentType": "application/json", "S3Uri": f"s3://{BUCKET}/{run}/evaluation/evaluation.json"}
        package = self.sagemaker.create_model_package(
            ModelPackageGroupName=ENDPOINT,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [container],
                "SupportedContentTypes": ["image/png"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            ModelMetrics={"ModelQuality": {"Statistics": statistics}},
        )
        return str(package["ModelPackageArn"])

    def _put(self, key: str, data: bytes) -> None:
        self.account.client("s3").put_object(Bucket=BUCKET, Key=key, Body=data)

    def _smoke(self, probability: float) -> bytes:
        images = [
            {
                "name": f"test/{number}.png",
                "content_type": "image/png",
                "label": CLASSES[number % 2],
                "probabilities": [probability, 1 - probability],
                "data": base64.b64encode(image).decode(),
            }
            for number, image in enumerate(self.images)
        ]
        return json.dumps({"classes": CLASSES, "images": images}).encode()

    def decide(self, package: str, status: str, reason: str = "a test [by tester]") -> None:
        self.sagemaker.update_model_package(
            ModelPackageArn=package, ModelApprovalStatus=status, ApprovalDescription=reason
        )

    def remove(self, package: str) -> None:
        """`aws sagemaker delete-model-package`."""
        self.sagemaker.delete_model_package(ModelPackageName=package)

    def approve(self, package: str, reason: str = "a test [by tester]") -> None:
        self.decide(package, "Approved", reason)

    def reject(self, package: str, reason: str = "a test [by tester]") -> None:
        self.decide(package, "Rejected", reason)

    def look(self, event: dict[str, Any] | None = None) -> list[str]:
        """What the schedule does, and what an event does: have the function look."""
        return list(self.run_function(FUNCTION, event))

    def run_function(self, name: str, event: dict[str, Any] | None = None) -> Any:
        payload = json.dumps(event or {}).encode()
        answer = self.account.client("lambda").invoke(FunctionName=name, Payload=payload)
        content = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, content
        return content

    def items(self, kind: str) -> list[dict[str, Any]]:
        """The table's items of a kind, sorted by their key."""
        answer = self.account.client("dynamodb").query(
            TableName=TABLE,
            KeyConditionExpression="kind = :kind",
            ExpressionAttributeValues={":kind": {"S": kind}},
            ConsistentRead=True,
        )
        return [{k: self._deserializer.deserialize(v) for k, v in item.items()} for item in answer["Items"]]

    def records(self) -> list[dict[str, Any]]:
        return self.items("record")

    def outcomes(self, package: str) -> list[str]:
        return [r["outcome"] for r in self.records() if r["package_arn"] == package]

    def endpoint(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=ENDPOINT)
        except self.sagemaker.exceptions.ClientError as error:
            assert "Could not find" in str(error)
            return None
        return found

    def serves(self) -> str:
        """The package behind the endpoint in service; empty when none is."""
        found = self.endpoint()
        if found is None or found["EndpointStatus"] != "InService":
            return ""
        config = self.sagemaker.describe_endpoint_config(EndpointConfigName=found["EndpointConfigName"])
        model = self.sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
        return str(model["PrimaryContainer"]["Environment"]["SCONES_MODEL_PACKAGE_ARN"])

    def ask(self) -> float:
        """The first probability of an answer: the weights of the version that gave it."""
        answer = self.account.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=ENDPOINT, Body=self.images[0], ContentType="image/png", Accept="application/json"
        )
        return float(json.loads(answer["Body"].read())[0])

    def settled(self) -> bool:
        """Nothing is under way."""
        found = self.endpoint()
        quiet = found is None or found["EndpointStatus"] in ("InService", "Failed")
        return quiet and not self.items("current") and not self.items("lease")

    def until(self, condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> None:
        """Wait for a condition, however slow the machine is."""
        deadline = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < deadline, f"{what}: {self.endpoint()}, {self.items('current')}, {self.records()}"
            time.sleep(0.1)

    def until_serves(self, package: str) -> None:
        self.until(lambda: self.settled() and self.serves() == package, f"{package} serves")

    def until_outcome(self, package: str, outcome: str) -> None:
        self.until(lambda: self.settled() and outcome in self.outcomes(package), f"{package} is {outcome}")

    def left_over(self) -> tuple[set[str], set[str]]:
        """Models and configurations that neither serve nor are the way back."""
        live = {key: value for item in self.items("live") for key, value in item.items()}
        versions = {int(live.get(name, 0)) for name in ("version", "previous_version", "shadow_version")}
        kept = {f"{ENDPOINT}-v{version}" for version in versions}
        models = {m["ModelName"] for m in self.sagemaker.list_models(NameContains=ENDPOINT)["Models"]}
        found = self.sagemaker.list_endpoint_configs(NameContains=ENDPOINT)["EndpointConfigs"]
        configs = {c["EndpointConfigName"] for c in found}
        return models - kept, configs - {live.get("config", ""), live.get("previous_config", "")}

    def check(self, package: str) -> None:
        """What has to hold whenever it is quiet: the approved version answers, nothing is left over."""
        self.until_serves(package)
        self.until(lambda: self.left_over() == (set(), set()) or not self.look(), "nothing is left over")
        status = self.sagemaker.describe_model_package(ModelPackageName=package)["ModelApprovalStatus"]
        assert status == "Approved"

    def listen(self) -> None:
        """Hear from now on what the topic tells."""
        self._heard = Queue(self.account, "heard")
        topic = f"arn:aws:sns:us-east-1:123456789012:{PREFIX}-notifications"
        self.account.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=self._heard.arn)

    def told(self, version: int) -> dict[str, Any]:
        """What the deploying function told of a version."""
        while messages := self._heard.take(timeout_s=PATIENCE_S):
            for message in messages:
                found: dict[str, Any] = json.loads(message["Body"])
                attributes = found.get("MessageAttributes", {})  # an alarm's message has none
                if attributes.get("version", {}).get("Value") == str(version):
                    return found
        raise AssertionError(f"nobody was told of version {version}")

    def scones(self, *arguments: str) -> Any:
        """What a verb prints with --json."""
        answer = self._run(*arguments)
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)

    def refused(self, *arguments: str) -> str:
        """The line in which a verb says why not."""
        answer = self._run(*arguments)
        assert answer.returncode == 1, answer.stderr
        return answer.stderr.strip().splitlines()[-1]

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = self.account.environment() | {"SCONES_HOME": str(self.account.state_dir.parent)}
        command = [str(Path(sys.executable).with_name("scones")), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    def kill_function(self) -> None:
        """End the process of the deploying function, as a crash of it would."""
        workers = [p for p in psutil.Process(self.account.process.pid).children(recursive=True) if _works(p)]
        assert workers
        for worker in workers:
            worker.kill()

    def set_endpoint(self, function: str = FUNCTION, **settings: Any) -> None:
        """Other settings of [endpoint] than the stage file's, as a deployment of the stack would set them."""
        client = self.account.client("lambda")
        variables = client.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
        changed = {**json.loads(variables["ENDPOINT_SETTINGS"]), **settings}
        client.update_function_configuration(
            FunctionName=function,
            Environment={"Variables": {**variables, "ENDPOINT_SETTINGS": json.dumps(changed, sort_keys=True)}},
        )

    @contextmanager
    def traffic(self, clients: int = 2) -> Iterator[list[Any]]:
        """Requests without a pause from several clients until the block ends: each answer, or its exception."""
        answers: list[Any] = []
        ended = Event()

        def send() -> None:
            while not ended.is_set():
                try:
                    answers.append(self.ask())
                except Exception as error:  # whatever it is, it is a failed request
                    answers.append(error)

        threads = [Thread(target=send) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield answers
        finally:
            ended.set()
            for thread in threads:
                thread.join()


def _works(process: psutil.Process) -> bool:
    """Whether a process runs the deploying function; one may end while it is looked at."""
    try:
        return process.environ().get("AWS_LAMBDA_FUNCTION_NAME") == FUNCTION
    except psutil.Error:
        return False


def _evaluation() -> dict[str, Any]:
    return {"multiclass_classification_metrics": {"accuracy": {"value": 0.5, "standard_deviation": 0.0}}}
