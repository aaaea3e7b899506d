"""The accuracy that the model's own confidence lets expect, where that holds; else why it is not said.

Runs in the monitoring container. Values in, values out. The mean confidence of a calibrated model is its accuracy
(confidence-based performance estimation). It stays near the truth only while the pictures are like those the model was
calibrated on, so that it is withheld while anything has moved, and its interval is as wide as the errors that were
measured on worse copies of this model's validation images (`monitoring.quality.measured_errors`): of all those that
the window's pictures could be, as far as their statistics tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import UNSET

from monitoring.drift.detector import Floats
from monitoring.drift.watch import WatchedTraffic
from monitoring.quality.measured_errors import CONFIDENCE, FEWEST_IMAGES, KS_MOVED, KS_POSSIBLE, distances
from processing.evaluation.scores import wilson_interval
from reporting.documents.baseline import BaselineDocument, EstimateError
from reporting.documents.report import ClassShare, EstimatedAccuracy

# An estimate that may be further off than this helps nobody.
WORST_ERROR = 0.1
_NORMAL_95 = 1.959963985


@dataclass(frozen=True)
class ExpectedAccuracy:
    """An estimate, or why there is none."""

    accuracy: EstimatedAccuracy | None
    because: str | None = None


def expected_accuracy(
    probabilities: Floats, watched: WatchedTraffic | None, baseline: BaselineDocument | None
) -> ExpectedAccuracy:
    """Of the window's predictions, float64 [n, classes]."""
    if not len(probabilities):
        return ExpectedAccuracy(None, "nothing was captured")
    if watched is None or baseline is None:
        return ExpectedAccuracy(None, "there is nothing to hold the predictions against")
    if baseline.estimate_errors is UNSET or not baseline.estimate_errors:
        return ExpectedAccuracy(None, "its error was not measured with this baseline; that of a newer training has it")
    because = _moved(watched)
    if because:
        return ExpectedAccuracy(None, because)
    seen = _Seen.of(watched)
    if seen.images < FEWEST_IMAGES:
        return ExpectedAccuracy(
            None, f"of {FEWEST_IMAGES} pictures at least, {seen.images} were captured and looked at"
        )
    return _estimate(probabilities, seen, baseline.estimate_errors)


def _moved(watched: WatchedTraffic) -> str | None:
    """What speaks against an estimate, besides the pictures themselves."""
    alarms = [family.family for family in watched.drift.families if family.alarm]
    if alarms:
        return f"the alarm of {' and '.join(alarms)} is on"
    count = len(watched.predictions)
    away = [name for name, share in watched.drift.class_shares.items() if _outside(share, count)]
    return f"the share of {', '.join(away)} is not what the baseline lets expect" if away else None


def _outside(share: ClassShare, count: int) -> bool:
    if share.window is None:
        return False
    low, high = wilson_interval(round(share.window * count), count)
    return high < share.lower or low > share.upper


@dataclass(frozen=True)
class _Seen:
    """How far each channel of the window is from the baseline, and how far it may be by chance alone."""

    away: Mapping[str, float]
    counts: Mapping[str, tuple[int, int]]
    """Predictions of the window and of the baseline that have the channel."""
    images: int

    @classmethod
    def of(cls, watched: WatchedTraffic) -> _Seen:
        reference = {CONFIDENCE: watched.reference.confidence, **watched.reference.statistics}
        seen = {CONFIDENCE: watched.predictions.confidence, **watched.predictions.statistics}
        away = distances(seen, reference)
        counts = {name: (int(np.isfinite(seen[name]).sum()), len(reference[name])) for name in away}
        pictures = [here for name, (here, _) in counts.items() if name != CONFIDENCE]
        return cls(away, counts, min(pictures, default=0))

    def moved(self) -> list[str]:
        """Channels further away than two samples of this size would be; a window tells no more than its baseline."""
        return [name for name, far in self.away.items() if far > KS_MOVED * np.sqrt(2.0 / self._size(name))]

    def may_be(self, error: EstimateError) -> bool:
        """Whether pictures that are as far away as those of an entry might look as the window's do."""
        return all(
            error.distances.get(name, 0.0) <= far + KS_POSSIBLE / np.sqrt(self._size(name))
            for name, far in self.away.items()
        )

    def _size(self, name: str) -> int:
        return min(self.counts[name])


def _estimate(probabilities: Floats, seen: _Seen, errors: Sequence[EstimateError]) -> ExpectedAccuracy:
    moved = seen.moved()
    if moved:
        return ExpectedAccuracy(None, f"the pictures or the confidence look different ({_words(moved)})")
    possible = [error for error in errors if seen.may_be(error)]
    too_high = max([error.estimated - error.accuracy for error in possible], default=0.0)
    too_low = max([error.accuracy - error.estimated for error in possible], default=0.0)
    if too_high > WORST_ERROR:
        worst = max(possible, key=lambda error: error.estimated - error.accuracy)
        return ExpectedAccuracy(
            None,
            f"{seen.images:,} pictures cannot tell whether there is {worst.corruption}, with which this model's "
            f"estimate was {too_high:.2f} too high",
        )
    return ExpectedAccuracy(_with_interval(probabilities, max(0.0, too_high), max(0.0, too_low), errors, possible))


def _with_interval(
    probabilities: Floats,
    too_high: float,
    too_low: float,
    errors: Sequence[EstimateError],
    possible: Sequence[EstimateError],
) -> EstimatedAccuracy:
    confidence = probabilities.max(axis=1)
    value = float(confidence.mean())
    of_window = float((confidence * (1.0 - confidence)).sum()) / len(confidence) ** 2
    clean = errors[0]
    of_baseline = clean.accuracy * (1.0 - clean.accuracy) / clean.images
    of_states = max((error.deviation for error in possible), default=0.0) ** 2
    chance = _NORMAL_95 * float(np.sqrt(of_window + of_baseline + of_states))
    return EstimatedAccuracy(
        value=value,
        interval=[max(0.0, value - too_high - chance), min(1.0, value + too_low + chance)],
        caveat=(
            f"Estimated from the model's own confidence. Of {len(errors)} states of {clean.images:,} validation images "
            f"of this version, most of them made worse, the window's pictures could be in {len(possible)}; in these it "
            f"was too high by up to {too_high:.3f} and too low by up to {too_low:.3f}, which the interval includes. It "
            "raises no alarm."
        ),
        too_high=too_high,
        too_low=too_low,
    )


def _words(names: Sequence[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)
