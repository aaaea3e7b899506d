"""Captured traffic: count it, and have the monitoring pipeline write a report about it.

Runs on a laptop or in CodeBuild. The report itself is written by a SageMaker processing job, on AWS and on the
stand-in account alike; here it is started, awaited and downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reporting.documents.json import DocumentError, from_bytes
from reporting.documents.report import REPORT_FILE, Report
from scones.errors import SconesError
from scones.runs import pipeline_runs
from scones.runs.pipeline_runs import Run
from scones.serving_versions import live_version
from scones.serving_versions.shadow_report import SERVES, SMOKE_TEST, captured_lines
from scones.stage.connection import Connection, list_keys, split_uri


@dataclass(frozen=True)
class TimeRange:
    """A time range in UTC, ``[start, end)``."""

    start: datetime
    end: datetime


def window(since: str, until: str | None = None, now: datetime | None = None) -> TimeRange:
    """``24h``, ``30m``, ``7d`` before now, or ISO 8601 times; SconesError for anything else."""
    now = now or datetime.now(UTC)
    end = _time(until, now) if until else now
    start = _time(since, now)
    if start >= end:
        raise SconesError(
            f"the time range is empty: it starts at {start:%Y-%m-%dT%H:%M:%SZ} and ends {end:%Y-%m-%dT%H:%M:%SZ}"
        )
    return TimeRange(start, end)


def check(*texts: str | None) -> None:
    """SconesError unless `window` takes them."""
    for text in texts:
        if text is not None:
            _time(text, datetime.now(UTC))


def _time(text: str, now: datetime) -> datetime:
    units = {"m": "minutes", "h": "hours", "d": "days"}
    try:
        if text and text[-1] in units and text[:-1].isdecimal():
            return now - timedelta(**{units[text[-1]]: int(text[:-1])})
        given = datetime.fromisoformat(text)
        return given.astimezone(UTC) if given.tzinfo else given.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise SconesError(
            f"{text!r} is not a time: expected 30m, 24h, 7d or ISO 8601 such as 2026-01-31T12:00:00Z"
        ) from error


def count(connection: Connection) -> int:
    """How many predictions of the endpoint were captured in all."""
    identities = (line.event_metadata.inference_id or "" for line in captured_lines(connection, SERVES))
    return sum(not identity.startswith(SMOKE_TEST) for identity in identities)


def write_report(
    connection: Connection,
    chosen: TimeRange,
    target: Path,
    show: Callable[[Run], None] | None = None,
    more: Mapping[str, str] | None = None,
) -> Report:
    """Run the monitoring pipeline over a time range and download what it wrote into ``target``.

    Answers report.json. SconesError when nothing was captured in the range or the job failed.
    """
    run = run_monitoring(connection, chosen, show, {"WhenEmpty": "refuse", **(more or {})})
    uri = pipeline_runs.processing_output(connection, run, "report")
    download(connection, uri, target)
    return read_report((target / REPORT_FILE).read_bytes(), uri)


def read_report(data: bytes, uri: str) -> Report:
    """The report of a job. Raises SconesError where another version of the job wrote it."""
    try:
        return from_bytes(data, Report)
    except DocumentError as error:
        raise SconesError(f"{uri}/{REPORT_FILE} is no report of this version ({error}): run `scones deploy`") from error


def run_monitoring(
    connection: Connection, chosen: TimeRange, show: Callable[[Run], None] | None, more: Mapping[str, str]
) -> Run:
    """Run the monitoring pipeline over a time range, and stop it when it is left; SconesError when it fails."""
    arn = start_monitoring(connection, chosen, more)
    try:
        run = pipeline_runs.wait(connection, arn, show)
    except KeyboardInterrupt:
        pipeline_runs.stop(connection, arn)
        raise
    if not run.succeeded:
        raise SconesError(run.explain())
    return run


def start_monitoring(connection: Connection, chosen: TimeRange, more: Mapping[str, str]) -> str:
    """Start the monitoring pipeline over a time range; answers the execution's ARN."""
    parameters = {
        "Start": f"{chosen.start:%Y-%m-%dT%H:%M:%S.%fZ}",
        "End": f"{chosen.end:%Y-%m-%dT%H:%M:%S.%fZ}",
        **live_version.parameters(connection, chosen.end),
        **more,
    }
    return pipeline_runs.start(connection, connection.names.monitoring_pipeline, parameters)


def download(connection: Connection, uri: str, target: Path) -> None:
    """Copy every object below an S3 URI into a folder."""
    bucket, prefix = split_uri(uri)
    for key in list_keys(connection.client("s3"), f"{uri.rstrip('/')}/"):
        path = target / key.removeprefix(prefix).lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        connection.client("s3").download_file(bucket, key, str(path))
