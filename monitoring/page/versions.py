"""Who answered in a report's window, where that was not the report's version alone.

Runs in the monitoring container. Values in, words and blocks out.
"""

from __future__ import annotations

from reporting.documents.report import Report
from reporting.page import Block, Heading, Table, Text
from reporting.wording import clock, number


def by_others(report: Report) -> int:
    """How many predictions of the window name another version; 0 where nobody knows which one the report is about."""
    if "version" not in report.about:
        return 0
    return sum(each.count for each in report.per_version if not each.live)


def others_in_words(report: Report) -> str:
    """For the verdict; empty where there is nothing to say."""
    others = by_others(report)
    if not others:
        return ""
    if others == report.counts.records:
        return "; none of them by the version that this report is about"
    return f"; {others:,} of them by other versions"


def version_blocks(report: Report) -> list[Block]:
    """A row for each version; nothing where the report's own is the only one."""
    if len(report.per_version) < 2 and not by_others(report):
        return []
    rows = [
        [
            f"{each.version} (this report's)" if each.live else each.version,
            f"{clock(each.first)} to {clock(each.last)}",
            f"{each.count:,}",
            number(each.mean_confidence),
        ]
        for each in report.per_version
    ]
    note = (
        "Charts and figures of traffic are about all of these; drift, accuracy and what to label about this version's "
        "answers alone."
    )
    return [
        Heading("Several versions answered" if len(rows) > 1 else "Another version answered"),
        Table(["version", "from and to (UTC)", "predictions", "mean confidence"], rows, text_columns=2),
        Text(note, soft=True),
    ]
