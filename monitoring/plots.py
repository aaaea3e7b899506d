"""The report's plots: confidence over time, histogram of confidence, distribution of the predicted classes.

Runs in the monitoring container. Values in, bytes out; it touches no files.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection
from matplotlib.dates import AutoDateLocator, DateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from imaging.figures import BLUE, CONVENTIONAL, DASHES, GREY, INK, PALETTE, new_figure, shorten, style, to_png, to_svg

OTHER = GREY
MARKERS = "os^Dv<P*"
LABEL_CHARACTERS = 24

# More points than this are drawn as one bitmap inside the SVG: a browser slows down on tens of thousands of elements.
VECTOR_POINTS = 3_000
# Up to so many points: area and opacity of each, so that a crowd still shows where it is dense.
POINT_STYLES = ((300, 26, 0.85), (VECTOR_POINTS, 10, 0.6), (20_000, 5, 0.35), (math.inf, 4, 0.2))
WIDE, COLUMN = (9.4, 3.5), (4.8, 3.3)  # inches; text is laid out for these, so a phone gets the narrow one
TEN_SECONDS = 10 / 86_400  # in days, as matplotlib counts; a narrower axis would repeat its labels


@dataclass(frozen=True)
class PlotData:
    """What the plots show: one entry per prediction, by time."""

    times: pd.DatetimeIndex
    confidence: npt.NDArray[np.float64]
    predicted: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    threshold: float


@dataclass(frozen=True)
class Plot:
    """One plot: ``png`` for files, ``wide`` and ``narrow`` as SVG elements for the page (one may serve as both)."""

    png: bytes
    wide: str
    narrow: str


def draw_plots(data: PlotData) -> dict[str, Plot]:
    """The three plots by name (also the stem of the PNG file)."""
    with style():
        return {
            "confidence_over_time": _plot("confidence_over_time", _over_time, data, WIDE),
            "confidence_histogram": _plot("confidence_histogram", _histogram, data, COLUMN),
            "class_distribution": _plot("class_distribution", _distribution, data, COLUMN),
        }


def class_colours(classes: tuple[str, ...]) -> dict[str, str]:
    """One colour per class, the same in every plot and report: by convention where there is one, else by order."""
    taken = {CONVENTIONAL[label] for label in classes if label in CONVENTIONAL}
    free = iter([colour for colour in PALETTE if colour not in taken])
    return {label: CONVENTIONAL.get(label) or next(free, OTHER) for label in classes}


def _plot(name: str, draw: Callable[[Axes, PlotData], None], data: PlotData, size: tuple[float, float]) -> Plot:
    figure = _figure(draw, data, size)
    wide = to_svg(figure, f"{name}-wide")
    narrow = wide if size == COLUMN else to_svg(_figure(draw, data, COLUMN), f"{name}-narrow")
    return Plot(to_png(figure), wide, narrow)


def _figure(draw: Callable[[Axes, PlotData], None], data: PlotData, size: tuple[float, float]) -> Figure:
    figure = new_figure(size)
    draw(figure.add_subplot(), data)
    return figure


def _over_time(axes: Axes, data: PlotData) -> None:
    x = date2num(data.times.tz_localize(None).to_numpy())  # type: ignore[no-untyped-call]  # matplotlib.dates has no types
    colours = class_colours(data.classes)
    counts = np.bincount(data.predicted, minlength=len(data.classes))
    named = set(np.argsort(-counts, kind="stable")[: len(MARKERS)])
    size, alpha = next((size, alpha) for most, size, alpha in POINT_STYLES if len(x) <= most)
    for index in np.flatnonzero(counts):
        chosen, label = data.predicted == index, data.classes[index]
        axes.scatter(
            x[chosen], data.confidence[chosen], s=size, color=colours[label], linewidths=0,
            marker=MARKERS[index % len(MARKERS)], alpha=alpha, zorder=2,
            rasterized=len(x) > VECTOR_POINTS, label=shorten(label, LABEL_CHARACTERS) if index in named else None,
        )  # fmt: skip
    axes.plot(*binned_means(x, data.confidence), color=INK, linewidth=1.6, marker=".", markersize=5, label="mean")
    axes.axhline(data.threshold, color=INK, linewidth=1.2, linestyle=DASHES, label=f"threshold {data.threshold:g}")
    axes.set_ylim(_floor(data), 1.01)
    axes.set_ylabel("confidence")
    _time_axis(axes, x, data.times)
    legend = axes.figure.legend(loc="outside upper left", ncols=4, handletextpad=0.5, columnspacing=1.2)
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([30])
            handle.set_alpha(1.0)


def _time_axis(axes: Axes, x: npt.NDArray[np.float64], times: pd.DatetimeIndex) -> None:
    span = float(np.ptp(x))
    margin = max(span * 0.02, (TEN_SECONDS - span) / 2)
    axes.set_xlim(x.min() - margin, x.max() + margin)
    locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]  # matplotlib.dates has no types
    pattern = "%H:%M:%S" if span < 5 / 1440 else "%H:%M" if span < 0.9 else "%H:%M\n%d %b" if span < 4 else "%d %b"
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(DateFormatter(pattern))  # type: ignore[no-untyped-call]  # as above
    first, last = times[0].strftime("%Y-%m-%d"), times[-1].strftime("%Y-%m-%d")
    axes.set_xlabel(f"time (UTC), {first if first == last else f'{first} to {last}'}")
    axes.grid(visible=False, axis="x")


def binned_means(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Mean x and mean y in 4 to 30 bins of equal width, about five values a bin; bins without values are left out."""
    bins = int(np.clip(len(x) // 5, 4, 30))
    span = float(np.ptp(x)) or 1.0
    which = np.minimum(((x - x.min()) / span * bins).astype(int), bins - 1)
    filled = np.unique(which)
    return [float(x[which == bin_].mean()) for bin_ in filled], [float(y[which == bin_].mean()) for bin_ in filled]


def _histogram(axes: Axes, data: PlotData) -> None:
    low = _floor(data)
    edges = np.linspace(low, 1.0, 26)
    below = data.confidence < data.threshold
    bottom = np.zeros(len(edges) - 1)
    for chosen, alpha, label in ((below, 0.5, "below"), (~below, 1.0, "at or above")):
        # Binned by hand: a value above the last edge by rounding must not fall out of the picture.
        heights = np.histogram(np.clip(data.confidence[chosen], low, 1.0), edges)[0]
        axes.bar(
            edges[:-1], heights, np.diff(edges) * 0.92, bottom=bottom, align="edge",
            color=BLUE, alpha=alpha, label=label,
        )  # fmt: skip
        bottom += heights
    axes.axvline(data.threshold, color=INK, linewidth=1.2, linestyle=DASHES, label=f"threshold {data.threshold:g}")
    axes.set_xlim(low, 1.005)
    axes.set_xlabel("confidence")
    axes.set_ylabel("predictions")
    _count_axis(axes.yaxis)
    axes.grid(visible=False, axis="x")
    axes.figure.legend(loc="outside upper left", ncols=3, handlelength=1.8, handletextpad=0.5, columnspacing=1.0)


def _distribution(axes: Axes, data: PlotData) -> None:
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


def _count_axis(axis: Axis) -> None:
    axis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _bars(data: PlotData, limit: int = 12) -> list[tuple[str, int, str]]:
    """Label, count and colour per bar in the order of the classes; of many classes the most frequent, then the rest."""
    colours = class_colours(data.classes)
    counts = np.bincount(data.predicted, minlength=len(data.classes))
    bars = [(label, int(count), colours[label]) for label, count in zip(data.classes, counts, strict=True)]
    if len(bars) <= limit:
        return bars
    bars.sort(key=lambda bar: -bar[1])
    rest = bars[limit - 1 :]
    return [*bars[: limit - 1], (f"{len(rest)} others", sum(count for _, count, _ in rest), OTHER)]


def _floor(data: PlotData) -> float:
    """The lower end of a confidence axis, a multiple of 0.05: the lowest value and the threshold stay visible."""
    lowest = min(float(data.confidence.min()), data.threshold)
    return max(0.0, math.floor((lowest - 0.02) * 20) / 20)
