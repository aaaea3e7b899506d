"""What the ledger keeps of deployments: the one in progress, what serves, and what became of each.

Runs in Lambda; no AWS call. `scones.serving_versions.deployments` reads the same members.
"""

from __future__ import annotations

from dataclasses import dataclass

PLANNED, CHANGING = "planned", "changing"


@dataclass(frozen=True)
class ModelDeployment:
    """A change of the endpoint that was begun: to which version, why, and from where.

    ``phase`` is ``planned`` until SageMaker took the change, then ``changing``.
    """

    id: str
    action: str
    version: int
    package_arn: str
    config: str
    by: str
    reason: str
    decided_at: str
    started: str
    previous_version: int = 0
    previous_config: str = ""
    shadow_version: int = 0
    shadow_arn: str = ""
    smoke_before: str = ""
    phase: str = PLANNED
    attempts: int = 0


@dataclass(frozen=True)
class LiveDeployment:
    """What serves, as far as deployments of ours brought it there, and where a rollback would go."""

    version: int
    package_arn: str
    config: str
    since: str
    shadow_version: int = 0
    previous_version: int = 0
    previous_config: str = ""
    scaled: bool = False
    refused_config: str = ""
    """Other settings for the same version, which SageMaker did not take."""
    unwanted: str = ""
    """Why the version should not serve, once that was told and there is no other."""
    removal_told: bool = False
    """Whether it was told that the version's entry in the registry is gone."""


@dataclass(frozen=True)
class Record:
    """One line of the history. ``outcome``: deployed, shadowing, rolled back, failed, deleted or kept."""

    id: str
    action: str
    outcome: str
    detail: str
    version: int
    package_arn: str
    by: str
    reason: str
    started: str
    ended: str
    config: str = ""
    decided_at: str = ""
    previous_version: int = 0
    shadow_version: int = 0
    smoke_before: str = ""
    smoke_after: str = ""
