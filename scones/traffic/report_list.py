"""The list of a stage's reports, as the monitoring job keeps it beside them.

Runs on a laptop. Reads ``index.json`` below the reports' prefix; an entry that cannot be read is left out.
"""

from __future__ import annotations

import re

import msgspec
from botocore.exceptions import ClientError

from reporting.documents.json import DocumentError, from_bytes
from scones.errors import SconesError
from scones.stage.connection import Connection, split_uri

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_MISSING = {"NoSuchKey", "404", "NoSuchBucket"}


class ReportEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One report: its folder's name, its verdict, the families that alarmed, and the time that it is about."""

    name: str
    verdict: str
    alarms: list[str]
    start: str
    end: str
    records: int | None = None


def reports(connection: Connection) -> list[ReportEntry]:
    """Every listed report, the newest first."""
    body = _read(connection, "index.json")
    if body is None:
        return []
    try:
        listed = from_bytes(body, list[msgspec.Raw])
    except DocumentError as error:
        raise SconesError(f"{connection.names.reports_uri}/index.json is no list of reports: {error}") from error
    return [entry for raw in listed if (entry := _entry(bytes(raw)))]


def _entry(raw: bytes) -> ReportEntry | None:
    try:
        found = from_bytes(raw, ReportEntry)
    except DocumentError:
        return None
    return found if _NAME.fullmatch(found.name) else None


def page(connection: Connection, name: str) -> bytes:
    """A report's page. SconesError when there is no report of this name."""
    body = _read(connection, f"{name}/report.html") if _NAME.fullmatch(name) else None
    if body is None:
        raise SconesError(f"there is no report {name!r} below {connection.names.reports_uri}")
    return body


def _read(connection: Connection, name: str) -> bytes | None:
    bucket, prefix = split_uri(connection.names.reports_uri)
    try:
        body: bytes = connection.client("s3").get_object(Bucket=bucket, Key=f"{prefix}/{name}")["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] not in _MISSING:
            raise
        return None
    return body
