"""The fault matrix: whatever breaks, every image ends as passed, needs review or failed with a reason, exactly once.

For each fault twenty real images run through the deployed workflow, five of them hit by the fault. All of it starts at
once, so that the waits between attempts pass together. Faults are made where real ones arise: in S3, in a function's
code, configuration or concurrency, in the model, at the endpoint.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.local.workflow_stage import BUCKET, ENDPOINT, PREFIX, STATES_ARN, Photos, Shop, large_photo, png

pytestmark = pytest.mark.slow  # minutes, with a stage of its own

MACHINE = f"{PREFIX}-inference-workflow"
IMAGES, HIT = 20, 5
ATTEMPTS = 6  # of one state: the first, and five more
LOW = "THRESHOLD_CONFIDENCE_NOT_MET"
UNAVAILABLE = "ModelTemporarilyUnavailable"

# Before the function's own handler, for images whose key asks for it.
SABOTAGE = """
import json, os, time
from {module} import handler as real

def handler(event, context):
    asked = json.dumps(event)
    if "{module}/crash" in asked:
        os._exit(3)
    if "{module}/time-out" in asked:
        time.sleep(60)
    return real(event, context)
"""


@dataclass(frozen=True)
class Fault:
    """What a fault does to an image's object, and how the image then ends."""

    ends: str
    data: Callable[[Photos, int], bytes | None] = lambda photos, i: photos.passing[i]
    options: dict[str, str] = field(default_factory=dict)
    asks: dict[str, str] = field(default_factory=dict)
    of_the_image: bool = True  # and not of a function, which a batch does not run


def ordered(width: int) -> Callable[[Photos, int], bytes]:
    """A real image of a width that is an order to the model."""

    def make(photos: Photos, i: int) -> bytes:
        return png(np.asarray(Image.open(io.BytesIO(photos.passing[i])).convert("RGB")), width=width)

    return make


FAULTS = {
    "lambdas.serialize_image/crash": Fault("Runtime.ExitError", of_the_image=False),
    "lambdas.filter_inferences/time-out": Fault("FunctionTimedOut", of_the_image=False),
    "short throttle": Fault("passed", of_the_image=False),
    "throttle": Fault("Lambda.TooManyRequestsException", of_the_image=False),
    "S3 404": Fault("ImageNotFound", lambda _photos, _i: None),
    "S3 403": Fault("ImageNotReadable", options={"StorageClass": "GLACIER"}),
    "endpoint 4xx": Fault("InvalidImage", ordered(15)),
    "endpoint 5xx": Fault(UNAVAILABLE, ordered(7)),
    "endpoint 5xx once": Fault("passed", ordered(9)),
    "model time-out": Fault(UNAVAILABLE, ordered(17)),
    "endpoint missing": Fault("EndpointNotDeployed", of_the_image=False),
    "corrupt PNG": Fault("InvalidImage", lambda photos, i: photos.passing[i][:300]),
    "text file": Fault("InvalidImage", lambda _photos, _i: b"this is no image"),
    "empty file": Fault("ImageEmpty", lambda _photos, _i: b""),
    "7 MB photo": Fault("passed", lambda _photos, _i: large_photo()),
    "low confidence": Fault(LOW, lambda photos, i: photos.doubtful[i]),
    "low confidence, to review": Fault(
        "needs_review", lambda photos, i: photos.doubtful[i], asks={"on_low_confidence": "review"}
    ),
    "duplicate name": Fault(LOW, lambda photos, i: photos.doubtful[i]),
}
SLOW = {"endpoint 5xx", "model time-out"}  # they are tried again until the last attempt
# How many calls of functions an image costs that is hit.
CALLS = {
    "lambdas.serialize_image/crash": 1,
    "S3 404": 1,
    "S3 403": 1,
    "empty file": 1,
    "endpoint missing": 2,
    "endpoint 5xx": 1 + ATTEMPTS,
    "model time-out": 1 + ATTEMPTS,
    "throttle": 2 + ATTEMPTS,
}


@dataclass
class Matrix:
    """All images of all faults: what they were to end as, and their executions."""

    shop: Shop
    documents: dict[str, dict[str, dict[str, str]]]
    hit: dict[str, set[str]]
    arns: dict[str, list[str]] = field(default_factory=dict)
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    reviews: list[dict[str, Any]] = field(default_factory=list)
    batch: dict[str, Any] = field(default_factory=dict)
    unserved: dict[str, Any] = field(default_factory=dict)
    invoked_before: dict[str, int] = field(default_factory=dict)

    def start(self, name: str, keys: Iterable[str]) -> None:
        for key in keys:
            self.arns.setdefault(key, []).append(self._started(self.documents[name][key]))

    def _started(self, document: dict[str, str]) -> str:
        """The execution's name is the image's: an image cannot run twice, whether its first run has ended or not."""
        run = document["s3_key"].removesuffix(".png")
        run = "".join(letter if letter.isalnum() else "-" for letter in run)
        client = self.shop.account.client("stepfunctions")
        arn = f"{STATES_ARN}:{MACHINE}"
        try:
            answer = client.start_execution(stateMachineArn=arn, name=run, input=json.dumps(document))
        except client.exceptions.ExecutionAlreadyExists:
            return f"{arn.replace(':stateMachine:', ':execution:')}:{run}"
        return str(answer["executionArn"])

    def wait(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.ended[key] = self.shop.ended(self.arns[key][0])
            assert self.ended[key]["status"] in {"SUCCEEDED", "FAILED"}, self.ended[key]

    def healthy(self, name: str) -> set[str]:
        return self.documents[name].keys() - self.hit[name]

    def wanted(self, name: str) -> dict[str, str]:
        return {key: FAULTS[name].ends if key in self.hit[name] else "passed" for key in self.documents[name]}


def fate(execution: dict[str, Any]) -> str:
    return str(execution.get("error") or json.loads(execution["output"])["status"])


@contextmanager
def sabotaged(shop: Shop, module: str, **configuration: Any) -> Iterator[None]:
    """A function whose code breaks for the images that ask for it, and whose configuration is changed."""
    client, name = shop.account.client("lambda"), f"{PREFIX}-{module.removeprefix('lambdas.').replace('_', '-')}"
    before = client.get_function_configuration(FunctionName=name)
    (stack,) = shop.account.client("cloudformation").describe_stacks(StackName=PREFIX)["Stacks"]
    parameters = {p["ParameterKey"]: p["ParameterValue"] for p in stack["Parameters"]}
    title = module.removeprefix("lambdas.").title().replace("_", "")
    source = {"S3Bucket": parameters["ArtifactBucketName"], "S3Key": parameters[f"{title}Key"]}
    body = shop.account.client("s3").get_object(Bucket=source["S3Bucket"], Key=source["S3Key"])["Body"].read()
    code = io.BytesIO(body)
    with zipfile.ZipFile(code, "a") as archive:
        archive.writestr("sabotage.py", SABOTAGE.format(module=module))
    client.update_function_code(FunctionName=name, ZipFile=code.getvalue())
    client.update_function_configuration(FunctionName=name, Handler="sabotage.handler", **configuration)
    try:
        yield
    finally:
        client.update_function_code(FunctionName=name, **source)
        kept = {key: before[key] for key in ("Handler", *configuration)}
        client.update_function_configuration(FunctionName=name, **kept)


@contextmanager
def impatient(shop: Shop, function: str) -> Iterator[None]:
    """A function that gives the endpoint one second."""
    client, name = shop.account.client("lambda"), f"{PREFIX}-{function}"
    variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    changed = {**variables, "ENDPOINT_TIMEOUT_SECONDS": "1"}
    client.update_function_configuration(FunctionName=name, Environment={"Variables": changed})
    try:
        yield
    finally:
        client.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


@contextmanager
def throttled(shop: Shop, function: str) -> Iterator[None]:
    """A function that may not run at all."""
    client, name = shop.account.client("lambda"), f"{PREFIX}-{function}"
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        yield
    finally:
        client.delete_function_concurrency(FunctionName=name)


@contextmanager
def without_endpoint(shop: Shop) -> Iterator[None]:
    client = shop.account.client("sagemaker")
    config = client.describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"]
    client.delete_endpoint(EndpointName=ENDPOINT)
    until(lambda: not client.list_endpoints(NameContains=ENDPOINT)["Endpoints"])
    try:
        yield
    finally:
        client.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName=config)
        shop.in_service()


def until(holds: Callable[[], bool], timeout_s: float = 300) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def uploaded(shop: Shop, photos: Photos) -> Matrix:
    """Twenty objects for each fault, of which every fourth is hit."""
    matrix = Matrix(shop, {}, {})
    for name, fault in FAULTS.items():
        made: dict[str, dict[str, str]] = {}
        matrix.documents[name], matrix.hit[name] = made, set()
        for i in range(IMAGES):
            broken = i % (IMAGES // HIT) == 0
            # Functions break for those keys that name the fault.
            key = f"matrix/{name}/{i}.png" if broken else f"matrix/healthy/{name.replace('/', ' ')}/{i}.png"
            data = fault.data(photos, i // (IMAGES // HIT)) if broken else photos.passing[i]
            if data is not None:
                shop.put(key, data, **(fault.options if broken else {}))
            made[key] = {"s3_bucket": BUCKET, "s3_key": key, **(fault.asks if broken else {})}
            if broken:
                matrix.hit[name].add(key)
    return matrix


@pytest.fixture(scope="module")
def matrix(shop: Shop, photos: Photos) -> Matrix:
    """All images of all faults, once each has ended."""
    shop.reviews()
    found = uploaded(shop, photos)
    functions = ("serialize-image", "classify-image", "filter-inferences")
    found.invoked_before = {f"{PREFIX}-{name}": invocations(shop, f"{PREFIX}-{name}") for name in functions}
    with (
        sabotaged(shop, "lambdas.serialize_image"),
        sabotaged(shop, "lambdas.filter_inferences", Timeout=3),
        impatient(shop, "classify-image"),
        impatient(shop, "classify-batch"),
    ):
        with throttled(shop, "serialize-image"):
            found.start("short throttle", found.hit["short throttle"])
            time.sleep(1)
        later = {"throttle", "endpoint missing"}
        for name, documents in found.documents.items():
            hit_now = set() if name in {*later, "short throttle"} else found.hit[name]
            found.start(name, [key for key in documents if key in hit_now | found.healthy(name)])
        found.start("duplicate name", found.hit["duplicate name"])
        quick = [key for name in FAULTS.keys() - SLOW for key in found.documents[name] if key in found.arns]
        found.wait(quick)
        # Whoever still waits for the model never reaches the third function.
        with throttled(shop, "filter-inferences"):
            found.start("throttle", found.hit["throttle"])
            found.batch = batch_of_all(found)
            found.wait([key for name in (*SLOW, "throttle") for key in found.documents[name]])
    with without_endpoint(shop):
        found.start("endpoint missing", found.hit["endpoint missing"])
        found.unserved = shop.batch(source="prefix", s3_prefix="matrix/endpoint missing/")
        found.wait(found.hit["endpoint missing"])
    found.reviews = shop.reviews()
    return found


def batch_of_all(matrix: Matrix) -> dict[str, Any]:
    """The images of all faults that lie in images, in one batch."""
    names = [name for name, fault in FAULTS.items() if fault.of_the_image]
    keys = [key for name in names for key in matrix.documents[name]]
    text = "".join(json.dumps({"s3_key": key}) + "\n" for key in keys)
    matrix.shop.put("matrix.jsonl", text.encode())
    return matrix.shop.batch(source="jsonl", s3_key="matrix.jsonl", batch_size=10, tolerated_failure_percentage=100)


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_breaks_every_image_ends_in_one_way(matrix: Matrix, name: str) -> None:
    executions = {key: matrix.ended[key] for key in matrix.documents[name]}
    assert len(executions) == IMAGES
    wanted = matrix.wanted(name)
    assert not {key: (end, wanted[key]) for key in executions if (end := fate(executions[key])) != wanted[key]}
    for key, execution in executions.items():
        if execution["status"] == "FAILED":
            assert key in execution["cause"]
        else:
            assert json.loads(execution["output"])["s3_key"] == key
    low = [key for key, end in wanted.items() if end in {LOW, "needs_review"}]
    arns = {matrix.arns[key][0]: key for key in executions}
    queued = [review for review in matrix.reviews if review["execution_arn"] in arns]
    assert sorted(review["s3_key"] for review in queued) == sorted(low)


def test_nothing_runs_twice(matrix: Matrix) -> None:
    assert all(len(set(arns)) == 1 for arns in matrix.arns.values())
    client = matrix.shop.account.client("stepfunctions")
    pages = client.get_paginator("list_executions").paginate(stateMachineArn=f"{STATES_ARN}:{MACHINE}")
    listed = Counter(e["executionArn"] for page in pages for e in page["executions"] if e["name"].startswith("matrix"))
    assert listed == Counter({arns[0]: 1 for arns in matrix.arns.values()})
    assert len(listed) == IMAGES * len(FAULTS)


def test_no_failure_becomes_a_storm_of_retries(matrix: Matrix) -> None:
    """Tried again is only what may be better in a moment, and not for ever; nobody else calls a function."""
    client = matrix.shop.account.client("stepfunctions")
    called: Counter[str] = Counter()
    for name in FAULTS:
        for key in matrix.documents[name]:
            history = client.get_execution_history(executionArn=matrix.arns[key][0], maxResults=1000)["events"]
            scheduled = [event["taskScheduledEventDetails"] for event in history if event["type"] == "TaskScheduled"]
            functions = [json.loads(task["parameters"]).get("FunctionName", "") for task in scheduled]
            called.update(functions)
            assert len(scheduled) <= 3 + ATTEMPTS
            if key in matrix.hit[name] and name in CALLS:
                assert len(scheduled) == CALLS[name], (name, functions)
    counted = Counter(
        {name: called[f"arn:aws:lambda:us-east-1:123456789012:function:{name}"] for name in matrix.invoked_before}
    )
    assert counted.keys() == {name.rsplit(":", 1)[-1] for name in called if name}

    def since() -> dict[str, int]:
        return {name: invocations(matrix.shop, name) - before for name, before in matrix.invoked_before.items()}

    until(lambda: sum(since().values()) >= counted.total(), 10)
    assert since() == counted


def invocations(shop: Shop, function: str) -> int:
    """How often a function has run or was refused."""
    now, total = time.time(), 0.0
    for metric in ("Invocations", "Throttles"):
        points = shop.account.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName=metric,
            Dimensions=[{"Name": "FunctionName", "Value": function}],
            StartTime=now - 3600,
            EndTime=now + 60,
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        total += sum(point["Sum"] for point in points)
    return round(total)


def test_a_batch_of_all_loses_nothing(matrix: Matrix) -> None:
    assert matrix.batch["status"] == "SUCCEEDED", matrix.batch
    summary = json.loads(matrix.batch["output"])
    rows = [json.loads(line) for line in matrix.shop.get(summary["results_uri"]).splitlines()]
    wanted = {k: end for n, f in FAULTS.items() if f.of_the_image for k, end in matrix.wanted(n).items()}
    wanted = {key: "needs_review" if end == LOW else end for key, end in wanted.items()}
    assert Counter(row["s3_key"] for row in rows) == Counter(wanted.keys())
    assert {row["s3_key"]: row["error"] or row["status"] for row in rows} == wanted
    assert all(row["s3_key"] in row["reason"] for row in rows if row["status"] == "failed")
    queued = [r["s3_key"] for r in matrix.reviews if r["execution_arn"] == matrix.batch["executionArn"]]
    assert sorted(queued) == sorted(key for key, end in wanted.items() if end == "needs_review")


def test_a_batch_without_an_endpoint_leaves_every_image_for_another_time(matrix: Matrix) -> None:
    assert matrix.unserved["error"] == "TOLERATED_FAILURES_EXCEEDED"
    summary = json.loads(matrix.unserved["cause"])
    assert (summary["items"], summary["errors"]) == (HIT, {"EndpointNotDeployed": HIT})
    left = [json.loads(line)["s3_key"] for line in matrix.shop.get(summary["left_uri"]).splitlines()]
    assert sorted(left) == sorted(matrix.hit["endpoint missing"])


def test_a_batch_whose_function_crashes_or_is_throttled_loses_nothing(matrix: Matrix) -> None:
    shop = matrix.shop
    for i, image in enumerate(matrix.documents["S3 404"]):
        if image in matrix.hit["S3 404"]:
            continue
        data = shop.account.client("s3").get_object(Bucket=BUCKET, Key=image)["Body"].read()
        shop.put(f"crashing/{'lambdas.classify_batch/crash-' if i == 1 else ''}{i}.png", data)
    with sabotaged(shop, "lambdas.classify_batch"), throttled(shop, "classify-batch"):
        document = {"s3_bucket": BUCKET, "source": "prefix", "s3_prefix": "crashing/", "batch_size": 5}
        arn = shop.start(f"{PREFIX}-batch-workflow", {**document, "tolerated_failure_percentage": 40})
        time.sleep(1)
        shop.account.client("lambda").delete_function_concurrency(FunctionName=f"{PREFIX}-classify-batch")
        ended = shop.ended(arn)
    assert ended["status"] == "SUCCEEDED", ended
    summary = json.loads(ended["output"])
    rows = [json.loads(line) for line in shop.get(summary["results_uri"]).splitlines()]
    assert len({row["s3_key"] for row in rows}) == len(rows) == IMAGES - HIT
    assert summary["errors"] == {"Runtime.ExitError": 5}
    assert summary["passed"] == IMAGES - HIT - 5
