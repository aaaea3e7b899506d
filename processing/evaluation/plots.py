"""The evaluation's plots: confidence against true label, reliability, coverage, confusion, learning curves.

Runs in the evaluation job. Values in, bytes out; it touches no files.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from processing.evaluation.answers import Epoch, Evaluated
from processing.evaluation.figure import SIZE, Plot, class_colours, draw, short
from processing.evaluation.scores import Labels, confusion, coverage, reliability, top_answers
from reporting.figures import BLUE, DASHES, GREEN, INK, OCHRE

SAMPLE = 50  # images in the scatter
COVERAGE_POINTS = 101
NUMBERED_CLASSES = 12  # a confusion matrix of more classes shows its shades only


def draw_plots(measured: Evaluated, threshold: float, wished_accuracy: float) -> dict[str, Plot]:
    """The plots by name (also the stem of the PNG file); learning curves only where their history is known."""
    matrix = confusion(measured.labels, measured.probabilities.argmax(axis=1), len(measured.classes))
    side = SIZE[1] if len(measured.classes) <= NUMBERED_CLASSES else SIZE[0]
    plots = {
        "confidence": draw("confidence", lambda figure: _confidence(figure, measured, threshold)),
        "coverage": draw("coverage", lambda figure: _coverage(figure, measured, threshold, wished_accuracy)),
        "reliability": draw("reliability", lambda figure: _reliability(figure, measured)),
        "confusion": draw("confusion", lambda figure: _confusion(figure, matrix, measured.classes), (SIZE[0], side)),
    }
    if measured.history:
        plots["learning_curves"] = draw("learning_curves", lambda figure: _learning_curves(figure, measured.history))
    return plots


def _confidence(figure: Figure, measured: Evaluated, threshold: float) -> None:
    generator = np.random.default_rng(0)
    count = min(SAMPLE, len(measured.labels))
    chosen = np.sort(generator.choice(len(measured.labels), count, replace=False))
    labels = measured.labels[chosen]
    confidence, right = top_answers(labels, measured.probabilities[chosen])
    x = labels + generator.uniform(-0.3, 0.3, count)
    axes = figure.add_subplot()
    for label, colour in enumerate(class_colours(measured.classes)):
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


def _coverage(figure: Figure, measured: Evaluated, threshold: float, wished_accuracy: float) -> None:
    confidence = top_answers(measured.labels, measured.probabilities)[0]
    low = _floor(confidence, threshold)
    x = np.linspace(low, 1.0, COVERAGE_POINTS)
    rows = [coverage(measured.labels, measured.probabilities, float(value)) for value in x]
    above, below = figure.subplots(2, 1, sharex=True)
    accuracy = np.array([math.nan if row["accuracy"] is None else row["accuracy"] for row in rows])
    _curve(above, x, accuracy, [row["accuracy_interval_95"] for row in rows], BLUE)
    _curve(below, x, np.array([row["coverage"] for row in rows]), [row["coverage_interval_95"] for row in rows], OCHRE)
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


def _reliability(figure: Figure, measured: Evaluated) -> None:
    bins = reliability(measured.labels, measured.probabilities)
    x = np.array([row["confidence"] for row in bins])
    y = np.array([row["accuracy"] for row in bins])
    low, high = np.array([row["accuracy_interval_95"] for row in bins]).T
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=DASHES, label="confidence = accuracy")
    above.errorbar(x, y, yerr=(y - low, high - y), fmt="o", color=BLUE, elinewidth=1.4, markersize=6, label="measured")
    above.set_ylim(-0.02, 1.03)
    above.set_ylabel("accuracy")
    edges = np.array([row["from"] for row in bins])
    below.bar(edges + 0.005, [row["count"] for row in bins], 0.09, align="edge", color=BLUE)
    below.set_xlim(min(0.5, float(edges.min())), 1.01)
    below.set_ylabel("images")
    below.set_xlabel("confidence")
    below.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=3))
    below.grid(visible=False, axis="x")
    _legend(figure)


def _confusion(figure: Figure, matrix: Labels, classes: list[str]) -> None:
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
    axes.set_yticks(range(count), [short(name) for name in classes], fontsize=_tick_size(count))
    axes.invert_yaxis()
    axes.set_xlabel("predicted")
    axes.set_ylabel("true label")
    axes.grid(visible=False)


def _learning_curves(figure: Figure, history: list[Epoch]) -> None:
    loss, accuracy = figure.subplots(2, 1, sharex=True)
    curves = (
        (loss, "train_loss", BLUE, "-", "training"),
        (loss, "validation_loss", OCHRE, "--", "validation"),
        (accuracy, "validation_accuracy", OCHRE, "--", None),
    )
    for axes, key, colour, style, name in curves:
        for at, member in enumerate(dict.fromkeys(row["member"] for row in history)):
            points = [(row["epoch"], row[key]) for row in history if row["member"] == member and key in row]
            axes.plot(
                *np.array(points, dtype=float).reshape(-1, 2).T, color=colour, linestyle=style, linewidth=1.5,
                marker=".", markersize=4, label=name if at == 0 else None,
            )  # fmt: skip
    loss.set_ylabel("loss")
    accuracy.set_ylabel("validation accuracy")
    accuracy.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
    accuracy.set_xlabel("epoch")
    accuracy.set_xlim(min(row["epoch"] for row in history) - 0.5, max(row["epoch"] for row in history) + 0.5)
    accuracy.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    _legend(figure)


def _name_ticks(axes: Axes, classes: list[str]) -> None:
    steep = len(classes) > 4
    axes.set_xticks(
        range(len(classes)), [short(name) for name in classes], fontsize=_tick_size(len(classes)),
        rotation=45 if steep else 0, ha="right" if steep else "center", rotation_mode="anchor",
    )  # fmt: skip


def _tick_size(classes: int) -> float:
    return 10 if classes <= NUMBERED_CLASSES else max(2.0, 10 * NUMBERED_CLASSES / classes)


def _legend(figure: Figure, keys: list[Any] | None = None) -> None:
    handles = keys or [handle for axes in figure.axes for handle in axes.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside upper left", ncols=3, handletextpad=0.5, columnspacing=1.2)


def _floor(confidence: npt.NDArray[np.float64], threshold: float) -> float:
    """The lower end of a confidence axis, a multiple of 0.05: the lowest value and the threshold stay visible."""
    return max(0.0, math.floor((min(float(confidence.min()), threshold, 0.92) - 0.02) * 20) / 20)
