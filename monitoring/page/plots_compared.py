"""The report's plots that hold the window against the baseline: confidence, classes, image statistics.

Runs in the monitoring container. Values in, bytes out; it touches no files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from monitoring.page.chart_data import CHARTS, Floats, ReportData, has_predictions
from monitoring.page.plots import LABEL_CHARACTERS, OTHER
from reporting.charts import WIDE
from reporting.figures import BLUE, DASHES, INK, OCHRE, class_colours, shorten, tip
from reporting.wording import percent

_BINS = 25
_MOST_BARS = 12
_FEWEST_IMAGES = 5


@CHARTS.add(
    "Confidence",
    "How many predictions fall below the threshold, and how far; the outline is the baseline, as if of as many.",
    section="traffic",
    when=has_predictions,
)
def confidence_histogram(figure: Figure, data: ReportData) -> None:
    """Predictions by confidence, those below the threshold paler, and the baseline's as an outline."""
    axes = figure.add_subplot()
    low = _floor(data)
    edges = np.linspace(low, 1.0, _BINS + 1)
    expected = _scaled(data, edges)
    bottom = np.zeros(_BINS)
    for chosen, alpha, label in ((data.below, 0.5, "below"), (~data.below, 1.0, "at or above")):
        heights = _counted(data.confidence[chosen], edges)
        bars = axes.bar(
            edges[:-1], heights, np.diff(edges) * 0.92, bottom=bottom, align="edge",
            color=BLUE, alpha=alpha, label=label,
        )  # fmt: skip
        for bar, height, left, right in zip(bars, heights, edges[:-1], edges[1:], strict=True):
            tip(bar, f"{left:.2f} to {right:.2f}: {height:,} {label}")
        bottom += heights
    if expected is not None:
        axes.stairs(expected, edges, color=INK, linewidth=1.2, label="baseline")
    for label, height, colour in data.lines():
        axes.axvline(height, color=colour, linewidth=1.4, linestyle=DASHES, label=label)
    axes.set_xlim(low, 1.005)
    axes.set_xlabel("confidence")
    axes.set_ylabel("predictions")
    _count_axis(axes.yaxis)
    axes.grid(visible=False, axis="x")
    figure.legend(loc="outside upper left", ncols=4, handlelength=1.4, handletextpad=0.4, columnspacing=0.8)


def _counted(values: Floats, edges: Floats) -> Floats:
    # A value above the last edge by rounding must not fall out of the picture.
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]


def _scaled(data: ReportData, edges: Floats) -> Floats | None:
    if data.baseline is None:
        return None
    known = data.baseline.confidence
    expected: Floats = _counted(known, edges) / len(known) * len(data.confidence)
    return expected


@dataclass(frozen=True)
class _Bar:
    """A class, or the rest of many."""

    label: str
    count: int
    colour: str
    expected: float | None
    tolerated: tuple[float, float] | None


@CHARTS.add(
    "Predicted classes",
    "What the endpoint answered. The line is the baseline's share, the band what is tolerated.",
    section="traffic",
    when=has_predictions,
)
def class_distribution(figure: Figure, data: ReportData) -> None:
    """Shares of the predictions by class, as bars, with the baseline's."""
    axes = figure.add_subplot()
    shown, total = _bars(data), len(data.predicted)
    rows = np.arange(len(shown))
    bars = axes.barh(rows, [bar.count / total for bar in shown], color=[bar.colour for bar in shown], height=0.5)
    for row, (drawn, bar) in enumerate(zip(bars, shown, strict=True)):
        text = f"{bar.count:,} ({percent(bar.count / total)})"
        tip(drawn, f"{bar.label}: {text}{'' if bar.expected is None else f', baseline {percent(bar.expected)}'}")
        axes.annotate(text, (0, row - 0.28), (2, 2), textcoords="offset points", va="bottom", fontsize=9)
        _expected_mark(axes, row, bar)
    axes.set_yticks(rows, [shorten(bar.label, LABEL_CHARACTERS) for bar in shown])
    axes.set_ylim(len(shown) - 0.5, -0.75)
    axes.set_xlim(0, 1.02 if len(shown) < _MOST_BARS else None)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("share of the predictions")
    axes.grid(visible=False, axis="y")


def _expected_mark(axes: Axes, row: int, bar: _Bar) -> None:
    if bar.tolerated is not None:
        low, high = bar.tolerated
        axes.barh([row], [high - low], left=[low], color=INK, alpha=0.14, height=0.5, zorder=0.5)
    if bar.expected is not None:
        axes.plot([bar.expected] * 2, [row - 0.25, row + 0.25], color=INK, linewidth=1.6)


def _bars(data: ReportData) -> list[_Bar]:
    """In the order of the classes; of many classes the most frequent, then the rest."""
    colours, known = class_colours(data.classes), data.baseline
    counts = np.bincount(data.predicted, minlength=len(data.classes))
    shares = None if known is None else np.bincount(known.predicted, minlength=len(data.classes)) / len(known.predicted)
    bars = [
        _Bar(
            label, int(counts[index]), colours[label], None if shares is None else float(shares[index]),
            known.tolerated.get(label) if known else None,
        )
        for index, label in enumerate(data.classes)
    ]  # fmt: skip
    if len(bars) <= _MOST_BARS:
        return bars
    bars.sort(key=lambda bar: -bar.count)
    rest = bars[_MOST_BARS - 1 :]
    together = None if shares is None else sum(bar.expected or 0.0 for bar in rest)
    others = _Bar(f"{len(rest)} others", sum(bar.count for bar in rest), OTHER, together, None)
    return [*bars[: _MOST_BARS - 1], others]


def _looked_at(data: ReportData) -> Sequence[str]:
    """Statistics that enough images have."""
    return [name for name in data.statistics if np.isfinite(data.statistics[name]).sum() >= _FEWEST_IMAGES]


@CHARTS.add(
    "How the images look",
    "Shares of the window's images that were looked at (filled) and of the baseline's (outline).",
    section="drift",
    size=WIDE,
    when=lambda data: data.baseline is not None and bool(_looked_at(data)),
)
def image_statistics_compared(figure: Figure, data: ReportData) -> None:
    """A histogram of each image statistic, the baseline's as an outline."""
    names = _looked_at(data)
    columns = (5 if len(names) > 8 else 4) if figure.get_figwidth() >= WIDE[0] else 2
    lines = math.ceil(len(names) / columns)
    figure.set_figheight(1.45 * lines + 0.3)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        _compared(axes, name, data)
    for axes in panels[len(names) :]:
        axes.set_axis_off()


def _compared(axes: Axes, name: str, data: ReportData) -> None:
    values = data.statistics[name][np.isfinite(data.statistics[name])]
    known = data.baseline.statistics.get(name, np.empty(0)) if data.baseline else np.empty(0)
    known = known[np.isfinite(known)]
    together = np.concatenate([values, known])
    edges = np.linspace(float(together.min()), float(together.max()) or 1.0, 16)
    if edges[0] == edges[-1]:
        edges = np.linspace(edges[0] - 0.5, edges[0] + 0.5, 16)
    shares = np.histogram(values, edges)[0] / len(values)
    axes.stairs(shares, edges, fill=True, color=OCHRE, alpha=0.6)
    if len(known):
        axes.stairs(np.histogram(known, edges)[0] / len(known), edges, color=INK, linewidth=1.1)
    axes.set_title(name.replace("_", " "), fontsize=9, loc="left")
    axes.tick_params(labelsize=7)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(visible=False, axis="x")


def _count_axis(axis: Axis) -> None:
    axis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _floor(data: ReportData) -> float:
    """The lower end of the confidence axis, a multiple of 0.05: lowest values and thresholds stay visible."""
    baseline = [float(data.baseline.confidence.min())] if data.baseline else []
    lowest = min([float(data.confidence.min()), *baseline, *(height for _, height, _ in data.lines())])
    return max(0.0, math.floor((lowest - 0.02) * 20) / 20)
