"""The desired state of the endpoint, which follows from the decisions on versions and from a person's order.

Runs in Lambda; no AWS call. The registry says what was decided, and nothing here depends on the order in which events
came: of all approvals the newest wins, whichever was heard of last. Times are ISO 8601 in UTC with microseconds, so
that they compare as text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

APPROVED: Final = "Approved"
REJECTED: Final = "Rejected"
DEPLOY, ROLLBACK, DELETE = "deploy", "rollback", "delete"
NEVER = ""  # before every time


@dataclass(frozen=True)
class VersionDecision:
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
    removed_at: str = ""
    """When it was seen that the version is gone from the registry: it may serve on, but not be deployed again."""

    @property
    def approved(self) -> bool:
        """Whether the newest decision on the version was an approval."""
        return self.status == APPROVED

    @property
    def deployable(self) -> bool:
        """Whether it is approved and still in the registry."""
        return self.approved and not self.removed_at

    def same_as(self, other: VersionDecision) -> bool:
        """Whether nothing was decided anew: other metadata of the package may have changed."""
        return self._decided == other._decided

    @property
    def _decided(self) -> tuple[str, str, bool, bool]:
        return self.status, self.reason, self.shadow, bool(self.removed_at)


@dataclass(frozen=True)
class Order:
    """What a person or the schedule for idle endpoints asked for: ``deploy``, ``rollback`` (to a version), ``delete``.

    ``left`` is the version that a rollback turned away from; 0 for none. ``pending``: nothing came of it yet.
    ``refused`` says why it could not be done; what serves then stays, until the next decision or order.
    """

    action: str
    version: int
    left: int
    at: str
    by: str
    reason: str
    pending: bool = False
    refused: str = ""


@dataclass(frozen=True)
class DesiredState:
    """The version to serve, and one to show copied traffic; ``delete`` when there is to be no endpoint.

    Neither a version nor ``delete``: nothing is known that may serve, so whatever serves goes on.
    """

    chosen: VersionDecision | None = None
    shadow: VersionDecision | None = None
    order: Order | None = None

    @property
    def delete(self) -> bool:
        """Whether there is to be no endpoint."""
        return self.order is not None and self.order.action == DELETE


def desired_state(
    decisions: Mapping[int, VersionDecision], order: Order | None, serving: Collection[int] = ()
) -> DesiredState:
    """The newest approval or order counts; a version that failed waits for a new one.

    One that is gone from the registry counts only while it is among ``serving``, the versions behind the endpoint now.
    """
    approved = sorted(
        (d for d in decisions.values() if d.approved and not d.failed and (d.deployable or d.version in serving)),
        key=lambda d: (d.at, d.version),
    )
    to_serve = [d for d in approved if not d.shadow]
    newest = to_serve[-1] if to_serve else None
    ordered = order is not None and order.at >= (newest.at if newest else NEVER)
    if not ordered or order is None:
        return DesiredState(newest, _challenger(approved, newest, NEVER))
    if order.action == DELETE:
        return DesiredState(order=order)
    chosen = _ordered(decisions, order, serving)
    if chosen is None:
        remaining = [d for d in to_serve if d.version != order.left]
        chosen = remaining[-1] if remaining else None
    return DesiredState(chosen, _challenger(approved, chosen, order.at), order)


def _ordered(
    decisions: Mapping[int, VersionDecision], order: Order, serving: Collection[int]
) -> VersionDecision | None:
    found = decisions.get(order.version)
    if found is None or not (found.deployable or (found.approved and found.version in serving)):
        return None
    return found if not found.failed or found.failed_at < order.at else None


def why_not_deployable(decisions: Mapping[int, VersionDecision], order: Order, serving: Collection[int] = ()) -> str:
    """Why the version of an order cannot be deployed; "" when it can, or when it serves already."""
    found = decisions.get(order.version)
    if order.version in serving:
        return ""
    if found is None:
        return f"version {order.version} was never approved"
    if found.removed_at:
        return f"version {order.version} was deleted from the registry"
    return "" if found.approved else f"version {order.version} is {found.status}: {found.reason}"


def _challenger(approved: list[VersionDecision], chosen: VersionDecision | None, since: str) -> VersionDecision | None:
    """The newest version approved for copied traffic, unless a later approval or order made it pointless."""
    if chosen is None:
        return None
    newer = [d for d in approved if d.shadow and d.at > max(chosen.at, since) and d.version != chosen.version]
    return newer[-1] if newer else None


def text_of(moment: datetime) -> str:
    """A time as it is kept and compared."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
