"""Has many captures read on several instances, into what the monitoring job keeps.

Runs on a laptop or in CodeBuild. Writes one small object for each folder of captures, an hour of a variant, starts the
collecting pipeline, whose instances share them, and removes what they have left for each other.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from scones.errors import SconesError
from scones.runs import pipeline_runs
from scones.runs.pipeline_runs import Run
from scones.serving_versions import live_version
from scones.stage.connection import Connection, list_keys, split_uri
from scones.traffic.captures import TimeRange

MOST_INSTANCES = 20
"""As many as SageMaker gives a processing job without a higher quota (service quotas, ml.m5.large)."""
_PARTS = ("Classes", "Thresholds")
_CONNECTIONS = 16


@dataclass(frozen=True)
class CollectedTraffic:
    """How many folders of captures were read, on how many instances, by which run."""

    folders: int
    instances: int
    run: str


def collect(
    connection: Connection, chosen: TimeRange, instances: int, show: Callable[[Run], None] | None = None
) -> CollectedTraffic:
    """Read the captures of a time range. Raises SconesError when there are none, or a job failed."""
    if not 1 <= instances <= MOST_INSTANCES:
        raise SconesError(f"--instances must lie between 1 and {MOST_INSTANCES}, got {instances}")
    found = folders(connection, chosen)
    if not found:
        raise SconesError(f"nothing was captured between {chosen.start:%Y-%m-%d %H:%M} and {chosen.end:%Y-%m-%d %H:%M}")
    place = f"{connection.names.monitoring_state_uri}/partials/{uuid.uuid4().hex[:12]}"
    used = min(instances, len(found))
    try:
        _write_tickets(connection, f"{place}/hours", found)
        run = _run(connection, place, used, live_version.parameters(connection, chosen.end), show)
    finally:
        _remove(connection, place)
    if not run.succeeded:
        raise SconesError(run.explain())
    return CollectedTraffic(len(found), used, run.arn.rpartition("/")[2])


def folders(connection: Connection, chosen: TimeRange) -> list[str]:
    """``endpoint/variant/yyyy/mm/dd/hh`` of the time range, below the captures."""
    s3 = connection.client("s3")
    bucket, prefix = split_uri(connection.names.capture_uri)
    endpoint = f"{prefix}/{connection.names.endpoint}/"
    days = [
        f"{chosen.start.date() + timedelta(days=number):%Y/%m/%d}"
        for number in range((chosen.end.date() - chosen.start.date()).days + 1)
    ]

    def below(key: str) -> list[str]:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key, Delimiter="/")
        return [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", [])]

    hours = [
        hour.removeprefix(f"{prefix}/").rstrip("/")
        for v in below(endpoint)
        for d in days
        for hour in below(v + d + "/")
    ]
    first, last = f"{chosen.start:%Y/%m/%d/%H}", f"{chosen.end:%Y/%m/%d/%H}"
    return [hour for hour in hours if first <= hour[-len(first) :] <= last]


def _write_tickets(connection: Connection, uri: str, found: list[str]) -> None:
    bucket, prefix = split_uri(uri)
    s3 = connection.client("s3")

    def write(number: int, folder: str) -> None:
        s3.put_object(Bucket=bucket, Key=f"{prefix}/{number:06d}", Body=folder.encode())

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        list(pool.map(write, range(len(found)), found))


def _run(
    connection: Connection, place: str, instances: int, live: dict[str, str], show: Callable[[Run], None] | None
) -> Run:
    parameters = {name: live[name] for name in _PARTS if live.get(name)}
    parameters |= {"HoursUri": f"{place}/hours", "PartsUri": f"{place}/parts", "Instances": str(instances)}
    arn = pipeline_runs.start(connection, connection.names.collect_pipeline, parameters)
    try:
        return pipeline_runs.wait(connection, arn, show)
    except KeyboardInterrupt:
        pipeline_runs.stop(connection, arn)
        raise


def _remove(connection: Connection, uri: str) -> None:
    s3 = connection.client("s3")
    bucket, _ = split_uri(uri)
    for key in list_keys(s3, f"{uri}/"):
        s3.delete_object(Bucket=bucket, Key=key)
