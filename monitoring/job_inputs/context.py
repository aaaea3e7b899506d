"""What the job is told of the endpoint besides its captures: deployments, requests and latency by hour.

Runs in the monitoring container. Reads ``deployments.json`` (a list of ``{at, version, outcome}``) and ``traffic.json``
(a list of ``{hour, requests, latency_ms, latency_p99_ms}``, the last two optional, times ISO 8601 in UTC), each of
which may be missing; a file that is something else is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import msgspec

from monitoring.captures.times import HOUR_US, microseconds, parse_time
from monitoring.job_inputs import places
from reporting.documents.json import DocumentError, from_bytes
from reporting.job import JobError

Row = TypeVar("Row")

DEPLOYMENTS_FILE, TRAFFIC_FILE = "deployments.json", "traffic.json"


@dataclass(frozen=True)
class KnownDeployment:
    """One line of the endpoint's history."""

    at: datetime
    version: str
    outcome: str


@dataclass(frozen=True)
class Latency:
    """How long the model took for the requests of an hour."""

    hour: int
    median_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True)
class EndpointContext:
    """What is known; ``requests`` by hour since 1970, None where nobody counted."""

    deployments: list[KnownDeployment] = field(default_factory=list)
    requests: dict[int, int] | None = None
    latency: list[Latency] = field(default_factory=list)


def read_context(where: str) -> EndpointContext:
    """From a folder or a prefix; nothing is known of "". Raises JobError."""
    if not where:
        return EndpointContext()
    try:
        deployments = _rows(f"{where.rstrip('/')}/{DEPLOYMENTS_FILE}", _DeploymentRow)
        traffic = _rows(f"{where.rstrip('/')}/{TRAFFIC_FILE}", _TrafficRow)
        found = [KnownDeployment(parse_time(row.at), str(row.version), row.outcome) for row in deployments or []]
        hours = [(microseconds(parse_time(row.hour)) // HOUR_US, row) for row in traffic or []]
    except (ValueError, DocumentError) as error:
        raise JobError(
            f"{where} is not what is known of an endpoint ({error}): expected {DEPLOYMENTS_FILE} with at, version "
            f"and outcome, and {TRAFFIC_FILE} with hour and requests"
        ) from error
    requests = None if traffic is None else {hour: int(row.requests) for hour, row in hours}
    latency = [Latency(hour, row.latency_ms, row.latency_p99_ms) for hour, row in hours]
    known = [row for row in latency if row.median_ms is not None or row.p99_ms is not None]
    return EndpointContext(sorted(found, key=lambda each: each.at), requests, known)


class _DeploymentRow(msgspec.Struct, frozen=True):
    at: str
    version: str | int
    outcome: str


class _TrafficRow(msgspec.Struct, frozen=True):
    hour: str
    requests: float
    latency_ms: float | None = None
    latency_p99_ms: float | None = None


def _rows(where: str, kind: type[Row]) -> list[Row] | None:
    """The JSON list in a file or an object; None where there is none. Raises DocumentError, which names it."""
    data = places.read(where)
    try:
        return None if data is None else from_bytes(data, list[kind])  # type: ignore[valid-type]  # a type as a value
    except DocumentError as error:
        raise DocumentError(f"{where.rpartition('/')[2]}: {error}") from error
