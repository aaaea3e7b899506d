"""The evaluation's plots: confidence against true label, reliability, coverage, confusion, learning curves.

Runs in the evaluation job. Values in, bytes out; it touches no files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from processing.evaluation import scores
from processing.evaluation.answers import Evaluated
from reporting.charts import Charts
from reporting.figures import BLUE, DASHES, GREEN, INK, OCHRE, class_colours, shorten

SIZE = (4.8, 4.0)  # inches; text is laid out for a column of the page, which is the width of a phone
LABEL_CHARACTERS = 18
NO_HISTORY = (
    "Left out: the model archive holds no history of its training; it is older, or the answers came from files."
)
SAMPLE = 50  # images in the scatter
COVERAGE_POINTS = 101
NAMED_CLASSES = 100
"""So many may be named below an axis; of more, some."""
SOME_NAMES = 25
NUMBERED_CLASSES = 12  # a confusion matrix of more classes shows its shades only


@dataclass(frozen=True)
class EvaluationData:
    """What the charts are drawn from: the answers, the run's threshold, and the accuracy that is wished for."""

    measured: Evaluated
    threshold: float
    wished_accuracy: float


CHARTS: Charts[EvaluationData] = Charts()


@CHARTS.add(
    "Confidence of sampled images",
    "Up to 50 test images drawn at random, in the column of their class.",
    section="charts",
    size=SIZE,
)
def confidence(figure: Figure, data: EvaluationData) -> None:
    """Confidence of the answers against the true label, right and wrong ones told apart by the marker."""
    measured, threshold = data.measured, data.threshold
    generator = np.random.default_rng(0)
    count = min(SAMPLE, len(measured.labels))
    chosen = np.sort(generator.choice(len(measured.labels), count, replace=False))
    labels = measured.labels[chosen]
    confidence, right = scores.top_answers(labels, measured.probabilities[chosen])
    x = labels + generator.uniform(-0.3, 0.3, count)
    axes = figure.add_subplot()
    colours = list(class_colours(measured.classes).values())
    for label in np.unique(labels).tolist():
        colour = colours[label]
        for outcome, marker, size, edge in ((right, "o", 34, "none"), (~right, "X", 52, INK)):
            drawn = (labels == label) & outcome
            axes.scatter(x[drawn], confidence[drawn], s=size, c=colour, marker=marker, edgecolors=edge, linewidths=0.9)
    axes.axhline(threshold, color=GREEN, linewidth=1.6, linestyle=DASHES, zorder=0.9)
    axes.set_ylim(_floor(confidence, threshold), 1.012)
    axes.set_ylabel("confidence of the answer")
    axes.set_xlim(-0.5, len(measured.classes) - 0.5)
    _name_ticks(axes, measured.classes)
    axes.set_xlabel("true label")
    axes.grid(visible=False, axis="x")
    keys = [
        Line2D([], [], color=INK, marker="o", linestyle="", markersize=6, markeredgewidth=0, label="right"),
        Line2D([], [], color=INK, marker="X", linestyle="", markersize=7, markeredgewidth=0, label="wrong"),
        Line2D([], [], color=GREEN, linewidth=1.6, linestyle=DASHES, label=f"threshold {threshold:g}"),
    ]
    _legend(figure, keys)


@CHARTS.add(
    "Coverage",
    "What a threshold lets pass, and how much of that is right; bands: 95 % intervals.",
    section="charts",
    size=SIZE,
)
def coverage(figure: Figure, data: EvaluationData) -> None:
    """Accuracy of what passes, and the share that passes, at each threshold."""
    measured, threshold, wished_accuracy = data.measured, data.threshold, data.wished_accuracy
    confidence = scores.top_answers(measured.labels, measured.probabilities)[0]
    low = _floor(confidence, threshold)
    x = np.linspace(low, 1.0, COVERAGE_POINTS)
    rows = [scores.coverage(measured.labels, measured.probabilities, float(value)) for value in x]
    above, below = figure.subplots(2, 1, sharex=True)
    accuracy = np.array([math.nan if row.accuracy is None else row.accuracy for row in rows])
    _curve(above, x, accuracy, [row.accuracy_interval_95 for row in rows], BLUE)
    _curve(below, x, np.array([row.coverage for row in rows]), [row.coverage_interval_95 for row in rows], OCHRE)
    above.axhline(wished_accuracy, color=INK, linewidth=1, linestyle=":")
    above.set_ylim(max(0.0, float(np.nanmin(accuracy)) - 0.06), 1.006)
    above.set_ylabel("accuracy of passing")
    below.set_ylim(0, 1.02)
    below.set_ylabel("coverage")
    below.set_xlabel("threshold")
    below.set_xlim(low, 1.005)
    for axes in (above, below):
        axes.axvline(threshold, color=GREEN, linewidth=1.6, linestyle=DASHES)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
    keys = [
        Line2D([], [], color=GREEN, linewidth=1.6, linestyle=DASHES, label=f"threshold {threshold:g}"),
        Line2D([], [], color=INK, linewidth=1, linestyle=":", label=f"wished accuracy {wished_accuracy:g}"),
    ]
    _legend(figure, keys)


def _curve(
    axes: Axes, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], intervals: list[list[float]], colour: str
) -> None:
    low, high = np.array(intervals).T
    shown = ~np.isnan(y)
    axes.fill_between(x[shown], low[shown], high[shown], color=colour, alpha=0.2, linewidth=0)
    axes.plot(x[shown], y[shown], color=colour, linewidth=1.8)


@CHARTS.add(
    "Reliability",
    "Accuracy of the answers at each confidence, with 95 % intervals.",
    section="charts",
    size=SIZE,
)
def reliability(figure: Figure, data: EvaluationData) -> None:
    """Accuracy in each bin of confidence, and how many images it is of."""
    measured = data.measured
    bins = scores.reliability(measured.labels, measured.probabilities)
    x = np.array([row.confidence for row in bins])
    y = np.array([row.accuracy for row in bins])
    low, high = np.array([row.accuracy_interval_95 for row in bins]).T
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=DASHES, label="confidence = accuracy")
    above.errorbar(x, y, yerr=(y - low, high - y), fmt="o", color=BLUE, elinewidth=1.4, markersize=6, label="measured")
    above.set_ylim(-0.02, 1.03)
    above.set_ylabel("accuracy")
    edges = np.array([row.start for row in bins])
    below.bar(edges + 0.005, [row.count for row in bins], 0.09, align="edge", color=BLUE)
    below.set_xlim(min(0.5, float(edges.min())), 1.01)
    below.set_ylabel("images")
    below.set_xlabel("confidence")
    below.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=3))
    below.grid(visible=False, axis="x")
    _legend(figure)


@CHARTS.add(
    "Confusion",
    "Test images by true and predicted class; shades are shares of the row.",
    section="charts",
    size=SIZE,
)
def confusion(figure: Figure, data: EvaluationData) -> None:
    """Counts by true and predicted class."""
    measured, classes = data.measured, data.measured.classes
    matrix = scores.confusion(measured.labels, measured.probabilities.argmax(axis=1), len(classes))
    if len(classes) > NUMBERED_CLASSES:
        figure.set_figheight(SIZE[0])
    axes = figure.add_subplot()
    count = len(classes)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    shades = np.empty((count, count, 4))
    shades[...] = to_rgba(BLUE)
    shades[..., 3] = 0.06 + 0.5 * shares  # see-through, so that the paper's own colour keeps the numbers readable
    axes.pcolormesh(np.arange(count + 1) - 0.5, np.arange(count + 1) - 0.5, shades, rasterized=count > NUMBERED_CLASSES)
    if count <= NUMBERED_CLASSES:
        for row, column in np.ndindex(count, count):
            text = f"{matrix[row, column]:,}"
            if count <= 4 and matrix[row].sum():
                text += f"\n{shares[row, column]:.0%}"
            axes.text(column, row, text, ha="center", va="center", fontsize=12 if count <= 4 else 9)
    _name_ticks(axes, classes)
    named = _named(count)
    axes.set_yticks(named, [shorten(classes[at], LABEL_CHARACTERS) for at in named], fontsize=_tick_size(len(named)))
    axes.invert_yaxis()
    axes.set_xlabel("predicted")
    axes.set_ylabel("true label")
    axes.grid(visible=False)


def _instead_of_curves(data: EvaluationData) -> str:
    """The figures of a training of one epoch, whose curves would be dots; or why there are none."""
    history = data.measured.history
    if not history:
        return NO_HISTORY
    told = [
        f"{name} {value:.3g}"
        for row in history
        for name, value in (
            ("training loss", row.train_loss),
            ("validation loss", row.validation_loss),
            ("validation accuracy", row.validation_accuracy),
        )
        if value is not None
    ]
    return f"One epoch, so no curves: {', '.join(told)}."


@CHARTS.add(
    "Learning curves",
    "From the training job; one line for each member of the ensemble.",
    section="charts",
    size=SIZE,
    when=lambda data: any(row.epoch > 1 for row in data.measured.history),
    absent=_instead_of_curves,
)
def learning_curves(figure: Figure, data: EvaluationData) -> None:
    """Losses and validation accuracy of each epoch."""
    history = data.measured.history
    loss, accuracy = figure.subplots(2, 1, sharex=True)
    curves = (
        (loss, [row.train_loss for row in history], BLUE, "-", "training"),
        (loss, [row.validation_loss for row in history], OCHRE, "--", "validation"),
        (accuracy, [row.validation_accuracy for row in history], OCHRE, "--", None),
    )
    for axes, values, colour, line, name in curves:
        for at, member in enumerate(dict.fromkeys(row.member for row in history)):
            points = [
                (row.epoch, value)
                for row, value in zip(history, values, strict=True)
                if row.member == member and value is not None
            ]
            axes.plot(
                *np.array(points, dtype=float).reshape(-1, 2).T, color=colour, linestyle=line, linewidth=1.5,
                marker=".", markersize=4, label=name if at == 0 else None,
            )  # fmt: skip
    loss.set_ylabel("loss")
    accuracy.set_ylabel("validation accuracy")
    accuracy.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
    accuracy.set_xlabel("epoch")
    accuracy.set_xlim(min(row.epoch for row in history) - 0.5, max(row.epoch for row in history) + 0.5)
    accuracy.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    _legend(figure)


def _name_ticks(axes: Axes, classes: list[str]) -> None:
    steep = len(classes) > 4
    named = _named(len(classes))
    axes.set_xticks(
        named, [shorten(classes[at], LABEL_CHARACTERS) for at in named], fontsize=_tick_size(len(named)),
        rotation=45 if steep else 0, ha="right" if steep else "center", rotation_mode="anchor",
    )  # fmt: skip


def _named(classes: int) -> range:
    """The places of the classes that are named at an axis."""
    return range(0, classes, 1 if classes <= NAMED_CLASSES else math.ceil(classes / SOME_NAMES))


def _tick_size(classes: int) -> float:
    return 10 if classes <= NUMBERED_CLASSES else max(2.0, 10 * NUMBERED_CLASSES / classes)


def _legend(figure: Figure, keys: Sequence[Artist] | None = None) -> None:
    handles = keys or [handle for axes in figure.axes for handle in axes.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside upper left", ncols=3, handletextpad=0.5, columnspacing=1.2)


def _floor(confidence: npt.NDArray[np.float64], threshold: float) -> float:
    """The lower end of a confidence axis, a multiple of 0.05: the lowest value and the threshold stay visible."""
    return max(0.0, math.floor((min(float(confidence.min()), threshold, 0.92) - 0.02) * 20) / 20)
