"""Tells people and programs what became of the endpoint.

Runs in Lambda. Publishes to the stage's topic.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lambdas.deployment.records import Record

if TYPE_CHECKING:
    from types_boto3_sns import SNSClient

MAX_SUBJECT_CHARACTERS = 100  # SNS, Publish


@dataclass(frozen=True)
class Notifier:
    """Publishes what became of the endpoint to the stage's topic."""

    sns: SNSClient
    topic_arn: str
    endpoint: str

    def notify(self, record: Record) -> None:
        """One line for people; for programs the record as JSON, and what they may filter by."""
        attributes = {
            "endpoint": self.endpoint,
            "outcome": record.outcome,
            "version": str(record.version),
            "record": json.dumps(asdict(record)),
        }
        self.sns.publish(
            TopicArn=self.topic_arn,
            Subject=f"{self.endpoint}: {record.outcome}"[:MAX_SUBJECT_CHARACTERS],
            Message=self.line(record),
            MessageAttributes={k: {"DataType": "String", "StringValue": v} for k, v in attributes.items()},
        )

    def line(self, record: Record) -> str:
        """Return the sentence for people."""
        what = f"version {record.version} ({record.action})" if record.version else record.action
        text = f"endpoint {self.endpoint}: {what} {record.outcome}"
        return f"{text}: {record.detail}" if record.detail else text
