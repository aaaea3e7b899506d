"""Send images through the inference workflow and read what became of each.

Runs on a laptop or in CodeBuild. An execution that ends below the confidence threshold has failed on purpose, with the
error `THRESHOLD_CONFIDENCE_NOT_MET` (or, where the stage wants it, ended as `needs_review`); its cause still tells the
label and the confidence.
"""

from __future__ import annotations

import json
import random
import re
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reporting.documents.dataset import MANIFEST_FILE, Manifest
from reporting.documents.json import DocumentError, from_bytes
from scones.errors import SconesError
from scones.stage.connection import Connection, split_uri

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_stepfunctions import SFNClient
    from types_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

LOW_CONFIDENCE = "THRESHOLD_CONFIDENCE_NOT_MET"


@dataclass(frozen=True)
class StoredImage:
    """An image in S3 and, where it is known, its true label."""

    bucket: str
    key: str
    true_label: str | None = None


@dataclass(frozen=True)
class ImageOutcome:
    """How one execution ended: ``status`` is SUCCEEDED, LOW_CONFIDENCE or FAILED (then ``error`` says why)."""

    image: StoredImage
    status: str
    predicted_label: str | None
    confidence: float | None
    error: str
    execution_arn: str

    def as_json(self) -> dict[str, object]:
        """Return it as a document; ``error`` only where there was one."""
        answer: dict[str, object] = {
            "s3_key": self.image.key,
            "true_label": self.image.true_label,
            "status": self.status,
            "predicted_label": self.predicted_label,
            "confidence": self.confidence,
        }
        return {**answer, "error": self.error} if self.error else answer


def test_images(connection: Connection, dataset_uri: str) -> list[StoredImage]:
    """The dataset's held-out test split."""
    bucket, prefix = split_uri(dataset_uri)
    classes = read_manifest(connection, dataset_uri).classes
    images = []
    for line in _read(connection.client("s3"), bucket, f"{prefix}/test.lst").splitlines():
        _, label, path = line.split("\t")
        key = f"{prefix}/{path}" if path.startswith("test/") else f"{prefix}/test/{path}"
        images.append(StoredImage(bucket, key, classes[int(float(label))]))
    return images


def pick_test_images(connection: Connection, dataset_uri: str, count: int, seed: int | None) -> list[StoredImage]:
    """``count`` random images of the test split, as many of each class as possible."""
    by_label: dict[str | None, list[StoredImage]] = {}
    for image in test_images(connection, dataset_uri):
        by_label.setdefault(image.true_label, []).append(image)
    chooser = random.Random(seed)  # noqa: S311 - a sample of images, not a secret
    for images in by_label.values():
        chooser.shuffle(images)
    dealt = [image for round_ in zip(*by_label.values(), strict=False) for image in round_]
    if count > len(dealt):
        raise SconesError(f"{count} test images were asked for, but {dataset_uri} holds {len(dealt)} of equal share")
    chosen = dealt[:count]
    chooser.shuffle(chosen)
    return chosen


def read_manifest(connection: Connection, dataset_uri: str) -> Manifest:
    """What a dataset folder in S3 says of itself. Raises SconesError where it says nothing of the kind."""
    uri = f"{dataset_uri}/{MANIFEST_FILE}"
    try:
        return from_bytes(_read(connection.client("s3"), *split_uri(uri)).encode(), Manifest)
    except DocumentError as error:
        raise SconesError(f"{uri} does not describe a dataset: {error}") from error


def _read(s3: S3Client, bucket: str, key: str) -> str:
    return str(s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode())


def upload_images(connection: Connection, paths: Sequence[Path]) -> list[StoredImage]:
    """Upload local image files below the data bucket's `incoming` prefix."""
    names = connection.names
    images = []
    for path in paths:
        if not path.is_file():
            raise SconesError(f"{path} is not a file: expected a PNG or JPEG image")
        key = f"{names.incoming_prefix}/{uuid.uuid4().hex[:12]}-{path.name}"
        connection.client("s3").upload_file(str(path), names.data_bucket, key)
        images.append(StoredImage(names.data_bucket, key))
    return images


def run(
    connection: Connection,
    images: Sequence[StoredImage],
    show: Callable[[int, int], None] | None = None,
    *,
    on_low_confidence: str | None = None,
) -> list[ImageOutcome]:
    """Run the workflow once for every image, all at the same time; outcomes in the images' order.

    ``on_low_confidence`` is fail or review; None leaves it to the stage.
    """
    states = connection.client("stepfunctions")
    started = [start(connection, image, on_low_confidence) for image in images]
    outcomes: list[ImageOutcome] = []
    for image, arn in zip(images, started, strict=True):
        outcomes.append(outcome_of(image, _wait(states, arn, connection.settings.poll_interval_s)))
        if show:
            show(len(outcomes), len(images))
    return outcomes


def workflow_arn(connection: Connection) -> str:
    """The Standard state machine for one image."""
    names = connection.names
    return f"arn:aws:states:{names.region}:{names.account_id}:stateMachine:{names.workflow}"


def start(connection: Connection, image: StoredImage, on_low_confidence: str | None = None) -> str:
    """Start the workflow for an image; answers the execution's ARN."""
    document = {"s3_bucket": image.bucket, "s3_key": image.key}
    if on_low_confidence:
        document["on_low_confidence"] = on_low_confidence
    # The name becomes the InferenceId of the captured line, which may have 64 characters.
    name = f"{re.sub('[^A-Za-z0-9_-]', '-', Path(image.key).stem)[:31]}-{uuid.uuid4().hex}"
    answer = connection.client("stepfunctions").start_execution(
        stateMachineArn=workflow_arn(connection), name=name, input=json.dumps(document)
    )
    return str(answer["executionArn"])


def _wait(states: SFNClient, arn: str, poll_interval_s: float) -> DescribeExecutionOutputTypeDef:
    pause = min(0.05, poll_interval_s)
    while True:
        execution = states.describe_execution(executionArn=arn)
        if execution["status"] != "RUNNING":
            return execution
        time.sleep(pause)
        pause = min(2 * pause, poll_interval_s)


def outcome_of(image: StoredImage, execution: DescribeExecutionOutputTypeDef) -> ImageOutcome:
    """What became of an execution that has ended."""
    arn, status, error = execution["executionArn"], execution["status"], execution.get("error", "")
    if status == "SUCCEEDED":
        result = json.loads(execution["output"])
        # A stage may let images of low confidence wait for review instead of failing their executions.
        ended = "LOW_CONFIDENCE" if result["status"] == "needs_review" else status
        return ImageOutcome(image, ended, result["predicted_label"], result["confidence"], "", arn)
    message = _message(execution.get("cause", ""))
    if error == LOW_CONFIDENCE:
        result = json.loads(message)
        return ImageOutcome(image, "LOW_CONFIDENCE", result["predicted_label"], result["confidence"], "", arn)
    return ImageOutcome(image, "FAILED", None, None, " ".join(f"{error or status}: {message}".split()), arn)


def _message(cause: str) -> str:
    """A function's own words: Lambda wraps them as ``errorMessage`` of a JSON object."""
    try:
        return str(json.loads(cause)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return cause
