"""How right the model was: captured predictions whose truth is known.

Runs in the monitoring container. Values in, values out; it touches no files. The truth of captured traffic mostly comes
from the review queue, that is of images that did not pass: an accuracy over those alone says nothing of the traffic. So
accuracy is also given for passing and not passing predictions apart, and weighed by their shares of the traffic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from msgspec import UNSET

from processing.evaluation.scores import (
    EVERY_PAIR,
    Floats,
    Labels,
    areas_under_curve,
    by_names,
    calibration_error,
    class_scores,
    confusion,
    reliability,
    wilson_interval,
)
from reporting.documents.evaluation import Interval
from reporting.documents.report import LabelledAccuracy, LabelledClass, OfKind, Performance

# Fewer labels of a kind than this say too little to speak for all of its traffic.
ENOUGH_LABELS = 10


@dataclass(frozen=True)
class Answers:
    """Captured predictions of a window, `[n]` each."""

    probabilities: Floats
    """`[n, classes]`."""
    passes: npt.NDArray[np.bool_]
    event_ids: Sequence[str]
    inference_ids: Sequence[str | None]


def answers_of(frame: pd.DataFrame, passes: npt.NDArray[np.bool_], classes: int) -> Answers:
    """Those of a table of captures, see `monitoring.store.window_table.Captures`."""
    probabilities = np.array(frame["probabilities"].tolist(), np.float64).reshape(len(frame), classes)
    return Answers(probabilities, passes, frame["event_id"].tolist(), frame["inference_id"].tolist())


def performance(answers: Answers, truth: Mapping[str, int], classes: Sequence[str]) -> Performance:
    """The figures of a window; ``truth`` are labels by inferenceId or eventId."""
    rows, labels, unknown = merge(answers, truth)
    probabilities = answers.probabilities[rows]
    predicted = probabilities.argmax(axis=1) if len(rows) else np.empty(0, np.int64)
    matrix = confusion(labels, predicted, len(classes))
    bins = reliability(labels, probabilities) if len(rows) else []
    precision, recall, f1 = class_scores(matrix)
    every_pair = len(classes) <= EVERY_PAIR
    areas = areas_under_curve(labels, probabilities) if len(rows) else [None] * len(classes)
    return Performance(
        labelled=len(rows),
        unknown_ids=unknown,
        accuracy=_accuracy(predicted == labels, answers.passes[rows], answers.passes) if len(rows) else None,
        per_class={
            name: LabelledClass(
                labels=int(matrix[index].sum()),
                precision=_known(precision[index], matrix[:, index].sum()),
                precision_interval=_interval(int(matrix[index, index]), int(matrix[:, index].sum())),
                recall=_known(recall[index], matrix[index].sum()),
                recall_interval=_interval(int(matrix[index, index]), int(matrix[index].sum())),
                f1=_known(f1[index], matrix[index].sum() + matrix[:, index].sum()),
            )
            for index, name in enumerate(classes)
        },
        macro_f1=float(np.mean(f1)) if len(rows) else None,
        auc=dict(zip(classes, areas, strict=True)),
        calibration_error=calibration_error(bins) if bins else None,
        reliability=bins,
        confusion=matrix.tolist() if every_pair else [],
        confused=UNSET if every_pair else {name: row for name, row in by_names(matrix, classes).items() if row},
    )


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


def _accuracy(
    right: npt.NDArray[np.bool_], passes: npt.NDArray[np.bool_], all_pass: npt.NDArray[np.bool_]
) -> LabelledAccuracy:
    passing, not_passing, share = right[passes], right[~passes], float(all_pass.mean())
    return LabelledAccuracy(
        value=float(right.mean()),
        interval=list(wilson_interval(int(right.sum()), len(right))),
        passing=_of_kind(passing),
        not_passing=_of_kind(not_passing),
        traffic=_weighed(passing, not_passing, share),
        traffic_interval=_weighed_interval(passing, not_passing, share),
    )


def _of_kind(right: npt.NDArray[np.bool_]) -> OfKind:
    return OfKind(len(right), float(right.mean()) if len(right) else None, _interval(int(right.sum()), len(right)))


def _weighed(passing: npt.NDArray[np.bool_], not_passing: npt.NDArray[np.bool_], share: float) -> float | None:
    """Stratified by whether a prediction passes, of which there is a ``share`` (Cochran, Sampling Techniques, 5.3)."""
    strata = ((share, passing), (1.0 - share, not_passing))
    if any(weight > 0.0 and len(right) < ENOUGH_LABELS for weight, right in strata):
        return None
    return float(sum(weight * right.mean() for weight, right in strata if len(right)))


def _weighed_interval(
    passing: npt.NDArray[np.bool_], not_passing: npt.NDArray[np.bool_], share: float
) -> Interval | None:
    """95 % interval of the same: each stratum's own distance to its bound, squared, weighed and summed (MOVER).

    Zou and Donner, Statistics in Medicine 27, 2008.
    """
    value = _weighed(passing, not_passing, share)
    if value is None:
        return None
    below = above = 0.0
    for weight, right in ((share, passing), (1.0 - share, not_passing)):
        if len(right):
            low, high = wilson_interval(int(right.sum()), len(right))
            below += (weight * (float(right.mean()) - low)) ** 2
            above += (weight * (high - float(right.mean()))) ** 2
    return [max(0.0, value - below**0.5), min(1.0, value + above**0.5)]


def _known(value: float, of: int) -> float | None:
    return float(value) if of else None


def _interval(successes: int, total: int) -> Interval | None:
    return list(wilson_interval(successes, total)) if total else None
