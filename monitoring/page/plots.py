"""The report's plots of what was answered: confidence over time, its histogram, the classes, the coverage.

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

from monitoring.page.chart_data import CHARTS, Mark, ReportData, has_predictions
from reporting.charts import WIDE
from reporting.figures import BLUE, DASHES, GREY, INK, OCHRE, class_colours, shorten

OTHER = GREY
MARKERS = "os^Dv<P*"
LABEL_CHARACTERS = 24

# More points than this are drawn as one bitmap inside the SVG: a browser slows down on tens of thousands of elements.
VECTOR_POINTS = 3_000
# Of more predictions so many are drawn, evenly chosen: the bitmap of all would make the page twice as long.
MOST_POINTS = 20_000
TURNS = 10
# Up to so many points: area and opacity of each, so that a crowd still shows where it is dense.
POINT_STYLES = ((300, 26, 0.85), (VECTOR_POINTS, 10, 0.6), (math.inf, 5, 0.35))
TEN_SECONDS = 10 / 86_400  # in days, as matplotlib counts; a narrower axis would repeat its labels


@CHARTS.add(
    "Confidence over time",
    "Each point is one prediction; the line is the mean of a bin. "
    f"Of more than {MOST_POINTS:,} predictions so many are drawn, evenly chosen.",
    section="traffic",
    size=WIDE,
    when=has_predictions,
)
def confidence_over_time(figure: Figure, data: ReportData) -> None:
    """Each prediction as a point in its class's colour, and the mean of each bin of time."""
    axes = figure.add_subplot()
    x = date2num(data.times.tz_localize(None).to_numpy())  # type: ignore[no-untyped-call]  # matplotlib.dates has no types
    colours = class_colours(data.classes)
    counts = np.bincount(data.predicted, minlength=len(data.classes))
    named = set(np.argsort(-counts, kind="stable")[: len(MARKERS)])
    size, alpha = next((size, alpha) for most, size, alpha in POINT_STYLES if len(x) <= most)
    drawn = np.zeros(len(x), bool)
    drawn[np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).astype(np.int64)] = True
    # In turns, so that in a crowd no class lies on top of all others.
    turns = np.arange(len(x)) * TURNS // len(x) if len(x) > VECTOR_POINTS else np.zeros(len(x), np.int64)
    turns = np.random.default_rng(0).permutation(turns)
    for turn, index in itertools.product(np.unique(turns), np.flatnonzero(counts)):
        chosen, label = drawn & (data.predicted == index) & (turns == turn), data.classes[index]
        axes.scatter(
            x[chosen], data.confidence[chosen], s=size, color=colours[label], linewidths=0,
            marker=MARKERS[index % len(MARKERS)], alpha=alpha, zorder=2,
            rasterized=len(x) > VECTOR_POINTS,
            label=shorten(label, LABEL_CHARACTERS) if index in named and turn == 0 else None,
        )  # fmt: skip
    axes.plot(*binned_means(x, data.confidence), color=INK, linewidth=1.6, marker=".", markersize=5, label="mean")
    for label, height, colour in data.lines():
        axes.axhline(height, color=colour, linewidth=1.4, linestyle=DASHES, label=label)
    axes.set_ylim(_floor(data), 1.01)
    axes.set_ylabel("confidence")
    time_axis(axes, x)
    draw_marks(axes, data.marks)
    legend = figure.legend(loc="outside upper left", ncols=4, handletextpad=0.5, columnspacing=1.2)
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
    """Mean x and mean y in 4 to 30 bins of equal width, about five values a bin; bins without values are left out."""
    bins = int(np.clip(len(x) // 5, 4, 30))
    span = float(np.ptp(x)) or 1.0
    which = np.minimum(((x - x.min()) / span * bins).astype(int), bins - 1)
    filled = np.unique(which)
    return [float(x[which == bin_].mean()) for bin_ in filled], [float(y[which == bin_].mean()) for bin_ in filled]


@CHARTS.add(
    "Confidence",
    "How many predictions fall below the threshold, and how far.",
    section="traffic",
    when=has_predictions,
)
def confidence_histogram(figure: Figure, data: ReportData) -> None:
    """Predictions by confidence, those below the threshold paler."""
    axes = figure.add_subplot()
    low = _floor(data)
    edges = np.linspace(low, 1.0, 26)
    below = data.below
    bottom = np.zeros(len(edges) - 1)
    for chosen, alpha, label in ((below, 0.5, "below"), (~below, 1.0, "at or above")):
        # Binned by hand: a value above the last edge by rounding must not fall out of the picture.
        heights = np.histogram(np.clip(data.confidence[chosen], low, 1.0), edges)[0]
        axes.bar(
            edges[:-1], heights, np.diff(edges) * 0.92, bottom=bottom, align="edge",
            color=BLUE, alpha=alpha, label=label,
        )  # fmt: skip
        bottom += heights
    for label, height, colour in data.lines():
        axes.axvline(height, color=colour, linewidth=1.4, linestyle=DASHES, label=label)
    axes.set_xlim(low, 1.005)
    axes.set_xlabel("confidence")
    axes.set_ylabel("predictions")
    _count_axis(axes.yaxis)
    axes.grid(visible=False, axis="x")
    figure.legend(loc="outside upper left", ncols=3, handlelength=1.8, handletextpad=0.5, columnspacing=1.0)


@CHARTS.add(
    "Predicted classes",
    "What the endpoint answered, by number of predictions.",
    section="traffic",
    when=has_predictions,
)
def class_distribution(figure: Figure, data: ReportData) -> None:
    """Predictions by class, as bars."""
    axes = figure.add_subplot()
    shown = _bars(data)
    labels, counts = [shorten(label, LABEL_CHARACTERS) for label, _, _ in shown], [count for _, count, _ in shown]
    rows = np.arange(len(shown))
    axes.barh(rows, counts, color=[colour for _, _, colour in shown], height=0.62)
    texts = [f"{count:,} ({count / len(data.predicted):.0%})" for count in counts]
    for row, (count, text) in enumerate(zip(counts, texts, strict=True)):
        axes.annotate(text, (count, row), (5, 0), textcoords="offset points", va="center")
    axes.set_yticks(rows, labels)
    axes.invert_yaxis()
    axes.set_xlim(0, max(counts) * (1.06 + 0.027 * max(len(text) for text in texts)))
    _count_axis(axes.xaxis)
    axes.set_xlabel("predictions")
    axes.grid(visible=False, axis="y")


@CHARTS.add(
    "Coverage",
    "The share of predictions that pass, and how many there were.",
    section="traffic",
    size=WIDE,
    when=has_predictions,
)
def coverage(figure: Figure, data: ReportData) -> None:
    """The share that passes, and as bars the number of predictions, in bins of time."""
    axes = figure.add_subplot()
    x = date2num(data.times.tz_localize(None).to_numpy())  # type: ignore[no-untyped-call]  # matplotlib.dates has no types
    bins = int(np.clip(len(x) // 5, 4, 48))
    edges = np.linspace(x.min(), x.max() if np.ptp(x) else x.min() + TEN_SECONDS, bins + 1)
    which = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, bins - 1)
    count = np.bincount(which, minlength=bins)
    passing = np.bincount(which, ~data.below, minlength=bins)
    filled = np.flatnonzero(count)
    middle = (edges[:-1] + edges[1:]) / 2
    axes.bar(edges[:-1], count, np.diff(edges) * 0.9, align="edge", color=GREY, alpha=0.35, label="predictions")
    axes.set_ylabel("predictions")
    _count_axis(axes.yaxis)
    shares = axes.twinx()
    shares.plot(
        middle[filled], passing[filled] / count[filled], color=BLUE, linewidth=1.6, marker=".", markersize=5,
        label="share that passes",
    )  # fmt: skip
    shares.set_ylim(-0.02, 1.02)
    shares.yaxis.set_major_formatter(PercentFormatter(1.0))
    shares.grid(visible=False)
    time_axis(axes, x)
    draw_marks(axes, data.marks)
    figure.legend(loc="outside upper left", ncols=2, handletextpad=0.5, columnspacing=1.2)


def _count_axis(axis: Axis) -> None:
    axis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _bars(data: ReportData, limit: int = 12) -> list[tuple[str, int, str]]:
    """Label, count and colour per bar in the order of the classes; of many classes the most frequent, then the rest."""
    colours = class_colours(data.classes)
    counts = np.bincount(data.predicted, minlength=len(data.classes))
    bars = [(label, int(count), colours[label]) for label, count in zip(data.classes, counts, strict=True)]
    if len(bars) <= limit:
        return bars
    bars.sort(key=lambda bar: -bar[1])
    rest = bars[limit - 1 :]
    return [*bars[: limit - 1], (f"{len(rest)} others", sum(count for _, count, _ in rest), OTHER)]


def _floor(data: ReportData) -> float:
    """The lower end of a confidence axis, a multiple of 0.05: the lowest value and the threshold stay visible."""
    lowest = min([float(data.confidence.min()), *(height for _, height, _ in data.lines())])
    return max(0.0, math.floor((lowest - 0.02) * 20) / 20)
