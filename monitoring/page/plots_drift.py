"""The report's plots of what it concludes: evidence of drift, calibration, confidence by truth, latency.

Runs in the monitoring container. Values in, bytes out; it touches no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from monitoring.captures.line import parse_time
from monitoring.captures.times import HOUR_US, moment
from monitoring.job_inputs.context import Latency
from monitoring.page.plots import (
    COLUMN,
    LABEL_CHARACTERS,
    MARKERS,
    VECTOR_POINTS,
    WIDE,
    Mark,
    Plot,
    class_colours,
    draw_marks,
    plot,
    plot_of,
    time_axis,
)
from reporting.figures import BLUE, DASHES, GREEN, GREY, INK, PALETTE, RED, new_figure, shorten, style

Floats = npt.NDArray[np.float64]
PANEL_INCHES = 2.0
# The lines of more channels than this cannot be told apart; the strongest are drawn.
CHANNELS_DRAWN = 6


@dataclass(frozen=True)
class Labelled:
    """Predictions whose truth is known, `[n]` each."""

    confidence: Floats
    predicted: npt.NDArray[np.int64]
    truth: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    threshold: float


def draw_drift(drift: dict[str, Any], marks: tuple[Mark, ...]) -> dict[str, Plot]:
    """The evidence of each family over time; ``drift`` as in report.json."""
    families = [family for family in drift["families"] if family["levels"]]
    if not families:
        return {}
    x = _days([parse_time(hour) for hour in drift["hours"]])

    def figure(size: tuple[float, float]) -> Figure:
        drawn = new_figure(size)
        panels = drawn.subplots(len(families), 1, sharex=True, squeeze=False)[:, 0]
        for axes, family in zip(panels, families, strict=True):
            _evidence(axes, x, family, narrow=size[0] < WIDE[0])
            draw_marks(axes, marks)
        for axes in panels[:-1]:
            axes.set_xlabel("")
        return drawn

    with style():
        return {"drift_evidence": plot_of("drift_evidence", figure, (WIDE[0], PANEL_INCHES * len(families) + 0.5))}


def draw_quality(
    labelled: Labelled, bins: Sequence[dict[str, Any]], baseline: Sequence[dict[str, Any]]
) -> dict[str, Plot]:
    """Confidence against the true label, and calibration beside the baseline's; nothing of no labels."""
    if not len(labelled.truth):
        return {}
    with style():
        return {
            "confidence_by_truth": plot("confidence_by_truth", _by_truth, labelled, COLUMN),
            "calibration": plot("calibration", _calibration, (bins, baseline), COLUMN),
        }


def draw_latency(latency: Sequence[Latency], marks: tuple[Mark, ...]) -> dict[str, Plot]:
    """Median and 99th percentile by hour; nothing where nobody measured."""
    if not latency:
        return {}
    with style():
        return {"latency": plot("latency", _latency, (latency, marks), WIDE)}


def _evidence(axes: Axes, x: Floats, family: dict[str, Any], narrow: bool) -> None:
    channels = sorted(family["channels"].items(), key=lambda item: -max(item[1]["levels"], default=0.0))
    for (name, state), colour in zip(channels[:CHANNELS_DRAWN], PALETTE, strict=False):
        axes.plot(
            x,
            state["levels"],
            color=colour,
            linewidth=1.0,
            alpha=0.8,
            label=name.replace("_", " "),
            marker="." if len(x) < 3 else None,
        )
    axes.plot(x, family["levels"], color=INK, linewidth=1.8, label="together", marker="." if len(x) < 3 else None)
    axes.axhline(1.0, color=RED, linewidth=1.2, linestyle=DASHES)
    for alarm in family["alarms"]:
        axes.axvline(_days([parse_time(alarm)])[0], color=RED, linewidth=0.8, alpha=0.6)
    axes.set_ylim(-0.03, max(1.15, 1.05 * max([*family["levels"], *(max(s["levels"]) for _, s in channels)])))
    axes.set_title(family["family"], fontsize=10, loc="left")
    axes.set_ylabel("evidence / threshold" if not narrow else "evidence", fontsize=8)
    time_axis(axes, x)
    if narrow:
        axes.legend(loc="upper left", fontsize=7, ncols=2)
    else:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)


def _by_truth(axes: Axes, data: Labelled) -> None:
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
    axes.figure.legend(loc="outside upper left", ncols=2, handletextpad=0.5, columnspacing=1.2)


def _calibration(axes: Axes, data: tuple[Sequence[dict[str, Any]], Sequence[dict[str, Any]]]) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1.0, linestyle=DASHES, label="calibrated")
    lowest = 1.0
    for bins, colour, label, marker in ((data[1], GREY, "baseline", "s"), (data[0], BLUE, "this window", "o")):
        known = list(bins)
        if not known:
            continue
        x, y = [row["confidence"] for row in known], [row["accuracy"] for row in known]
        axes.plot(x, y, color=colour, linewidth=1.6, marker=marker, markersize=4, label=label)
        lowest = min([lowest, *x])
    axes.set_xlim(max(0.0, lowest - 0.05), 1.01)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("confidence")
    axes.set_ylabel("share that is right")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.figure.legend(loc="outside upper left", ncols=3, handletextpad=0.5, columnspacing=1.0)


def _latency(axes: Axes, data: tuple[Sequence[Latency], tuple[Mark, ...]]) -> None:
    latency, marks = data
    x = _days([moment(row.hour * HOUR_US) for row in latency])
    for values, colour, label in (
        ([row.median_ms for row in latency], BLUE, "median"),
        ([row.p99_ms for row in latency], RED, "99th percentile"),
    ):
        axes.plot(x, np.array(values, np.float64), color=colour, linewidth=1.6, marker=".", markersize=5, label=label)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("model latency (ms)")
    time_axis(axes, x)
    draw_marks(axes, marks)
    axes.figure.legend(loc="outside upper left", ncols=2, handletextpad=0.5, columnspacing=1.2)


def _days(times: Sequence[datetime]) -> Floats:
    naive = np.array([time.replace(tzinfo=None) for time in times], "datetime64[us]")
    days: Floats = date2num(naive)  # type: ignore[no-untyped-call]  # matplotlib.dates has no types
    return days
