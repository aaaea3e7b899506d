"""The items of the deployments table, as far as they are read here.

`lambdas/deployment/ledger.py` describes the table's layout and writes them. Numbers come as Decimal, as DynamoDB keeps
them; times are ISO 8601 in UTC with microseconds, so that they compare as text.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypedDict


class CurrentItem(TypedDict):
    """The deployment in progress; ``phase`` is planned or changing."""

    version: Decimal
    action: str
    phase: str
    started: str


class LiveItem(TypedDict):
    """What serves; ``shadow_version`` gets copies of its traffic, 0 for none."""

    version: Decimal
    package_arn: str
    since: str
    shadow_version: Decimal
    unwanted: str


class OrderItem(TypedDict):
    """What a person, or the schedule for idle endpoints, asked for last."""

    action: str
    at: str


class DecisionItem(TypedDict, total=False):
    """What was decided on a version; ``failed`` says why its deployment did, ``removed_at`` when it was missed."""

    version: Decimal
    status: str
    at: str
    shadow: bool
    failed: str
    removed_at: str


class RecordItem(TypedDict):
    """One line of the history."""

    version: Decimal
    shadow_version: Decimal
    action: str
    outcome: str
    detail: str
    by: str
    reason: str
    decided_at: str
    started: str
    ended: str


class VersionItem(TypedDict):
    """What is known of a version since its deployment began; classes are separated by commas."""

    version: Decimal
    package_arn: str
    created: str
    classes: str
    evaluation_uri: str
    baseline_uri: str
    metadata: dict[str, str]
