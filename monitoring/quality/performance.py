"""How right the model was: captured predictions whose truth is known, and what its own confidence says of the rest.

Runs in the monitoring container. Values in, values out; it touches no files. The truth of captured traffic mostly comes
from the review queue, that is of images that did not pass: an accuracy over those alone says nothing of the traffic. So
accuracy is also given for passing and not passing predictions apart, and weighed by their shares of the traffic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from processing.evaluation.scores import (
    Floats,
    Labels,
    areas_under_curve,
    calibration_error,
    class_scores,
    confusion,
    reliability,
    wilson_interval,
)

CAVEAT = (
    "Estimated from the model's own confidence (CBPE): right only as long as that is calibrated. Under strong drift it "
    "was too optimistic by up to 0.1, so it never raises an alarm by itself."
)
# Fewer labels of a kind than this say too little to speak for all of its traffic.
ENOUGH_LABELS = 10
_NORMAL_95 = 1.959963985


@dataclass(frozen=True)
class Answers:
    """Captured predictions of a window, `[n]` each."""

    probabilities: Floats
    """`[n, classes]`."""
    passes: npt.NDArray[np.bool_]
    event_ids: Sequence[str]
    inference_ids: Sequence[str | None]


class Performance(TypedDict):
    """Of one window; None where there is no figure. Intervals are 95 %."""

    labelled: int
    unknown_ids: int
    """Labels for which no prediction was captured in the window."""
    accuracy: dict[str, Any] | None
    """``value``, ``interval`` over the labelled predictions, ``passing`` and ``not_passing`` (``labels``, ``value``,
    ``interval``), and ``traffic``: both weighed by their shares of all predictions, None without enough of both."""
    per_class: dict[str, dict[str, Any]]
    """``labels``, ``precision``, ``recall``, ``f1`` and the intervals of the first two."""
    macro_f1: float | None
    auc: dict[str, float | None]
    calibration_error: float | None
    reliability: list[dict[str, Any]]
    confusion: list[list[int]]
    """A row per true class, a column per predicted one."""
    estimated_accuracy: dict[str, Any] | None
    """``value`` and ``interval`` by CBPE over all predictions of the window, and its ``caveat``."""


def performance(answers: Answers, truth: Mapping[str, int], classes: Sequence[str]) -> Performance:
    """The figures of a window; ``truth`` are labels by inferenceId or eventId."""
    rows, labels, unknown = merge(answers, truth)
    probabilities = answers.probabilities[rows]
    predicted = probabilities.argmax(axis=1) if len(rows) else np.empty(0, np.int64)
    matrix = confusion(labels, predicted, len(classes))
    bins = reliability(labels, probabilities) if len(rows) else []
    precision, recall, f1 = class_scores(matrix)
    areas = areas_under_curve(labels, probabilities) if len(rows) else [None] * len(classes)
    return {
        "labelled": len(rows),
        "unknown_ids": unknown,
        "accuracy": _accuracy(predicted == labels, answers.passes[rows], answers.passes) if len(rows) else None,
        "per_class": {
            name: {
                "labels": int(matrix[index].sum()),
                "precision": _known(precision[index], matrix[:, index].sum()),
                "precision_interval": _interval(matrix[index, index], matrix[:, index].sum()),
                "recall": _known(recall[index], matrix[index].sum()),
                "recall_interval": _interval(matrix[index, index], matrix[index].sum()),
                "f1": _known(f1[index], matrix[index].sum() + matrix[:, index].sum()),
            }
            for index, name in enumerate(classes)
        },
        "macro_f1": float(np.mean(f1)) if len(rows) else None,
        "auc": dict(zip(classes, areas, strict=True)),
        "calibration_error": calibration_error(bins) if bins else None,
        "reliability": bins,
        "confusion": matrix.tolist(),
        "estimated_accuracy": estimate(answers.probabilities),
    }


def merge(answers: Answers, truth: Mapping[str, int]) -> tuple[npt.NDArray[np.int64], Labels, int]:
    """Rows whose truth is known, their labels, and for how many labels there is no row; the inferenceId goes first."""
    rows: list[int] = []
    labels: list[int] = []
    used: set[str] = set()
    for row, (event_id, inference_id) in enumerate(zip(answers.event_ids, answers.inference_ids, strict=True)):
        found = inference_id if inference_id in truth else event_id if event_id in truth else None
        if found is not None:
            rows.append(row)
            labels.append(truth[found])
            used.add(found)
    return np.array(rows, np.int64), np.array(labels, np.int64), len(truth) - len(used)


def estimate(probabilities: Floats) -> dict[str, Any] | None:
    """Confidence-based performance estimation: the mean confidence is the expected accuracy of a calibrated model."""
    if not len(probabilities):
        return None
    confidence = probabilities.max(axis=1)
    value = float(confidence.mean())
    error = float(np.sqrt((confidence * (1.0 - confidence)).sum())) / len(confidence)
    interval = [max(0.0, value - _NORMAL_95 * error), min(1.0, value + _NORMAL_95 * error)]
    return {"value": value, "interval": interval, "caveat": CAVEAT}


def _accuracy(
    right: npt.NDArray[np.bool_], passes: npt.NDArray[np.bool_], all_pass: npt.NDArray[np.bool_]
) -> dict[str, Any]:
    kinds = {"passing": right[passes], "not_passing": right[~passes]}
    found: dict[str, Any] = {
        "value": float(right.mean()),
        "interval": list(wilson_interval(int(right.sum()), len(right))),
    }
    for name, of_kind in kinds.items():
        found[name] = {
            "labels": len(of_kind),
            "value": float(of_kind.mean()) if len(of_kind) else None,
            "interval": _interval(of_kind.sum(), len(of_kind)),
        }
    found["traffic"] = _weighed(kinds, all_pass)
    return found


def _weighed(kinds: Mapping[str, npt.NDArray[np.bool_]], all_pass: npt.NDArray[np.bool_]) -> float | None:
    """Stratified by whether a prediction passes (Cochran, Sampling Techniques, 5.3)."""
    share = float(all_pass.mean())
    shares = {"passing": share, "not_passing": 1.0 - share}
    if any(shares[name] > 0.0 and len(right) < ENOUGH_LABELS for name, right in kinds.items()):
        return None
    return float(sum(shares[name] * right.mean() for name, right in kinds.items() if len(right)))


def _known(value: float, of: int) -> float | None:
    return float(value) if of else None


def _interval(successes: Any, total: Any) -> list[float] | None:
    return list(wilson_interval(int(successes), int(total))) if total else None
