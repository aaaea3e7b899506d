"""An account for the tests of deployments, small and quick: SageMaker's answers from memory, everything else moto's.

Changes of the endpoint end when the test says so, and each call can be made the last one before a crash.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
from botocore.exceptions import ClientError
from moto import mock_aws

from lambdas.deployment.endpoint_spec import ContainerNetwork, EndpointOptions, EndpointSpec
from lambdas.deployment.history import Notifier
from lambdas.deployment.ledger import Ledger
from lambdas.deployment.reconcile import reconcile
from lambdas.deployment.steps import DeploymentContext
from tests.unit.fake_table import FakeTable

ARN = "arn:aws:sagemaker:us-east-1:123456789012"
ENDPOINT = GROUP = "shop"
START = datetime(2026, 11, 21, 8, tzinfo=UTC)
SETTINGS = EndpointOptions(
    variant="instance",
    initial_instance_count=2,
    serverless_memory_mb=2048,
    serverless_max_concurrency=5,
    canary_percent=10,
    canary_wait_s=60,
    bake_s=120,
    autoscaling_max_instances=0,
    autoscaling_invocations_per_instance=600,
    smoke_test=True,
    idle_hours=0.0,
)


READING = ("describe_", "list_", "get_", "query", "invoke_")


class Crash(BaseException):
    """The process died: no handler of exceptions runs, as for SIGKILL, except what Python itself unwinds."""


def _invalid(message: str) -> ClientError:
    return ClientError({"Error": {"Code": "ValidationException", "Message": message}}, "Test")


@dataclass
class FakeSageMaker:
    """What SageMaker keeps. ``breaks`` holds what goes wrong with a version: ping, smoke, archive."""

    packages: dict[str, dict[str, Any]] = field(default_factory=dict)
    registered: int = 0
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    networks: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    endpoint: dict[str, Any] | None = None
    breaks: dict[int, str] = field(default_factory=dict)
    updates: list[dict[str, Any]] = field(default_factory=list)
    time: datetime = START

    def tick(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time

    # What a test does.
    def register(self) -> str:
        self.registered += 1
        version = self.registered
        arn = f"{ARN}:model-package/{GROUP}/{version}"
        self.packages[arn] = {
            "ModelPackageArn": arn,
            "ModelPackageVersion": version,
            "ModelApprovalStatus": "PendingManualApproval",
            "CreationTime": self.tick(),
            "ModelMetrics": {"ModelQuality": {"Statistics": {"S3Uri": f"s3://data/{version}/evaluation.json"}}},
            "InferenceSpecification": {
                "Containers": [
                    {
                        "Image": "image",
                        "ModelDataUrl": f"s3://data/{version}/model.tar.gz",
                        "Environment": {"SCONES_CLASSES": "bicycle,motorcycle"},
                    }
                ]
            },
        }
        return arn

    def decide(self, arn: str, status: str = "Approved", reason: str = "good [by ann]", **metadata: str) -> None:
        package = self.packages[arn]
        package |= {"ModelApprovalStatus": status, "ApprovalDescription": reason, "LastModifiedTime": self.tick()}
        package["CustomerMetadataProperties"] = metadata

    def remove(self, arn: str) -> None:
        """DeleteModelPackage."""
        del self.packages[arn]

    def settle(self) -> None:
        """End what is under way."""
        found = self.endpoint
        if found is None or found["EndpointStatus"] == "InService":
            return
        if found["EndpointStatus"] == "Deleting":
            self.endpoint = None
            return
        coming = found.pop("_coming", "")
        broken = self.breaks.get(self._version(coming)) == "ping"
        found.pop("FailureReason", None)
        if broken:
            found["FailureReason"] = "the ping failed"
        elif coming:
            found["EndpointConfigName"] = coming
        found["EndpointStatus"] = "Failed" if broken and found["EndpointStatus"] == "Creating" else "InService"

    def _version(self, config: str) -> int:
        container = self.models[self.configs[config]["ProductionVariants"][0]["ModelName"]]
        return int(self._package(container).rpartition("/")[2])

    @staticmethod
    def _package(container: dict[str, Any]) -> str:
        """Models of before name their package."""
        return str(container.get("Environment", {}).get("SCONES_MODEL_PACKAGE_ARN") or container["ModelPackageName"])

    @property
    def live(self) -> int:
        """The version in service; 0 for none."""
        found = self.endpoint
        return self._version(found["EndpointConfigName"]) if found and found["EndpointStatus"] == "InService" else 0

    # What the function asks.
    def list_model_packages(self, **request: Any) -> dict[str, Any]:
        wanted = request["ModelApprovalStatus"]
        found = [p for p in self.packages.values() if p["ModelApprovalStatus"] == wanted]
        return {"ModelPackageSummaryList": found[::-1][: request["MaxResults"]]}

    def describe_model_package(self, **request: Any) -> dict[str, Any]:
        if request["ModelPackageName"] not in self.packages:
            raise _invalid(f"ModelPackage {request['ModelPackageName']} does not exist.")
        return dict(self.packages[request["ModelPackageName"]])

    def create_model(self, **request: Any) -> None:
        if request["ModelName"] in self.models:
            raise _invalid("Cannot create already existing model")
        container = request["PrimaryContainer"]
        package = self._package(container)
        assert container.get("ModelDataUrl", "").startswith("s3://data/") or package in self.packages
        if self.breaks.get(int(package.rpartition("/")[2])) == "archive":
            raise _invalid("Could not access model data")
        self.models[request["ModelName"]] = container
        self.networks[request["ModelName"]] = request.get("VpcConfig")

    def describe_model(self, **request: Any) -> dict[str, Any]:
        return {"PrimaryContainer": self.models[request["ModelName"]]}

    def delete_model(self, **request: Any) -> None:
        if self.models.pop(request["ModelName"], None) is None:
            raise _invalid("Could not find model")

    def create_endpoint_config(self, **request: Any) -> None:
        if request["EndpointConfigName"] in self.configs:
            raise _invalid("Cannot create already existing endpoint configuration")
        self.configs[request["EndpointConfigName"]] = request

    def delete_endpoint_config(self, **request: Any) -> None:
        if self.configs.pop(request["EndpointConfigName"], None) is None:
            raise _invalid("Could not find endpoint configuration")

    def create_endpoint(self, **request: Any) -> None:
        if self.endpoint:
            raise _invalid("Cannot create already existing endpoint")
        self.endpoint = {
            "EndpointName": ENDPOINT,
            "EndpointArn": f"{ARN}:endpoint/{ENDPOINT}",
            "EndpointConfigName": request["EndpointConfigName"],
            "EndpointStatus": "Creating",
            "_coming": request["EndpointConfigName"],
        }

    def update_endpoint(self, **request: Any) -> None:
        if self.endpoint is None or self.endpoint["EndpointStatus"] != "InService":
            raise _invalid("Cannot update in-progress endpoint")
        self.updates.append(request)
        self.endpoint |= {"EndpointStatus": "Updating", "_coming": request["EndpointConfigName"]}

    def describe_endpoint(self, **_: Any) -> dict[str, Any]:
        if self.endpoint is None:
            raise _invalid("Could not find endpoint")
        return dict(self.endpoint)

    def delete_endpoint(self, **_: Any) -> None:
        if self.endpoint is None:
            raise _invalid("Could not find endpoint")
        self.endpoint["EndpointStatus"] = "Deleting"

    def add_tags(self, **_: Any) -> None:
        """Tags are not looked at."""

    # The runtime and the known images.
    def invoke_endpoint(self, **_: Any) -> dict[str, Any]:
        answer = [0.0, 1.0] if self.breaks.get(self.live) == "smoke" else [1.0, 0.0]
        return {"Body": io.BytesIO(json.dumps(answer).encode())}

    def get_object(self, **_: Any) -> dict[str, Any]:
        image = {"name": "a.png", "content_type": "image/png", "data": "", "probabilities": [1.0, 0.0]}
        return {"Body": io.BytesIO(json.dumps({"images": [image]}).encode())}


class Counting:
    """Passes calls on, and dies after one of them."""

    def __init__(self, target: Any, account: Account) -> None:
        self._target, self._account = target, account

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name in ("meta", "client"):
            return Counting(found, self._account)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            answer = found(*args, **kwargs)
            # Between two calls that change something, a crash after a reading one is a crash after the first.
            if not name.startswith(READING):
                self._account.count()
            return answer

        return call


class CountingClients:
    """The account's clients, as `lambdas.deployment.clients.EndpointClients` has them."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def __getattr__(self, name: str) -> Counting:
        return self._account.client(name.replace("_", "-"))


@dataclass
class Account:
    """The account, and one function in it."""

    sagemaker: FakeSageMaker
    table: Any
    topic_arn: str
    queue: Any
    others: dict[str, Any]
    calls: int = 0
    crash_after: int = 0
    settings: EndpointOptions = SETTINGS
    network: ContainerNetwork | None = None
    alarms: tuple[str, ...] = ()

    def count(self) -> None:
        self.calls += 1
        if self.calls == self.crash_after:
            raise Crash

    def client(self, service: str) -> Any:
        own = {"sagemaker", "sagemaker-runtime", "s3"}
        return Counting(self.sagemaker if service in own else self.others[service], self)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.table)

    def context(self) -> DeploymentContext:
        spec = EndpointSpec(
            endpoint=ENDPOINT,
            model_package_group=GROUP,
            instance_type="ml.m5.large",
            role_arn="arn:aws:iam::123456789012:role/model",
            capture_uri="s3://data/captures",
            data_key_arn="arn:aws:kms:us-east-1:123456789012:key/data",
            network=self.network,
            settings=self.settings,
            alarms=self.alarms,
        )
        notifier = Notifier(self.client("sns"), self.topic_arn, ENDPOINT)
        return DeploymentContext(
            CountingClients(self), Ledger(Counting(self.table, self)), notifier, spec, self.sagemaker.tick
        )

    def look(self, owner: str = "", lease_s: int = 0) -> list[str]:
        """One invocation; a lease of no time, because a crashed one's would have to run out first."""
        return reconcile(self.context(), None, owner or uuid.uuid4().hex, lease_s, lambda _: self.sagemaker.settle())

    def run(self, times: int = 6) -> list[str]:
        """Invocations with what SageMaker does in between, until nothing changes any more."""
        done = []
        for _ in range(times):
            done += self.look()
            self.sagemaker.settle()
        return done

    def records(self) -> list[tuple[int, str, str]]:
        items = [item for item in self.table.scan()["Items"] if item["kind"] == "record"]
        return [(int(r["version"]), r["action"], r["outcome"]) for r in sorted(items, key=lambda r: str(r["key"]))]

    def told(self) -> list[str]:
        """The messages that the topic sent."""
        return [json.loads(message.body)["Message"] for message in self.queue.receive_messages(MaxNumberOfMessages=10)]


class FakeTopic:
    """A topic and the queue behind it."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def publish(self, **request: Any) -> None:
        self.sent.append(SimpleNamespace(body=json.dumps(request)))

    def receive_messages(self, **_: Any) -> list[Any]:
        found, self.sent = self.sent, []
        return found


def quick_account() -> Account:
    """An account without moto, for tests of hundreds of runs."""
    topic = FakeTopic()
    return Account(FakeSageMaker(), FakeTable("deployments"), "topic", topic, {"sns": topic, "cloudwatch": None})


@contextmanager
def account() -> Iterator[Account]:
    with mock_aws():
        session = boto3.Session("key", "secret", region_name="us-east-1")
        keys = {"kind": "HASH", "key": "RANGE"}
        table = session.resource("dynamodb").create_table(
            TableName="deployments",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()],
            BillingMode="PAY_PER_REQUEST",
        )
        topic = session.client("sns").create_topic(Name="told")["TopicArn"]
        queue = session.resource("sqs").create_queue(QueueName="told")
        session.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.attributes["QueueArn"])
        others = {name: session.client(name) for name in ("sns", "cloudwatch", "application-autoscaling")}
        yield Account(FakeSageMaker(), table, topic, queue, others)
