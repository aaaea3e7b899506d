"""The batch workflow's function: does to each image of a batch what the inference workflow does to one.

Runs in Lambda, as child of a Distributed Map. Reads the images and the endpoint's answers; sends images of low
confidence to the review queue. An image that fails never fails its batch: each ends as passed, needs_review or failed,
with the error's name and reason. What may be better in a moment is tried again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypedDict

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from lambdas.inference.body import WorkflowFault
from lambdas.inference.endpoint import Endpoint, EndpointAnswer, ModelTemporarilyUnavailable, live_endpoint
from lambdas.inference.images import read_image
from lambdas.inference.telemetry import count_prediction, logger, observed
from lambdas.inference.threshold import ConfidenceThresholds, Verdict, current_thresholds, judge

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

THREADS = 8
ATTEMPTS = 5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
# An attempt must not be cut off by the function's own time limit: 30 s for the endpoint, and what is around it.
ATTEMPT_S = 35.0
# SQS: ten messages and 262,144 bytes a request.
MESSAGES_PER_REQUEST, BYTES_PER_REQUEST = 10, 250_000
REASON_CHARACTERS = 300


class BatchInput(TypedDict):
    """What all children of a map are told."""

    batch_id: str
    s3_bucket: str
    execution_arn: str


class BatchEvent(TypedDict):
    """One child's part of the batch; ``Items`` are lines of a manifest, or objects as ListObjectsV2 lists them."""

    BatchInput: BatchInput
    Items: list[object]


class BatchAnswer(TypedDict):
    """What becomes of the images: the members of `BatchRow`."""

    outcomes: list[dict[str, object]]


@dataclass
class BatchRow:
    """One line of the batch's results; ``status`` is passed, needs_review, failed or skipped."""

    s3_bucket: str
    s3_key: str
    inference_id: str
    status: str = "failed"
    predicted_label: str | None = None
    confidence: float | None = None
    threshold: float | None = None
    model_package_arn: str | None = None
    error: str | None = None
    reason: str | None = None

    def fail(self, error: str, reason: str) -> None:
        """Note why the image has no result."""
        self.status, self.error, self.reason = "failed", error, reason[:REASON_CHARACTERS]


class InvalidItem(WorkflowFault):
    """A line of the manifest does not name an image."""


class OutOfTime(WorkflowFault):
    """The function's time limit came before the image's turn."""


@dataclass
class ReviewRequest:
    """An image of low confidence, and the message that tells what it takes to label it."""

    row: BatchRow
    message: str


@dataclass(frozen=True)
class Batch:
    """What the images of one invocation have in common."""

    batch_id: str
    bucket: str
    execution_arn: str
    thresholds: ConfidenceThresholds
    endpoint: Endpoint
    s3: S3Client
    remaining_s: Callable[[], float]
    wait: Callable[[float], None] = time.sleep

    def classified(self, item: object) -> tuple[BatchRow, ReviewRequest | None]:
        """What became of one item; never raises."""
        row = _row(*_location(item, self.bucket), self.batch_id)
        if row.s3_key.endswith("/") and isinstance(item, dict) and item.get("Size") == 0:
            row.status = "skipped"  # a folder marker of the S3 console
            return row, None
        try:
            if not row.s3_key:
                raise InvalidItem(f"expected an object with s3_key, got {str(item)[:100]}")
            image = read_image(self.s3, row.s3_bucket, row.s3_key)
            answer = self._asked(image, row)
        except Exception as error:  # whatever it is, it is this image's fate and not the batch's
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
            row.fail(code, str(error))
            return row, None
        return self._judged(row, answer)

    def _asked(self, image: bytes, row: BatchRow) -> EndpointAnswer:
        subject = f"s3://{row.s3_bucket}/{row.s3_key}"
        for attempt in range(ATTEMPTS):
            if self.remaining_s() < ATTEMPT_S:
                raise OutOfTime(f"{subject}: the function's time limit came first; take smaller batches")
            try:
                return self.endpoint.classify(image, row.inference_id, subject)
            except ModelTemporarilyUnavailable:
                if attempt == ATTEMPTS - 1:
                    raise
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**attempt)
            self.wait(pause * random.random())  # noqa: S311  # full jitter, not a secret
        raise AssertionError("the last attempt returns or raises")

    def _judged(self, row: BatchRow, answer: EndpointAnswer) -> tuple[BatchRow, ReviewRequest | None]:
        verdict = judge(answer.inferences, list(answer.model.classes), self.thresholds)
        row.status = "passed" if verdict.passed else "needs_review"
        row.predicted_label, row.confidence, row.threshold = astuple(verdict)
        row.model_package_arn = answer.model.package_arn
        return row, None if verdict.passed else ReviewRequest(row, self._message(row, answer, verdict))

    def _message(self, row: BatchRow, answer: EndpointAnswer, verdict: Verdict) -> str:
        return json.dumps(
            {
                "s3_bucket": row.s3_bucket,
                "s3_key": row.s3_key,
                **asdict(verdict),
                "inferences": answer.inferences,
                "classes": list(answer.model.classes),
                "inference_id": row.inference_id,
                "execution_arn": self.execution_arn,
                "model_package_arn": answer.model.package_arn,
                "queued_at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            }
        )


@functools.cache
def s3_client() -> S3Client:
    """Return the function's client of S3, made once."""
    return boto3.client("s3")


@functools.cache
def sqs_client() -> SQSClient:
    """Return the function's client of SQS, made once."""
    return boto3.client("sqs")


@observed
def handler(event: BatchEvent, context: LambdaContext) -> BatchAnswer:
    """Classify one child's images; an image that fails is a row, never an error."""
    common = event["BatchInput"]
    batch = Batch(
        batch_id=common["batch_id"],
        bucket=common["s3_bucket"],
        execution_arn=common["execution_arn"],
        thresholds=current_thresholds(),
        endpoint=live_endpoint(),
        s3=s3_client(),
        remaining_s=lambda: context.get_remaining_time_in_millis() / 1000,
    )
    rows = classify(event["Items"], batch, sqs_client(), os.environ["REVIEW_QUEUE_URL"])
    for row in rows:
        if row.confidence is not None:
            count_prediction(row.predicted_label, row.confidence, row.status == "passed")
    logger.info("batch done", images=len(rows), failed=sum(row.status == "failed" for row in rows))
    return {"outcomes": [asdict(row) for row in rows]}


def classify(items: list[object], batch: Batch, sqs: SQSClient, queue_url: str) -> list[BatchRow]:
    """One row for each item, in their order; reviews are sent last, so that a repeated batch rarely repeats them."""
    with ThreadPoolExecutor(THREADS) as pool:
        done = list(pool.map(batch.classified, items))
    for reviews in _requests(review for _, review in done if review):
        _send(sqs, queue_url, reviews)
    return [row for row, _ in done]


def _location(item: object, bucket: str) -> tuple[str, str]:
    """Bucket and key from a line of a manifest, or from what ListObjectsV2 says of an object."""
    if not isinstance(item, dict):
        return bucket, ""
    key = item.get("s3_key") or item.get("Key") or ""
    return str(item.get("s3_bucket") or bucket), key if isinstance(key, str) else ""


def _row(bucket: str, key: str, batch_id: str) -> BatchRow:
    """The inference id is the same whenever the same batch asks for the same image."""
    digest = hashlib.sha256(f"{batch_id}/{bucket}/{key}".encode()).hexdigest()
    return BatchRow(bucket, key, f"{batch_id[:31]}-{digest[:32]}")


def _requests(reviews: Iterable[ReviewRequest]) -> Iterator[list[ReviewRequest]]:
    """Reviews in groups that fit one request each."""
    group: list[ReviewRequest] = []
    size = 0
    for review in reviews:
        size += len(review.message.encode())
        if group and (len(group) == MESSAGES_PER_REQUEST or size > BYTES_PER_REQUEST):
            yield group
            group, size = [], len(review.message.encode())
        group.append(review)
    if group:
        yield group


def _send(sqs: SQSClient, queue_url: str, reviews: list[ReviewRequest]) -> None:
    """Queue the reviews; an image that could not be queued has failed, else nobody would ever look at it."""
    entries: list[SendMessageBatchRequestEntryTypeDef] = [
        {"Id": str(index), "MessageBody": review.message} for index, review in enumerate(reviews)
    ]
    try:
        answer = sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
        refused = {int(entry["Id"]): entry.get("Message", entry["Code"]) for entry in answer.get("Failed", [])}
    except (ClientError, BotoCoreError) as error:
        refused = dict.fromkeys(range(len(reviews)), str(error))
    for index, reason in refused.items():
        reviews[index].row.fail("ReviewQueueNotWritable", f"not queued for review: {reason}")
