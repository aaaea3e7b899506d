"""The review queue: the images whose confidence was too low, read without losing any.

Runs on a laptop. Reads the queue that the inference workflow fills; deletes a message only when told to.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, TypedDict

from botocore.exceptions import ClientError

from scones.errors import SconesError
from scones.stage.connection import Connection

if TYPE_CHECKING:
    from types_boto3_sqs.type_defs import ChangeMessageVisibilityBatchRequestEntryTypeDef

# While this lasts, nobody else gets to see a message that was read.
LIST_SECONDS = 60
LABEL_SECONDS = 900
MESSAGES_AT_ONCE = 10  # what SQS hands out at most


class ReviewMessage(TypedDict):
    """What the workflows say of an image of low confidence; ``queued_at`` is ISO 8601 in UTC."""

    s3_bucket: str
    s3_key: str
    inference_id: str
    execution_arn: str
    model_package_arn: str
    predicted_label: str
    confidence: float
    threshold: float
    inferences: list[float]
    classes: list[str]
    queued_at: str


@dataclass(frozen=True)
class ReviewItem:
    """An image that waits for a review, and the messages that say so: the same image may have come more than once."""

    message: ReviewMessage
    receipts: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Its key in the bucket."""
        return str(self.message["s3_key"])

    @property
    def inference_id(self) -> str:
        """The name of the prediction, by which captured lines are found."""
        return str(self.message["inference_id"])

    @property
    def uri(self) -> str:
        """Its address in S3."""
        return f"s3://{self.message['s3_bucket']}/{self.key}"

    @property
    def classes(self) -> list[str]:
        """The classes that the model chose from, in the order of its probabilities."""
        return [str(name) for name in self.message["classes"]]

    def age_s(self, now: datetime) -> float:
        """Return the seconds that it has waited."""
        return (now - datetime.fromisoformat(self.message["queued_at"])).total_seconds()

    def is_called(self, name: str) -> bool:
        """By its key, its address, its inference id, or the last part of its key."""
        return name in (self.key, self.uri, self.inference_id, PurePosixPath(self.key).name)


class ReviewQueue:
    """The review queue of a stage. Whatever was received and not deleted is handed back by `hand_back`."""

    def __init__(self, connection: Connection) -> None:
        self._sqs = connection.client("sqs")
        name = connection.names.review_queue
        try:
            self._url = self._sqs.get_queue_url(QueueName=name)["QueueUrl"]
        except ClientError as error:
            if "NonExistentQueue" not in error.response["Error"]["Code"]:
                raise
            raise SconesError(f"queue {name} does not exist: run `scones deploy` first") from error
        self._held: dict[str, str] = {}

    def receive(self, hidden_s: int) -> Iterator[tuple[ReviewMessage, str]]:
        """Every message that is to be had, with its receipt; each is hidden from others for ``hidden_s`` seconds.

        Asks with a wait: without one, SQS looks into some of its servers only and may say that there is nothing.
        """
        while True:
            answer = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=MESSAGES_AT_ONCE,
                VisibilityTimeout=hidden_s,
                WaitTimeSeconds=1,
            )
            received = [m for m in answer.get("Messages", []) if m["MessageId"] not in self._held]
            if not received:
                return
            # All of them at once: whoever takes the first only hands back the others too.
            self._held |= {message["MessageId"]: message["ReceiptHandle"] for message in received}
            for message in received:
                document = _document(message["Body"])
                if document is not None:
                    yield document, message["ReceiptHandle"]

    def delete(self, receipts: Iterable[str]) -> None:
        """Delete messages that were received."""
        for receipt in receipts:
            self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=receipt)
            self._held = {name: held for name, held in self._held.items() if held != receipt}

    def hand_back(self) -> None:
        """Let others see at once what was received and is still there."""
        receipts = list(self._held.values())
        self._held.clear()
        self.return_to_others(receipts)

    def return_to_others(self, receipts: Sequence[str]) -> None:
        """Let others see at once what was received with these receipts; one that is no longer good changes nothing."""
        for first in range(0, len(receipts), MESSAGES_AT_ONCE):
            entries: list[ChangeMessageVisibilityBatchRequestEntryTypeDef] = [
                {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for number, receipt in enumerate(receipts[first : first + MESSAGES_AT_ONCE])
            ]
            self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)

    def hidden(self) -> int:
        """About how many messages somebody else looks at now."""
        return self._count("ApproximateNumberOfMessagesNotVisible")

    def visible(self) -> int:
        """About how many messages anybody may take."""
        return self._count("ApproximateNumberOfMessages")

    def _count(self, name: Literal["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]) -> int:
        answer = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def send(self, message: ReviewMessage, hidden_s: int = 0) -> None:
        """Have an image wait for a review; nobody sees it for ``hidden_s`` seconds (at most 900)."""
        self._sqs.send_message(QueueUrl=self._url, MessageBody=json.dumps(message), DelaySeconds=hidden_s)

    def items(self, hidden_s: int) -> list[ReviewItem]:
        """Every image that waits, the oldest first; those received stay hidden until `hand_back`.

        Of a queue that is longer than can be read before the first are no longer hidden, a part.
        """
        found: dict[tuple[str, str], ReviewItem] = {}
        enough = time.monotonic() + hidden_s / 2
        for document, receipt in itertools.takewhile(lambda _: time.monotonic() < enough, self.receive(hidden_s)):
            place = (document["inference_id"], document["s3_key"])
            known = found.setdefault(place, ReviewItem(document))
            known.receipts.append(receipt)
        return sorted(found.values(), key=lambda item: str(item.message["queued_at"]))


def _document(body: str) -> ReviewMessage | None:
    """A message of the workflow; None for anything else, which stays in the queue for whoever sent it."""
    wanted = {"s3_bucket", "s3_key", "predicted_label", "confidence", "classes", "inference_id", "queued_at"}
    try:
        document: ReviewMessage = json.loads(body)
        return document if wanted <= set(document) else None
    except (ValueError, TypeError):
        return None


def waiting(connection: Connection) -> tuple[list[ReviewItem], int]:
    """Every image that waits, the oldest first, and about how many more messages somebody else looks at."""
    queue = ReviewQueue(connection)
    elsewhere = queue.hidden()
    try:
        return queue.items(LIST_SECONDS), elsewhere
    finally:
        queue.hand_back()
