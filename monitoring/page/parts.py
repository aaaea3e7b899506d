"""The parts of a window: stretches of like length that a reader chooses among, marked in every chart over time.

Runs in the monitoring container. Values in, values out. A part is as many whole hours as leave at most 24 of them; what
the page says of one is worked out from the report's hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from matplotlib.axes import Axes
from matplotlib.dates import date2num

from monitoring.captures.times import HOUR_US, microseconds, moment, parse_time
from monitoring.page.chart_data import WindowPart
from reporting.documents.report import Report
from reporting.figures import INK, part_of_chart
from reporting.page import Brush, BrushPart
from reporting.wording import UNKNOWN, count, number, percent, percent_or_unknown

MOST = 24
LENGTHS = (1, 2, 3, 4, 6, 12, 24, 48, 72, 168, 336, 744)  # hours
_MOST_CLASSES = 6
NOTE = (
    "Choose parts: each is marked in every chart over time, and its figures stand here. "
    "Pointing at a chart shows those of the part below the pointer."
)


@dataclass(frozen=True)
class _Figures:
    """What the hours of a part amount to; a mean and shares are None without predictions."""

    predictions: int
    confidence: float | None
    below: float | None
    classes: dict[str, int]
    evidence: float | None
    """The highest of any family, as a share of what alarms."""


def window_parts(report: Report) -> list[WindowPart]:
    """The parts of a report's window, in the order of time; none where there is only one."""
    first = microseconds(parse_time(report.window.start)) // HOUR_US
    last = -(-microseconds(parse_time(report.window.end)) // HOUR_US)
    length = next((each for each in LENGTHS if (last - first) / each <= MOST - 1), LENGTHS[-1])
    edges = range(first - first % length, last, length)
    if not report.counts.records or not 2 <= len(edges) <= MOST:
        return []
    spans = [(moment(edge * HOUR_US), moment((edge + length) * HOUR_US)) for edge in edges]
    return [WindowPart(at, *span, tip=_said(*span, _figures(report, *span))) for at, span in enumerate(spans)]


def draw_parts(axes: Axes, parts: Sequence[WindowPart]) -> None:
    """Those within the axes, unseen until they are chosen or pointed at. After the axis of time has its ends."""
    low, high = axes.get_xlim()
    for part in parts:
        start, end = (float(date2num(each.replace(tzinfo=None))) for each in (part.start, part.end))  # type: ignore[no-untyped-call]  # matplotlib.dates has no types
        if start < high and end > low:
            shade = axes.axvspan(max(start, low), min(end, high), color=INK, alpha=0.001, linewidth=0, zorder=0.4)
            part_of_chart(shade, part.number, part.tip)


def brush(report: Report) -> list[Brush]:
    """Parts to choose among, with their figures; nothing where the window has no two."""
    parts = window_parts(report)
    if not parts:
        return []
    classes = list(report.per_class)[:_MOST_CLASSES]
    headers = ["part (UTC)", "predictions", "mean confidence", "below threshold", *classes, "evidence of drift"]
    return [Brush("Parts of the window", NOTE, headers, [_row(part, report, classes) for part in parts])]


def _row(part: WindowPart, report: Report, classes: Sequence[str]) -> BrushPart:
    found = _figures(report, part.start, part.end)
    shares = [_share(found.classes.get(name, 0), found.predictions) for name in classes]
    cells = [
        _span(part.start, part.end),
        f"{found.predictions:,}",
        number(found.confidence),
        percent_or_unknown(found.below),
        *shares,
        number(found.evidence, 2),
    ]
    return BrushPart(part.number, _name(part.start, part.end), cells)


def _figures(report: Report, start: datetime, end: datetime) -> _Figures:
    hours = [row for row in report.per_hour if start <= parse_time(row.hour) < end]
    total = sum(row.count for row in hours)
    classes: dict[str, int] = {}
    for row in hours:
        for name, predicted in row.per_class.items():
            classes[name] = classes.get(name, 0) + predicted
    return _Figures(
        total,
        sum(row.count * (row.mean_confidence or 0.0) for row in hours) / total if total else None,
        sum(row.below_threshold for row in hours) / total if total else None,
        classes,
        _evidence(report, start, end),
    )


def _evidence(report: Report, start: datetime, end: datetime) -> float | None:
    if report.drift is None:
        return None
    rows = [at for at, hour in enumerate(report.drift.hours) if start <= parse_time(hour) < end]
    return max((family.levels[at] for family in report.drift.families if family.levels for at in rows), default=None)


def _said(start: datetime, end: datetime, found: _Figures) -> str:
    if not found.predictions:
        return f"{_span(start, end)}: no prediction"
    facts = [
        count(found.predictions, "prediction"),
        f"mean confidence {number(found.confidence)}",
        f"{percent(found.below or 0.0)} below the threshold",
    ]
    if found.evidence is not None:
        facts.append(f"evidence of drift {found.evidence:.2f}")
    return f"{_span(start, end)}: {', '.join(facts)}"


def _share(part: int, whole: int) -> str:
    return percent(part / whole) if whole else UNKNOWN


def _span(start: datetime, end: datetime) -> str:
    same = start.date() == (end - timedelta(microseconds=1)).date()
    return f"{start:%Y-%m-%d %H:%M} to {end:%H:%M}" if same else f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"


def _name(start: datetime, end: datetime) -> str:
    return f"{start:%d %b}" if end - start >= timedelta(days=1) else f"{start:%d %b %H:%M}"
