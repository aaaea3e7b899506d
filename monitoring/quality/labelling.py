"""What to label next: how many predictions by chance for a wished interval, and which ones first to learn from.

Runs in the monitoring container. Values in, values out. The two answer different questions: labels of predictions that
were drawn by chance say how right the model is; those that are listed here are chosen since they are doubtful, far from
the training images or typical of what has moved, say how to cure it, and nothing about the accuracy of the rest.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitoring.drift.detector import Floats
from monitoring.store.novelty import NOVELTY
from reporting.documents.report import LabelFirst

HALF_WIDTHS = (0.1, 0.05, 0.02)
MOST_OF_A_KIND = 5
_NORMAL_95 = 1.959963985
_MOST = 1_000_000
_USUAL = (0.05, 0.95)


@dataclass(frozen=True)
class Unlabelled:
    """Predictions of the window, `[n]` each, and which of them nobody has labelled."""

    ids: Sequence[str]
    """What a label names: the inference id, or else the event id."""
    confidence: Floats
    predicted: Sequence[str]
    statistics: Mapping[str, Floats]
    open: npt.NDArray[np.bool_]


def budget(accuracy: float | None, predictions: int) -> dict[str, int]:
    """Labels by chance for a 95 % interval (Wilson) of each half width; of an accuracy that nobody knows, the most."""
    share = 0.5 if accuracy is None else accuracy
    found = {}
    for half in HALF_WIDTHS:
        needed = 1 + bisect.bisect_left(range(1, _MOST), -half, key=lambda count: -_half_width(share, count))
        # Of few predictions, fewer labels will do (Cochran, Sampling Techniques, 4.4).
        found[f"{half:g}"] = int(np.ceil(needed / (1.0 + (needed - 1.0) / predictions))) if predictions else 0
    return found


def _half_width(share: float, count: int) -> float:
    """Of Wilson's interval."""
    z = _NORMAL_95
    return z / (1 + z**2 / count) * float(np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)))


def label_first(seen: Unlabelled, moved: Sequence[str], reference: Mapping[str, Floats]) -> list[LabelFirst]:
    """The least confident, the furthest from the training images, the most typical of the statistics that moved."""
    scores = {"least confident": seen.confidence}
    if NOVELTY in seen.statistics:
        scores["furthest from the training images"] = -seen.statistics[NOVELTY]
    typical = _untypical(seen, moved, reference)
    if typical is not None:
        scores["typical of what has moved"] = typical
    found: list[LabelFirst] = []
    taken: set[int] = set()
    for why, score in scores.items():
        order = [int(row) for row in np.argsort(score, kind="stable") if seen.open[row] and np.isfinite(score[row])]
        for row in [row for row in order if row not in taken][:MOST_OF_A_KIND]:
            taken.add(row)
            found.append(LabelFirst(seen.ids[row], why, seen.predicted[row], float(seen.confidence[row])))
    return found


def _untypical(seen: Unlabelled, moved: Sequence[str], reference: Mapping[str, Floats]) -> Floats | None:
    """How far each image is from the middle of those that lie outside of what is usual; lowest is most typical."""
    columns = []
    for name in moved:
        values, known = seen.statistics.get(name), reference.get(name)
        if values is None or known is None or not len(known):
            continue
        low, high = np.quantile(known, _USUAL)
        outside = values[(values < low) | (values > high)]
        if len(outside):
            spread = float(np.std(outside)) or 1.0
            columns.append(np.abs(values - np.median(outside)) / spread)
    return np.mean(columns, axis=0) if columns else None
