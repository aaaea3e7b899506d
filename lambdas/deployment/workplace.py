"""What a step works with: the account's clients, the table, the endpoint's settings and the clock.

Runs in Lambda.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from lambdas.deployment.ledger import Deployment, Ledger, Live, Record
from lambdas.deployment.registry import find_version, keep_version
from lambdas.deployment.sagemaker_endpoint import describe_endpoint
from lambdas.deployment.smoke import Asker, Smoke
from lambdas.deployment.surroundings import stop_scaling, tell
from lambdas.deployment.target import Target
from lambdas.deployment.version import ServableVersion, VersionGoneError
from lambdas.deployment.wishes import DELETE, Decision, Order, Wish, text_of


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Step:
    """What a step did. ``more``: another one can follow at once; else there is something to wait for, or nothing."""

    text: str
    more: bool = False


@dataclass(frozen=True)
class Situation:
    """What is wanted and what is there, at one look."""

    wanted: Wish
    decisions: Mapping[int, Decision]
    current: Deployment | None
    live: Live | None
    endpoint: dict[str, Any] | None

    @property
    def status(self) -> str:
        return str(self.endpoint["EndpointStatus"]) if self.endpoint else "absent"

    @property
    def config(self) -> str:
        return str(self.endpoint["EndpointConfigName"]) if self.endpoint else ""

    @property
    def serves(self) -> str:
        """The configuration in service; empty when none is."""
        return self.config if self.status == "InService" else ""


@dataclass(frozen=True)
class Word:
    """Who wants something, and why."""

    action: str
    by: str
    reason: str


@dataclass(frozen=True)
class Workplace:
    """``clients`` answers a boto3 client for a service's name."""

    clients: Callable[[str], Any]
    ledger: Ledger
    where: Target
    clock: Callable[[], datetime] = utc_now

    @property
    def sagemaker(self) -> Any:
        return self.clients("sagemaker")

    def now(self) -> str:
        return text_of(self.clock())

    def endpoint(self) -> dict[str, Any] | None:
        return describe_endpoint(self.sagemaker, self.where.endpoint)

    def smoke(self, package_arn: str) -> Smoke:
        if not self.where.settings.smoke_test:
            return Smoke(None, "not tested: switched off")
        asker = Asker(self.clients("s3"), self.clients("sagemaker-runtime"), self.where.endpoint)
        try:
            return asker.test(self.version(package_arn))
        except VersionGoneError as error:
            return Smoke(None, f"not tested: {error}")

    def version(self, package_arn: str) -> ServableVersion:
        """What is known of a version; raises VersionGoneError."""
        return find_version(self.sagemaker, self.ledger, package_arn)

    def keep_version(self, package_arn: str) -> None:
        keep_version(self.sagemaker, self.ledger, package_arn)

    def end(
        self, deployment: Deployment, outcome: str, detail: str, live: Live | None, *, smoke: str = "", blame: int = 0
    ) -> None:
        """Tell of the outcome, then record it: told twice after a crash in between, but never recorded in silence.

        ``blame`` is the version that is not tried again until somebody says so.
        """
        kept = {k: v for k, v in asdict(deployment).items() if k in Record.__dataclass_fields__}
        record = Record(**kept, outcome=outcome, detail=detail, ended=self.now(), smoke_after=smoke)
        tell(self.clients("sns"), self.where, record)
        failed = None
        if blame:
            failed = replace(_BLAMED, version=blame, failed=detail or outcome, failed_at=record.ended)
        self.ledger.end(record, live, failed)

    def note(self, record: Record, live: Live | None, order: Order | None = None) -> None:
        """The same for what is no deployment; ``live`` serves after it, and an order has become ``order``."""
        tell(self.clients("sns"), self.where, record)
        self.ledger.note(record, live, order)

    def record(self, word: Word, outcome: str, detail: str, live: Live) -> Record:
        now = self.now()
        return Record(
            id=f"{now}#{live.version:08d}",
            action=word.action,
            outcome=outcome,
            detail=detail,
            version=live.version,
            package_arn=live.package_arn,
            by=word.by,
            reason=word.reason,
            started=now,
            ended=now,
            config=live.config,
        )

    def deleted_elsewhere(self, since: str) -> Word:
        """An endpoint that somebody deleted by hand stays away until the next word.

        Nobody knows when that was, so whatever was said after ``since``, when it came, counts as said later.
        """
        word = Word(DELETE, "unknown", "the endpoint was deleted elsewhere")
        self.ledger.give(Order(DELETE, 0, 0, since, word.by, word.reason))
        return word

    def without_scaling(self, live: Live | None) -> Live | None:
        if live is None or not live.scaled:
            return live
        stop_scaling(self.clients("application-autoscaling"), self.where)
        settled = replace(live, scaled=False)
        self.ledger.set_live(settled)
        return settled


# Only the version, the fault and its time are written.
_BLAMED = Decision(0, "", "", "", "", "")
