"""What people say of images of low confidence: recorded, turned into ground truth, kept for training.

Runs on a laptop. Writes to the data bucket, in this order, so that after a crash at any point the image still waits in
the queue, and labelling it again ends in the same objects:

1. ``reviews/<inference id>/image.*``       a copy of the image, which may be deleted where it came from
2. ``reviews/<inference id>/label.json``    the message, the label, who gave it and when
3. ``ground-truth/yyyy/mm/dd/hh/*.jsonl``   the line that Model Monitor merges with the captured prediction
4. the message is deleted
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypedDict

from botocore.exceptions import ClientError

from scones.errors import SconesError
from scones.review.queue import LABEL_SECONDS, ReviewItem, ReviewMessage, ReviewQueue
from scones.stage.connection import Connection, list_keys, object_exists, split_uri

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CopySourceTypeDef

NO_CLASS = "none"
"""The label of an image that shows none of the model's classes: it is put aside, as neither truth nor example."""

LABEL_FILE = "label.json"
_MISSING = {"NoSuchKey", "404", "NotFound"}
_KEY_SAFE = re.compile(r"[^A-Za-z0-9._-]")


class LabelData(TypedDict):
    """A label as Model Monitor reads it."""

    data: str
    encoding: str


class EventReference(TypedDict):
    """The captured prediction that a label belongs to."""

    eventId: str


class GroundTruthLine(TypedDict):
    """A line of ground truth (SageMaker AI developer guide, ingest ground truth labels)."""

    groundTruthData: LabelData
    eventMetadata: EventReference
    eventVersion: str


@dataclass(frozen=True)
class GivenLabel:
    """A person's word on an image."""

    label: str
    by: str
    at: datetime


@dataclass(frozen=True)
class ReviewRecord:
    """``label.json``: what a person said of an image. ``truths``: where ground truth was written, last of all."""

    message: ReviewMessage
    label: str
    by: str
    at: str
    image: str | None
    truths: list[str]


def find(connection: Connection, queue: ReviewQueue, name: str) -> ReviewItem:
    """The one image of this name that waits, or that was reviewed before. SconesError when it is none or several."""
    found = [item for item in queue.items(LABEL_SECONDS) if item.is_called(name)]
    found = found or [
        ReviewItem(review.message) for review in reviews(connection) if ReviewItem(review.message).is_called(name)
    ]
    if not found:
        raise SconesError(f"no image {name!r} waits for a review: see `scones review list`")
    if len(found) > 1:
        named = ", ".join(item.inference_id for item in found[:5])
        raise SconesError(f"{len(found)} images are called {name!r}: name one by its inference id ({named})")
    return found[0]


def check_label(item: ReviewItem, label: str) -> None:
    """SconesError unless the label is one of the classes that the model chose from."""
    if label not in (*item.classes, NO_CLASS):
        raise SconesError(
            f"there is no class {label!r}; the classes are: {', '.join(item.classes)}, and {NO_CLASS} for none of them"
        )


def record(connection: Connection, queue: ReviewQueue, item: ReviewItem, answer: GivenLabel) -> ReviewRecord:
    """Keep the label, write the ground truth, delete the messages. Doing it again changes nothing."""
    check_label(item, answer.label)
    s3, bucket = connection.client("s3"), connection.names.data_bucket
    review = _review(connection, item, answer)
    _put(s3, bucket, f"{_folder(connection, item)}/{LABEL_FILE}", json.dumps(asdict(review), indent=2))
    if answer.label != NO_CLASS:
        _put(s3, bucket, review.truths[-1], json.dumps(ground_truth(item, answer.label)))
    for key in review.truths[:-1] if answer.label != NO_CLASS else review.truths:
        s3.delete_object(Bucket=bucket, Key=key)
    queue.delete(item.receipts)
    return review


def take_back(connection: Connection, queue: ReviewQueue, item: ReviewItem) -> None:
    """Unsay what was said of an image: it waits again, hidden from others as long as one that was received.

    First the message, so that after a crash at any point the image waits.
    """
    before = _read(connection, item)
    if before is None:
        raise SconesError(f"nothing was said of {item.key or item.inference_id}: there is nothing to take back")
    queue.send(before.message, LABEL_SECONDS)
    s3, bucket = connection.client("s3"), connection.names.data_bucket
    for key in (*before.truths, f"{_folder(connection, item)}/{LABEL_FILE}"):
        s3.delete_object(Bucket=bucket, Key=key)


def _review(connection: Connection, item: ReviewItem, answer: GivenLabel) -> ReviewRecord:
    """What is to be kept: the same label again leaves it as it was; with another one, the newest truth counts."""
    before = _read(connection, item)
    if before is not None and before.label == answer.label:
        return before
    image = before.image if before and before.image else _copy_image(connection, item)
    earlier = before.truths if before else []
    truth = _truth_key(connection, item, answer.at)
    at = answer.at.astimezone(UTC).isoformat(timespec="seconds")
    return ReviewRecord(item.message, answer.label, answer.by, at, image, [*(k for k in earlier if k != truth), truth])


def ground_truth(item: ReviewItem, label: str) -> GroundTruthLine:
    """A line of Model Monitor's: the number of the class, as the model numbers them."""
    return {
        "groundTruthData": {"data": str(item.classes.index(label)), "encoding": "CSV"},
        "eventMetadata": {"eventId": item.inference_id},
        "eventVersion": "0",
    }


def _truth_key(connection: Connection, item: ReviewItem, at: datetime) -> str:
    """Below the hour of the review: Model Monitor looks for labels by the time at which they were given."""
    _, prefix = split_uri(connection.names.ground_truth_uri)
    return f"{prefix}/{at.astimezone(UTC):%Y/%m/%d/%H}/{safe_name(item.inference_id)}.jsonl"


def safe_name(name: str) -> str:
    """As part of a key or of a file name."""
    return _KEY_SAFE.sub("_", name)


def _folder(connection: Connection, item: ReviewItem) -> str:
    return f"{connection.names.reviews_prefix}/{safe_name(item.inference_id)}"


def _put(s3: S3Client, bucket: str, key: str, text: str) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=f"{text}\n".encode(), ContentType="application/json")


def _read(connection: Connection, item: ReviewItem) -> ReviewRecord | None:
    s3, bucket, key = connection.client("s3"), connection.names.data_bucket, f"{_folder(connection, item)}/{LABEL_FILE}"
    if not object_exists(s3, bucket, key):
        return None
    return ReviewRecord(**json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))


def label_of(connection: Connection, item: ReviewItem) -> str | None:
    """What was said of the image before."""
    before = _read(connection, item)
    return before.label if before else None


def _copy_image(connection: Connection, item: ReviewItem) -> str | None:
    """The key of the copy; None when the image is gone, or was sent to the workflow without being in S3."""
    if not item.key:
        return None
    target = f"{_folder(connection, item)}/image{PurePosixPath(item.key).suffix.lower()}"
    source: CopySourceTypeDef = {"Bucket": item.message["s3_bucket"], "Key": item.key}
    try:
        connection.client("s3").copy_object(Bucket=connection.names.data_bucket, Key=target, CopySource=source)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _MISSING:
            raise
        return None
    return target


def image_bytes(connection: Connection, item: ReviewItem) -> bytes | None:
    """The image itself, where it still is."""
    try:
        answer = connection.client("s3").get_object(Bucket=item.message["s3_bucket"], Key=item.key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _MISSING:
            raise
        return None
    content: bytes = answer["Body"].read()
    return content


def reviews(connection: Connection) -> Iterator[ReviewRecord]:
    """What was said of every image that was reviewed."""
    s3, names = connection.client("s3"), connection.names
    for key in list_keys(s3, f"s3://{names.data_bucket}/{names.reviews_prefix}/"):
        if key.endswith(f"/{LABEL_FILE}"):
            yield ReviewRecord(**json.loads(s3.get_object(Bucket=names.data_bucket, Key=key)["Body"].read()))
