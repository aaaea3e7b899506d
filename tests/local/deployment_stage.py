"""A deployed stage for the tests of deployments: tiny models that tell which version they are, and what came of each.

Every model answers each image with probabilities of its own, so that an answer shows who gave it. Some are broken on
purpose. Each test works with the endpoint of its own account's stage, one after the other.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer

from tests.local.foreign_models import IMAGE, archive

if TYPE_CHECKING:  # the fixtures in conftest use this module
    from tests.local.conftest import RunningAccount

PREFIX = "scones-local"
BUCKET = f"{PREFIX}-data-123456789012-us-east-1"
ENDPOINT = f"{PREFIX}-vehicle-classifier"
FUNCTION = f"{PREFIX}-deploy-approved-model"
TABLE = f"{PREFIX}-deployments"
CLASSES = ["bicycle", "motorcycle"]
PATIENCE_S = 120.0

# `weights.txt` holds the probability of the first class; a word instead of it is an order.
MODEL = """
import json, os

def model_fn(folder):
    with open(os.path.join(folder, "weights.txt")) as stream:
        said = stream.read()
    if said == "unhealthy":
        raise RuntimeError("this model cannot be loaded")
    return said

def input_fn(body, content_type):
    return body

def predict_fn(body, said):
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

    @property
    def sagemaker(self) -> Any:
        return self.account.client("sagemaker")

    def register(self, weights: str, expected: float | None = None, content: bytes | None = None) -> str:
        """A version whose answers are ``weights``, and whose evaluation saw ``expected`` (as it is, if None)."""
        run = f"pipeline-runs/{uuid.uuid4().hex}"
        self._put(f"{run}/model.tar.gz", archive(MODEL, weights) if content is None else content)
        self._put(f"{run}/evaluation/evaluation.json", json.dumps(_evaluation()).encode())
        if expected is not None or _is_number(weights):
            self._put(f"{run}/evaluation/smoke.json", self._smoke(float(weights) if expected is None else expected))
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

    def approve(self, package: str, reason: str = "a test [by tester]") -> None:
        self.decide(package, "Approved", reason)

    def reject(self, package: str, reason: str = "a test [by tester]") -> None:
        self.decide(package, "Rejected", reason)

    def look(self) -> list[str]:
        """What the schedule does: have the function look."""
        answer = self.account.client("lambda").invoke(FunctionName=FUNCTION, Payload=b"{}")
        content = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, content
        return list(content)

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
        return str(model["PrimaryContainer"]["ModelPackageName"])

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

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait for a condition, however slow the machine is."""
        deadline = time.monotonic() + PATIENCE_S
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

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """All messages that the topic has sent to a queue since it was asked last."""
        sqs, found = self.account.client("sqs"), []
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                found.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    def set_endpoint(self, **settings: Any) -> None:
        """Other settings of [endpoint] than the stage file's, as a deployment of the stack would set them."""
        client = self.account.client("lambda")
        variables = client.get_function_configuration(FunctionName=FUNCTION)["Environment"]["Variables"]
        changed = {**json.loads(variables["ENDPOINT_SETTINGS"]), **settings}
        client.update_function_configuration(
            FunctionName=FUNCTION,
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


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _evaluation() -> dict[str, Any]:
    return {"multiclass_classification_metrics": {"accuracy": {"value": 0.5, "standard_deviation": 0.0}}}
