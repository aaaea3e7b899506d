"""What the registry's page shows: versions with their figures, one of them whole, and deployments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from console.account import ConsoleAccount
from console.pages.registry.drift import VersionDrift, drift_of_versions
from console.web.remembered import Remembered
from reporting.documents.evaluation import Evaluation
from scones.errors import SconesError
from scones.serving_versions import deployments, endpoint, evaluation_facts, registry
from scones.serving_versions.registry import ModelVersion
from scones.stage.connection import Connection
from scones.standing.look import new_share

_MOST = 30
_HISTORY = 12
_evaluations: Remembered[Evaluation | None] = Remembered()


@dataclass(frozen=True)
class VersionRow:
    """A version in the table."""

    version: ModelVersion
    live: bool
    evaluation: Evaluation | None
    drift: VersionDrift | None = None

    @property
    def passing(self) -> float | None:
        """The share of test images that reached the threshold of its training."""
        found = self.evaluation
        rows = [row for row in found.coverage if row.threshold == found.threshold] if found else []
        return rows[0].coverage if rows else None

    @property
    def champion(self) -> str:
        """How much better it is than the version that was approved then; "" where nothing was compared."""
        compared = self.evaluation.comparison if self.evaluation else None
        if self.evaluation is None or compared is None or compared.accuracy is None:
            return ""
        other = compared.model_package_arn.rpartition("/")[2]
        return f"{100 * (self.evaluation.accuracy - compared.accuracy):+.1f} points to version {other}"


@dataclass(frozen=True)
class RegistryView:
    """The versions, the newest first; ``more`` are not shown."""

    rows: list[VersionRow]
    chosen: int
    more: int = 0


@dataclass(frozen=True)
class VersionView:
    """One version: its facts, and what would happen if it was approved or rejected."""

    row: VersionRow
    facts: list[tuple[str, str]]
    serves: int
    approving: str
    rejecting: str
    rolling_back: str
    back: str
    writes: bool


@dataclass(frozen=True)
class DeploymentView:
    """What is being deployed, its share of the traffic, and what was."""

    doing: str
    busy: bool
    share: float | None
    records: Sequence[Mapping[str, object]]


def read_versions(connection: Connection, chosen: int) -> RegistryView:
    """Read the newest versions with their evaluations."""
    known, live = registry.versions(connection), _live_arn(connection)
    drift = drift_of_versions(connection)
    rows = [_row(connection, version, live, drift.get(version.version)) for version in known[:_MOST]]
    return RegistryView(rows, chosen or (rows[0].version.version if rows else 0), len(known) - len(rows))


def _live_arn(connection: Connection) -> str:
    found = endpoint.status(connection)
    return found.model_package_arn if found else ""


def _row(connection: Connection, version: ModelVersion, live: str, drift: VersionDrift | None = None) -> VersionRow:
    return VersionRow(version, version.arn == live, evaluation_of(connection, version), drift)


def evaluation_of(connection: Connection, version: ModelVersion) -> Evaluation | None:
    """An evaluation is written once; None where there is none, or none that can be read."""
    return _evaluations.get((version.arn, version.evaluation_uri), lambda: _read(connection, version))


def _read(connection: Connection, version: ModelVersion) -> Evaluation | None:
    try:
        return registry.evaluation(connection, version)
    except SconesError:
        return None


def read_version(connection: Connection, account: ConsoleAccount, number: int) -> VersionView:
    """Read one version, the newest without a number."""
    version = registry.find(connection, number or None)
    row = _row(connection, version, _live_arn(connection))
    serves = int(_live_arn(connection).rpartition("/")[2] or 0)
    facts = evaluation_facts.rows(row.evaluation) if row.evaluation else []
    kept = [(name.replace("_", " "), value) for name, value in sorted(version.metadata.items())]
    return VersionView(
        row,
        [*facts, *kept],
        serves,
        what_approving_does(version.version, serves, account),
        what_rejecting_does(version.version, serves),
        what_rolling_back_does(version.version, serves),
        f"/registry?version={version.version}",
        not account.read_only,
    )


def what_approving_does(version: int, serves: int, account: ConsoleAccount) -> str:
    """Say it before it is done."""
    if version == serves:
        return f"Version {version} serves already; approving it again notes your reason."
    if not serves:
        return f"Approving version {version} makes the endpoint, tests it with known images and has it serve."
    share = f"{account.settings.endpoint.canary_percent} % of the traffic first"
    return (
        f"Approving version {version} puts it in place of version {serves}: {share}, then all unless an alarm is on; "
        "an alarm, or a known image that is answered differently, brings the old version back."
    )


def what_rejecting_does(version: int, serves: int) -> str:
    """Say it before it is done."""
    if version == serves:
        return f"Version {version} serves: rejecting it puts the newest other approved one in its place, if any."
    return f"Rejecting version {version} notes that it must not serve; the endpoint stays as it is."


def what_rolling_back_does(version: int, serves: int) -> str:
    """Say it before it is done."""
    return f"Version {version} takes the place of version {serves} at once; the next approval counts again."


def read_deployment(connection: Connection) -> DeploymentView:
    """Read what is under way and the newest lines of the history."""
    known = deployments.state(connection)
    busy = not known.quiet
    share = None
    if busy and known.status:
        found = connection.client("sagemaker").describe_endpoint(EndpointName=connection.names.endpoint)
        share = new_share(found)
    records = [deployments.plain(item) for item in reversed(known.records[-_HISTORY:])]
    return DeploymentView(deployments.doing(known), busy, share, records)
