"""Figures about a classifier from true labels and probabilities: metrics, intervals, calibration, coverage.

Runs in the evaluation job; pure functions of arrays. ``labels`` is int64 [N], ``probabilities`` float64 [N, classes].
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

Z_95 = 1.959964  # two-sided 95 % quantile of the normal distribution
RESAMPLES = 1000
CALIBRATION_BINS = 10
BETAS = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}


def confusion(labels: Labels, predicted: Labels, classes: int) -> Labels:
    """Counts int64 [classes, classes]; a row per true class, a column per predicted one."""
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def class_scores(matrix: npt.NDArray[Any], beta: float = 1.0) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F-beta per class, for a confusion matrix [..., classes, classes]; 0 where undefined."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64)
    precision = _ratio(hits, matrix.sum(axis=-2))
    recall = _ratio(hits, matrix.sum(axis=-1))
    return precision, recall, _ratio((1 + beta**2) * precision * recall, beta**2 * precision + recall)


def summary(matrix: npt.NDArray[Any]) -> dict[str, Floats]:
    """SageMaker's multiclass metrics for a confusion matrix [..., classes, classes]; weights are the class shares."""
    total = matrix.sum(axis=(-2, -1))
    weights = matrix.sum(axis=-1) / total[..., None]
    precision, recall, _ = class_scores(matrix)
    result = {
        "accuracy": np.trace(matrix, axis1=-2, axis2=-1) / total,
        "weighted_recall": (weights * recall).sum(axis=-1),
        "weighted_precision": (weights * precision).sum(axis=-1),
    }
    for name, beta in BETAS.items():
        result[f"weighted_{name}"] = (weights * class_scores(matrix, beta)[2]).sum(axis=-1)
    return result


def summary_with_deviation(matrix: Labels, seed: int = 0) -> dict[str, dict[str, float]]:
    """Each metric, and that of always answering the commonest class, as ``{value, standard_deviation}`` (bootstrap)."""
    total = int(matrix.sum())
    generator = np.random.default_rng(seed)
    resampled = generator.multinomial(total, matrix.ravel() / total, size=RESAMPLES).reshape(-1, *matrix.shape)
    result = _with_deviation(summary(matrix), summary(resampled), "")
    constant = _always(matrix, int(matrix.sum(axis=1).argmax()))
    constant_resampled = _always(resampled, int(matrix.sum(axis=1).argmax()))
    return result | _with_deviation(summary(constant), summary(constant_resampled), "_best_constant_classifier")


def _always(matrix: Labels, column: int) -> Labels:
    constant = np.zeros_like(matrix)
    constant[..., column] = matrix.sum(axis=-1)
    return constant


def _with_deviation(values: dict[str, Floats], samples: dict[str, Floats], suffix: str) -> dict[str, dict[str, float]]:
    return {
        name + suffix: {"value": float(value), "standard_deviation": float(samples[name].std())}
        for name, value in values.items()
    }


def wilson_interval(successes: int, total: int) -> tuple[float, float]:
    """95 % interval of a proportion. Source: Wilson, JASA 1927. (0, 1) when nothing was counted."""
    if total == 0:
        return 0.0, 1.0
    share = successes / total
    centre = (share + Z_95**2 / (2 * total)) / (1 + Z_95**2 / total)
    half = Z_95 * math.sqrt(share * (1 - share) / total + Z_95**2 / (4 * total**2)) / (1 + Z_95**2 / total)
    return max(0.0, centre - half), min(1.0, centre + half)


def calibration_error(labels: Labels, probabilities: Floats) -> float:
    """Expected calibration error over ten equal bins of confidence. Source: Naeini et al., AAAI 2015."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = [abs(correct[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(sum(gaps))


def coverage(labels: Labels, probabilities: Floats, threshold: float) -> dict[str, Any]:
    """The share of images whose confidence reaches the threshold, and the accuracy among those (None without any)."""
    passing = probabilities.max(axis=1) >= threshold
    correct = int((probabilities.argmax(axis=1) == labels)[passing].sum())
    count = int(passing.sum())
    return {
        "threshold": threshold,
        "count": count,
        "coverage": count / len(labels),
        "accuracy": correct / count if count else None,
        "accuracy_interval_95": list(wilson_interval(correct, count)),
    }


def _ratio(numerator: Floats, denominator: npt.NDArray[Any]) -> Floats:
    ratio: Floats = np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
    return ratio
