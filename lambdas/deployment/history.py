"""The endpoint's history: tells people and programs of each outcome, and records it with all that follows from it.

Runs in Lambda. Publishes to the stage's topic.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from lambdas.deployment.desired_state import DELETE, Order, VersionDecision, text_of
from lambdas.deployment.ledger import Ledger
from lambdas.deployment.records import LiveDeployment, ModelDeployment, Record

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


@dataclass(frozen=True)
class Reason:
    """Who wants a change of the endpoint, and why."""

    action: str
    by: str
    text: str


@dataclass(frozen=True)
class History:
    """An outcome is told of before it is recorded: twice after a crash in between, but never recorded in silence."""

    ledger: Ledger
    notifier: Notifier
    clock: Callable[[], datetime]

    def end(
        self,
        deployment: ModelDeployment,
        outcome: str,
        detail: str,
        live: LiveDeployment | None,
        *,
        smoke: str = "",
        blame: int = 0,
    ) -> None:
        """Record how a deployment ended. ``blame`` is the version that is not tried again until somebody says so."""
        kept = {k: v for k, v in asdict(deployment).items() if k in Record.__dataclass_fields__}
        record = Record(**kept, outcome=outcome, detail=detail, ended=text_of(self.clock()), smoke_after=smoke)
        self.notifier.notify(record)
        failed = None
        if blame:
            failed = replace(_BLAMED, version=blame, failed=detail or outcome, failed_at=record.ended)
        self.ledger.end(record, live, failed)

    def note(
        self,
        reason: Reason,
        outcome: str,
        detail: str,
        about: LiveDeployment,
        *,
        live: LiveDeployment | None,
        order: Order | None = None,
    ) -> None:
        """Record what is no deployment; ``live`` serves after it, and the order in the table has become ``order``."""
        record = self._record(reason, outcome, detail, about)
        self.notifier.notify(record)
        self.ledger.note(record, live, order)

    def _record(self, reason: Reason, outcome: str, detail: str, about: LiveDeployment) -> Record:
        now = text_of(self.clock())
        return Record(
            id=f"{now}#{about.version:08d}",
            action=reason.action,
            outcome=outcome,
            detail=detail,
            version=about.version,
            package_arn=about.package_arn,
            by=reason.by,
            reason=reason.text,
            started=now,
            ended=now,
            config=about.config,
        )

    def deleted_elsewhere(self, since: str) -> Reason:
        """An endpoint that somebody deleted by hand stays away until the next decision.

        Nobody knows when that was, so whatever was decided after ``since``, when it came, counts as decided later.
        """
        reason = Reason(DELETE, "unknown", "the endpoint was deleted elsewhere")
        self.ledger.put_order(Order(DELETE, 0, 0, since, reason.by, reason.text))
        return reason


# Only the version, the fault and its time are written.
_BLAMED = VersionDecision(0, "", "", "", "", "")
