"""The report's plots of what it concludes: evidence of drift, calibration, confidence by truth, latency.

Runs in the monitoring container. Values in, bytes out; it touches no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from monitoring.captures.times import HOUR_US, moment, parse_time
from monitoring.page.chart_data import CHARTS, ENOUGH_HOURS, Floats, ReportData, has_labels, has_some_labels
from monitoring.page.parts import draw_parts
from monitoring.page.plots import LABEL_CHARACTERS, MARKERS, VECTOR_POINTS, draw_marks, time_axis
from reporting.charts import WIDE
from reporting.documents.report import Family
from reporting.figures import BLUE, DASHES, GREEN, GREY, INK, PALETTE, RED, class_colours, shorten

PANEL_INCHES = 2.0
# The lines of more channels than this cannot be told apart; the strongest are drawn.
CHANNELS_DRAWN = 6


@CHARTS.add(
    "Latency",
    "What the endpoint measured of the model, by hour.",
    section="traffic",
    size=WIDE,
    when=lambda data: len(data.latency) >= ENOUGH_HOURS,
)
def latency(figure: Figure, data: ReportData) -> None:
    """Median and 99th percentile by hour, in milliseconds."""
    axes = figure.add_subplot()
    x = _days([moment(row.hour * HOUR_US) for row in data.latency])
    for values, colour, label in (
        ([row.median_ms for row in data.latency], BLUE, "median"),
        ([row.p99_ms for row in data.latency], RED, "99th percentile"),
    ):
        axes.plot(x, np.array(values, np.float64), color=colour, linewidth=1.6, marker=".", markersize=5, label=label)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("model latency (ms)")
    time_axis(axes, x)
    draw_marks(axes, data.marks)
    draw_parts(axes, data.parts)
    figure.legend(loc="outside upper left", ncols=2, handletextpad=0.5, columnspacing=1.2)


@CHARTS.add(
    "Evidence of drift",
    "How much speaks against the baseline, hour by hour, each family of channels on its own. At 1 it alarms, and "
    "begins anew.",
    section="drift",
    size=WIDE,
    when=lambda data: data.drift is not None and len(data.drift.hours) >= ENOUGH_HOURS and bool(_families(data)),
)
def drift_evidence(figure: Figure, data: ReportData) -> None:
    """The evidence of each family over time, a panel each."""
    families = _families(data)
    figure.set_figheight(PANEL_INCHES * len(families) + 0.5)
    x = _days([parse_time(hour) for hour in data.drift.hours]) if data.drift else np.empty(0)
    panels = figure.subplots(len(families), 1, sharex=True, squeeze=False)[:, 0]
    for axes, family in zip(panels, families, strict=True):
        _evidence(axes, x, family, narrow=figure.get_figwidth() < WIDE[0])
        draw_marks(axes, data.marks)
        draw_parts(axes, data.parts)
    for axes in panels[:-1]:
        axes.set_xlabel("")


def _families(data: ReportData) -> list[Family]:
    return [family for family in data.drift.families if family.levels] if data.drift else []


def _evidence(axes: Axes, x: Floats, family: Family, narrow: bool) -> None:
    channels = sorted(family.channels.items(), key=lambda item: -max(item[1].levels, default=0.0))
    marker = "." if len(x) < 3 else None
    for (name, channel), colour in zip(channels[:CHANNELS_DRAWN], PALETTE, strict=False):
        axes.plot(
            x, channel.levels, color=colour, linewidth=1.0, alpha=0.8, label=name.replace("_", " "), marker=marker
        )
    axes.plot(x, family.levels, color=INK, linewidth=1.8, label="together", marker=marker)
    axes.axhline(1.0, color=RED, linewidth=1.2, linestyle=DASHES)
    for alarm in family.alarms:
        axes.axvline(_days([parse_time(alarm)])[0], color=RED, linewidth=0.8, alpha=0.6)
    axes.set_ylim(-0.03, max(1.15, 1.05 * max([*family.levels, *(max(c.levels) for _, c in channels)])))
    axes.set_title(family.family, fontsize=10, loc="left")
    axes.set_ylabel("evidence / threshold" if not narrow else "evidence", fontsize=8)
    time_axis(axes, x)
    if narrow:
        axes.legend(loc="upper left", fontsize=7, ncols=2)
    else:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)


@CHARTS.add("Confidence by true label", "Circled predictions are wrong.", section="quality", when=has_some_labels)
def confidence_by_truth(figure: Figure, report: ReportData) -> None:
    """Each labelled prediction as a point in the column of its true label."""
    data, axes = report.labelled, figure.add_subplot()
    colours = class_colours(data.classes)
    # Spread by a fixed rule rather than by chance: the same captures give the same picture.
    spread = (np.arange(len(data.truth)) * 0.6180339887 % 1.0 - 0.5) * 0.6
    for index, name in enumerate(data.classes):
        chosen = data.truth == index
        wrong = data.predicted[chosen] != index
        axes.scatter(
            index + spread[chosen], data.confidence[chosen], s=12, alpha=0.6, linewidths=0,
            color=colours[name], marker=MARKERS[index % len(MARKERS)],
            rasterized=len(data.confidence) > VECTOR_POINTS // 3,
        )  # fmt: skip
        axes.scatter(
            (index + spread[chosen])[wrong], data.confidence[chosen][wrong], s=46, linewidths=1.1,
            facecolors="none", edgecolors=INK, label="wrong" if index == 0 else None,
        )  # fmt: skip
    axes.axhline(data.threshold, color=GREEN, linewidth=1.4, linestyle=DASHES, label=f"threshold {data.threshold:g}")
    axes.set_xticks(range(len(data.classes)), [shorten(name, LABEL_CHARACTERS // 2) for name in data.classes])
    axes.set_xlim(-0.6, len(data.classes) - 0.4)
    axes.set_ylim(min(0.95 * float(data.confidence.min()), data.threshold - 0.05), 1.01)
    axes.set_xlabel("true label")
    axes.set_ylabel("confidence")
    axes.grid(visible=False, axis="x")
    figure.legend(loc="outside upper left", ncols=2, handletextpad=0.5, columnspacing=1.2)


@CHARTS.add(
    "Calibration", "Of predictions with this confidence, so many are right.", section="quality", when=has_labels
)
def calibration(figure: Figure, data: ReportData) -> None:
    """The share that is right at each confidence, beside the baseline's."""
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1.0, linestyle=DASHES, label="calibrated")
    lowest = 1.0
    for bins, colour, label, marker in (
        (data.expected_reliability, GREY, "baseline", "s"),
        (data.reliability, BLUE, "this window", "o"),
    ):
        if not bins:
            continue
        x, y = [row.confidence for row in bins], [row.accuracy for row in bins]
        axes.plot(x, y, color=colour, linewidth=1.6, marker=marker, markersize=4, label=label)
        lowest = min([lowest, *x])
    axes.set_xlim(max(0.0, lowest - 0.05), 1.01)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("confidence")
    axes.set_ylabel("share that is right")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    figure.legend(loc="outside upper left", ncols=3, handletextpad=0.5, columnspacing=1.0)


def _days(times: Sequence[datetime]) -> Floats:
    naive = np.array([time.replace(tzinfo=None) for time in times], "datetime64[us]")
    days: Floats = date2num(naive)  # type: ignore[no-untyped-call]  # matplotlib.dates has no types
    return days
