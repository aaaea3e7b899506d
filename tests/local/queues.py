"""SQS queues that tests look into, to see what was delivered."""

from __future__ import annotations

import time
from typing import Any

from tests.local.roles import allow, document


class Queue:
    """An SQS queue to look into."""

    def __init__(self, account: Any, name: str) -> None:
        self._sqs = account.client("sqs")
        self.url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        self.arn = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        services = [f"{name}.amazonaws.com" for name in ("events", "s3", "sns")]
        statement = allow("sqs:SendMessage", self.arn) | {"Principal": {"Service": services}}
        self._sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": document(statement)})

    def take(self, count: int = 1, timeout_s: float = 300) -> list[dict[str, Any]]:
        """At least ``count`` messages, fewer when the time is over."""
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + timeout_s
        while len(found) < count and time.monotonic() < deadline:
            answer = self._sqs.receive_message(
                QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=0, MessageAttributeNames=["All"]
            )
            for message in answer.get("Messages", []):
                self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
                found.append(message)
            time.sleep(0.05)
        return found
