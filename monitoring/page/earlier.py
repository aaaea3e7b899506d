"""The page that lists the reports below a prefix: ``index.html``, and ``index.json`` from which it is made.

Runs in the monitoring container, at the end of `monitoring.report`. Of two jobs that end at the same moment, one may
be missing in the list until it is written again; its report is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from monitoring.job_inputs.places import Prefix
from reporting.documents.json import DocumentError, from_bytes, to_text
from reporting.documents.report import Report
from reporting.page import render_list
from reporting.wording import clock

# Hourly reports of six weeks.
LISTED = 1000


class ListedReport(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of ``index.json``; ``alarms`` are families, ``records`` the predictions (missing in older entries).

    ``estimated`` is the accuracy that was expected, within ``interval``; ``measured`` is what labels said by then,
    weighed as the traffic, of the answers of ``version`` (empty where nobody knows it).
    """

    name: str
    verdict: str
    alarms: list[str]
    records: int | msgspec.UnsetType = msgspec.UNSET
    estimated: float | None = None
    interval: list[float] | None = None
    measured: float | None = None
    version: str = ""
    start: str
    end: str


@dataclass(frozen=True)
class _Entry:
    href: str
    name: str
    text: str
    alarm: bool


def note_report(report_uri: str, report: Report) -> None:
    """Add a report to the list of those beside it. Raises JobError."""
    parent, _, name = report_uri.rstrip("/").rpartition("/")
    prefix = Prefix(parent)
    entry = ListedReport(
        name=name,
        verdict=report.verdict,
        alarms=[family.family for family in report.alarms()],
        records=report.counts.records,
        estimated=report.quality.estimated_accuracy.value if report.quality.estimated_accuracy else None,
        interval=report.quality.estimated_accuracy.interval if report.quality.estimated_accuracy else None,
        measured=report.quality.accuracy.traffic if report.quality.accuracy else None,
        version=report.about.get("version", ""),
        start=report.window.start,
        end=report.window.end,
    )
    known = [each for each in _known(prefix) if each.name != name]
    listed = sorted([entry, *known], key=lambda each: (each.end, each.start), reverse=True)[:LISTED]
    prefix.write("index.json", to_text(listed, indent=1).removesuffix("\n").encode(), "application/json")
    prefix.write("index.html", render_index(listed).encode("utf-8", "replace"), "text/html; charset=utf-8")


def beside(report_uri: str) -> list[ListedReport]:
    """The reports below the prefix of one, the newest first."""
    return _known(Prefix(report_uri.rstrip("/").rpartition("/")[0]))


def render_index(listed: list[ListedReport]) -> str:
    """The page; the newest report first."""
    entries = [
        _Entry(
            href=f"{quote(each.name)}/report.html",
            name=f"{clock(each.start)} to {clock(each.end)} UTC",
            text=f"{each.verdict}.",
            alarm=bool(each.alarms),
        )
        for each in listed
    ]
    return render_list("Monitoring reports", entries)


def _known(prefix: Prefix) -> list[ListedReport]:
    """What was listed so far; a list that is none is begun anew, and an entry that is none is left out."""
    try:
        listed = from_bytes(prefix.read("index.json") or b"[]", list[msgspec.Raw])
    except DocumentError:
        return []
    found = []
    for each in listed:
        try:
            found.append(from_bytes(bytes(each), ListedReport))
        except DocumentError:
            continue
    return found
