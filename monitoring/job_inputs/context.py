"""What the job is told of the endpoint besides its captures: deployments, requests and latency by hour.

Runs in the monitoring container. Reads ``deployments.json`` (a list of ``{at, version, outcome}``) and ``traffic.json``
(a list of ``{hour, requests, latency_ms, latency_p99_ms}``, the last two optional, times ISO 8601 in UTC), each of
which may be missing; a file that is something else is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from monitoring.captures.line import parse_time
from monitoring.captures.times import HOUR_US, microseconds
from monitoring.job_inputs import places
from reporting.job import JobError

DEPLOYMENTS_FILE, TRAFFIC_FILE = "deployments.json", "traffic.json"


@dataclass(frozen=True)
class Deployment:
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
class Context:
    """What is known; ``requests`` by hour since 1970, None where nobody counted."""

    deployments: list[Deployment] = field(default_factory=list)
    requests: dict[int, int] | None = None
    latency: list[Latency] = field(default_factory=list)


def read_context(where: str) -> Context:
    """From a folder or a prefix; nothing is known of "". Raises JobError."""
    if not where:
        return Context()
    deployments, traffic = (_list(f"{where.rstrip('/')}/{name}") for name in (DEPLOYMENTS_FILE, TRAFFIC_FILE))
    try:
        found = [Deployment(parse_time(d["at"]), str(d["version"]), str(d["outcome"])) for d in deployments or []]
        hours = [(microseconds(parse_time(row["hour"])) // HOUR_US, row) for row in traffic or []]
        requests = None if traffic is None else {hour: int(row["requests"]) for hour, row in hours}
        latency = [
            Latency(hour, _number(row.get("latency_ms")), _number(row.get("latency_p99_ms"))) for hour, row in hours
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise JobError(
            f"{where} is not what is known of an endpoint ({error!r}): expected {DEPLOYMENTS_FILE} with at, version "
            f"and outcome, and {TRAFFIC_FILE} with hour and requests"
        ) from error
    known = [row for row in latency if row.median_ms is not None or row.p99_ms is not None]
    return Context(sorted(found, key=lambda each: each.at), requests, known)


def _list(where: str) -> list[dict[str, Any]] | None:
    data = places.read(where)
    if data is None:
        return None
    try:
        document = json.loads(data)
    except ValueError as error:
        raise JobError(f"{where} is not JSON: {error}") from error
    if not isinstance(document, list):
        raise JobError(f"{where} is not a JSON list")
    return document


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
