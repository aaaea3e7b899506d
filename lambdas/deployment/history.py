"""The endpoint's history: tells of each outcome and records it, with all that follows from it.

Runs in Lambda.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from lambdas.deployment.desired_state import DELETE, Order, VersionDecision, text_of
from lambdas.deployment.ledger import Ledger
from lambdas.deployment.notifier import Notifier
from lambdas.deployment.records import LiveDeployment, ModelDeployment, Record


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
