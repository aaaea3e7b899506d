"""The report's plots of what was answered over time: confidence and coverage.

Runs in the monitoring container. Values in, bytes out; it touches no files.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection
from matplotlib.dates import AutoDateLocator, DateFormatter, date2num, num2date
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from monitoring.page.chart_data import CHARTS, Mark, ReportData, has_a_course
from monitoring.page.parts import draw_parts
from reporting.charts import WIDE
from reporting.figures import BLUE, DASHES, GREY, INK, OCHRE, class_colours, shorten, tip

OTHER = GREY
MARKERS = "os^Dv<P*"
LABEL_CHARACTERS = 24

# More points than this are drawn as one bitmap inside the SVG: a browser slows down on tens of thousands of elements.
VECTOR_POINTS = 2_000
# Of more predictions so many are drawn, evenly chosen: the bitmap of all would make the page twice as long.
MOST_POINTS = 20_000
TURNS = 10
FEWEST_IN_A_BIN = 5
# Up to so many points: area and opacity of each, so that a crowd still shows where it is dense.
POINT_STYLES = ((300, 26, 0.85), (VECTOR_POINTS, 10, 0.6), (math.inf, 5, 0.35))
TEN_SECONDS = 10 / 86_400  # in days, as matplotlib counts; a narrower axis would repeat its labels


@CHARTS.add(
    "Confidence over time",
    "Each point is one prediction; the line is the mean of five or more. "
    f"Of more than {MOST_POINTS:,} predictions so many are drawn, evenly chosen.",
    section="traffic",
    size=WIDE,
    when=has_a_course,
)
def confidence_over_time(figure: Figure, data: ReportData) -> None:
    """Each prediction as a point in its class's colour, and the mean of each bin of time."""
    axes = figure.add_subplot()
    x = date2num(data.times.tz_localize(None).to_numpy())  # type: ignore[no-untyped-call]  # matplotlib.dates has no types
    colours = class_colours(data.classes)
    counts = np.bincount(data.predicted, minlength=len(data.classes))
    coloured = [index for index in np.argsort(-counts, kind="stable") if colours[data.classes[index]] != OTHER]
    named = {int(index): shorten(data.classes[index], LABEL_CHARACTERS) for index in coloured[: len(MARKERS)]}
    others = next((int(index) for index in np.flatnonzero(counts) if int(index) not in named), None)
    size, alpha = next((size, alpha) for most, size, alpha in POINT_STYLES if len(x) <= most)
    drawn = np.zeros(len(x), bool)
    drawn[np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).astype(np.int64)] = True
    # In turns, so that in a crowd no class lies on top of all others.
    turns = np.arange(len(x)) * TURNS // len(x) if len(x) > VECTOR_POINTS else np.zeros(len(x), np.int64)
    turns = np.random.default_rng(0).permutation(turns)
    for turn, index in itertools.product(np.unique(turns), np.flatnonzero(counts)):
        chosen = drawn & (data.predicted == index) & (turns == turn)
        label = named.get(int(index), "other classes" if index == others else None)
        axes.scatter(
            x[chosen], data.confidence[chosen], s=size, linewidths=0, alpha=alpha, zorder=2,
            color=colours[data.classes[index]] if index in named else OTHER,
            marker=MARKERS[index % len(MARKERS)] if index in named else "o",
            rasterized=len(x) > VECTOR_POINTS, label=label if turn == 0 else None,
        )  # fmt: skip
    if data.baseline is not None:
        expected = float(data.baseline.confidence.mean())
        axes.axhline(expected, color=INK, linewidth=1.0, alpha=0.5, label=f"baseline's mean {expected:.2f}")
    axes.plot(*binned_means(x, data.confidence), color=INK, linewidth=1.6, marker=".", markersize=5, label="mean")
    for label, height, colour in data.lines():
        axes.axhline(height, color=colour, linewidth=1.4, linestyle=DASHES, label=label)
    axes.set_ylim(_floor(data), 1.01)
    axes.set_ylabel("confidence")
    time_axis(axes, x)
    draw_marks(axes, data.marks)
    draw_parts(axes, data.parts)
    columns = 4 if figure.get_figwidth() >= WIDE[0] else 2
    legend = figure.legend(loc="outside upper left", ncols=columns, handletextpad=0.5, columnspacing=1.2)
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([30])
            handle.set_alpha(1.0)


def time_axis(axes: Axes, x: npt.NDArray[np.float64]) -> None:
    """For moments in days since 1970, as matplotlib counts."""
    span = float(np.ptp(x))
    margin = max(span * 0.02, (TEN_SECONDS - span) / 2)
    axes.set_xlim(x.min() - margin, x.max() + margin)
    locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]  # matplotlib.dates has no types
    pattern = "%H:%M:%S" if span < 5 / 1440 else "%H:%M" if span < 0.9 else "%H:%M\n%d %b" if span < 4 else "%d %b"
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(DateFormatter(pattern))  # type: ignore[no-untyped-call]  # as above
    first, last = (f"{num2date(end):%Y-%m-%d}" for end in (x.min(), x.max()))  # type: ignore[no-untyped-call]  # as above
    axes.set_xlabel(f"time (UTC), {first if first == last else f'{first} to {last}'}")
    axes.grid(visible=False, axis="x")


def draw_marks(axes: Axes, marks: tuple[Mark, ...]) -> None:
    """Those within the axes, as lines from top to bottom."""
    low, high = axes.get_xlim()
    for mark in marks:
        x = date2num(mark.at.replace(tzinfo=None))  # type: ignore[no-untyped-call]  # matplotlib.dates has no types
        if low <= x <= high:
            axes.axvline(x, color=OCHRE, linewidth=1.0)
            axes.annotate(
                shorten(mark.label, 20), (x, 0.02), (3, 0), xycoords=("data", "axes fraction"),
                textcoords="offset points", rotation=90, va="bottom", fontsize=8, color=OCHRE,
            )  # fmt: skip


def binned_means(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Mean x and mean y in 4 to 30 bins of equal width; NaN, a gap, for bins of fewer than FEWEST_IN_A_BIN."""
    bins = int(np.clip(len(x) // 10, 4, 30))
    span = float(np.ptp(x)) or 1.0
    which = np.minimum(((x - x.min()) / span * bins).astype(int), bins - 1)
    counts = np.bincount(which, minlength=bins)
    enough = counts >= FEWEST_IN_A_BIN
    means = [np.bincount(which, values, minlength=bins) / np.maximum(counts, 1) for values in (x, y)]
    left, right = (np.where(enough, mean, np.nan).tolist() for mean in means)
    return left, right


@CHARTS.add(
    "Coverage",
    "The share of predictions that pass, where there are five or more, and how many there were.",
    section="traffic",
    size=WIDE,
    when=has_a_course,
)
def coverage(figure: Figure, data: ReportData) -> None:
    """The share that passes, and as bars the number of predictions, in bins of time."""
    axes = figure.add_subplot()
    x = date2num(data.times.tz_localize(None).to_numpy())  # type: ignore[no-untyped-call]  # matplotlib.dates has no types
    bins = int(np.clip(len(x) // 10, 4, 48))
    edges = np.linspace(x.min(), x.max() if np.ptp(x) else x.min() + TEN_SECONDS, bins + 1)
    which = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, bins - 1)
    count = np.bincount(which, minlength=bins)
    passing = np.bincount(which, ~data.below, minlength=bins)
    share = np.where(count >= FEWEST_IN_A_BIN, passing / np.maximum(count, 1), np.nan)
    middle = (edges[:-1] + edges[1:]) / 2
    bars = axes.bar(edges[:-1], count, np.diff(edges) * 0.9, align="edge", color=GREY, alpha=0.35, label="predictions")
    for bar, number, passed in zip(bars, count, passing, strict=True):
        tip(bar, f"{number:,} predictions, {int(passed):,} pass")
    axes.set_ylabel("predictions")
    _count_axis(axes.yaxis)
    shares = axes.twinx()
    shares.plot(
        middle, share, color=BLUE, linewidth=1.6, marker=".", markersize=5,
        label="share that passes",
    )  # fmt: skip
    shares.set_ylim(-0.02, 1.02)
    shares.yaxis.set_major_formatter(PercentFormatter(1.0))
    shares.grid(visible=False)
    time_axis(axes, x)
    draw_marks(axes, data.marks)
    draw_parts(axes, data.parts)
    figure.legend(loc="outside upper left", ncols=2, handletextpad=0.5, columnspacing=1.2)


def _count_axis(axis: Axis) -> None:
    axis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _floor(data: ReportData) -> float:
    """The lower end of a confidence axis, a multiple of 0.05: the lowest value and the threshold stay visible."""
    lowest = min([float(data.confidence.min()), *(height for _, height, _ in data.lines())])
    return max(0.0, math.floor((lowest - 0.02) * 20) / 20)
