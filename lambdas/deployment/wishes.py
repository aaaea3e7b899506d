"""What is wanted of the endpoint: the decisions on versions, a person's order, and the version that follows from them.

Runs in Lambda; no AWS call. The registry says what was decided, and nothing here depends on the order in which events
came: of all approvals the newest wins, whichever was heard of last. Times are ISO 8601 in UTC with microseconds, so
that they compare as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

APPROVED, REJECTED = "Approved", "Rejected"
DEPLOY, ROLLBACK, DELETE = "deploy", "rollback", "delete"
NEVER = ""  # before every time


@dataclass(frozen=True)
class Decision:
    """What was decided on one version, and whether its deployment failed afterwards (``failed``: why)."""

    version: int
    package_arn: str
    status: str
    at: str
    by: str
    reason: str
    shadow: bool = False
    failed: str = ""
    failed_at: str = ""

    def same_as(self, other: Decision) -> bool:
        """Whether nothing was decided anew: other metadata of the package may have changed."""
        mine, others = (self.status, self.reason, self.shadow), (other.status, other.reason, other.shadow)
        return mine == others


@dataclass(frozen=True)
class Order:
    """What a person or the schedule for idle endpoints asked for: ``deploy``, ``rollback`` (to a version), ``delete``.

    ``left`` is the version that a rollback turned away from; 0 for none.
    """

    action: str
    version: int
    left: int
    at: str
    by: str
    reason: str


@dataclass(frozen=True)
class Wish:
    """The version to serve, and one to show copied traffic; ``delete`` when there is to be no endpoint.

    Neither a version nor ``delete``: nothing is known that may serve, so whatever serves goes on.
    """

    chosen: Decision | None = None
    shadow: Decision | None = None
    order: Order | None = None

    @property
    def delete(self) -> bool:
        return self.order is not None and self.order.action == DELETE


def wish(decisions: Mapping[int, Decision], order: Order | None) -> Wish:
    """The newest word counts, be it an approval or an order; a version that failed waits for a new word."""
    approved = sorted(
        (d for d in decisions.values() if d.status == APPROVED and not d.failed), key=lambda d: (d.at, d.version)
    )
    serving = [d for d in approved if not d.shadow]
    newest = serving[-1] if serving else None
    ordered = order is not None and order.at >= (newest.at if newest else NEVER)
    if not ordered or order is None:
        return Wish(newest, _challenger(approved, newest, NEVER))
    if order.action == DELETE:
        return Wish(order=order)
    chosen = _ordered(decisions, order)
    if chosen is None:
        remaining = [d for d in serving if d.version != order.left]
        chosen = remaining[-1] if remaining else None
    return Wish(chosen, _challenger(approved, chosen, order.at), order)


def _ordered(decisions: Mapping[int, Decision], order: Order) -> Decision | None:
    found = decisions.get(order.version)
    usable = found is not None and found.status == APPROVED and (not found.failed or found.failed_at < order.at)
    return found if usable else None


def _challenger(approved: list[Decision], chosen: Decision | None, since: str) -> Decision | None:
    """The newest version approved for copied traffic, unless a later word made it pointless."""
    if chosen is None:
        return None
    newer = [d for d in approved if d.shadow and d.at > max(chosen.at, since) and d.version != chosen.version]
    return newer[-1] if newer else None


def text_of(moment: datetime) -> str:
    """A time as it is kept and compared."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
