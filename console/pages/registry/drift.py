"""What the newest report about each version says of drift.

Runs in the console's process. A report is written once, so each is read once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import msgspec
from botocore.exceptions import ClientError

from console.web.remembered import Remembered
from reporting.documents.report import REPORT_FILE
from scones.stage.connection import Connection, split_uri
from scones.traffic import report_list
from scones.traffic.report_list import ReportEntry

_NEWEST = 12


class JudgedFamily(msgspec.Struct, frozen=True):
    """A family of measures, such as the predictions."""

    family: str
    alarm: bool


class JudgedDrift(msgspec.Struct, frozen=True):
    """The families that were looked at."""

    families: list[JudgedFamily]


class ReportAbout(msgspec.Struct, frozen=True):
    """As much of ``report.json`` as is needed here; ``drift`` is null where it was not looked for."""

    drift: JudgedDrift | None = None
    about: dict[str, str] = {}


@dataclass(frozen=True)
class VersionDrift:
    """What a report says of a version, in a word or two, and which report."""

    said: str
    alarm: bool
    report: str


_reports: Remembered[ReportAbout | None] = Remembered()


def drift_of_versions(connection: Connection) -> dict[int, VersionDrift]:
    """Read the newest reports; by the number of the version, the newest word about it. Unread ones are left out."""
    try:
        listed = report_list.reports(connection)[:_NEWEST]
    except ClientError:  # the reports' page tells why
        return {}
    found: dict[int, VersionDrift] = {}
    for entry in listed:
        read = _reports.get((connection.names.reports_uri, entry.name), partial(_read, connection, entry))
        number = read.about.get("version", "").rpartition("/")[2] if read else ""
        if read and number.isdecimal():
            found.setdefault(int(number), _said(entry, read))
    return found


def _said(entry: ReportEntry, read: ReportAbout) -> VersionDrift:
    if read.drift is None:
        return VersionDrift("not judged", alarm=False, report=entry.name)
    moved = [family.family for family in read.drift.families if family.alarm]
    return VersionDrift(", ".join(moved) or "none", bool(moved), entry.name)


def _read(connection: Connection, entry: ReportEntry) -> ReportAbout | None:
    bucket, prefix = split_uri(connection.names.reports_uri)
    try:
        answer = connection.client("s3").get_object(Bucket=bucket, Key=f"{prefix}/{entry.name}/{REPORT_FILE}")
        return msgspec.json.decode(answer["Body"].read(), type=ReportAbout)
    except (ClientError, msgspec.MsgspecError):
        return None
