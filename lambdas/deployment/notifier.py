"""Tells people and programs what became of the endpoint.

Runs in Lambda. Publishes to the stage's topic.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from lambdas.deployment.ledger import Record

MAX_SUBJECT_CHARACTERS = 100  # SNS, Publish


@dataclass(frozen=True)
class Notifier:
    """``sns`` is a boto3 client."""

    sns: Any
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
        what = f"version {record.version} ({record.action})" if record.version else record.action
        text = f"endpoint {self.endpoint}: {what} {record.outcome}"
        return f"{text}: {record.detail}" if record.detail else text
