"""The accuracy that the model's own confidence lets expect, where that holds; else why it is not said.

Runs in the monitoring container. Values in, values out. The mean confidence of a calibrated model is its accuracy
(confidence-based performance estimation). It stays near the truth only while the pictures are like those the model was
calibrated on, so that it is withheld while anything has moved, and its interval is as wide as the errors that were
measured on worse copies of this model's validation images (`monitoring.quality.measured_errors`), of each so much as
the window's pictures may have of it (`monitoring.quality.resemblance`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import UNSET

from monitoring.drift.detector import Floats
from monitoring.drift.watch import WatchedTraffic
from monitoring.quality.measured_errors import CONFIDENCE, FEWEST_IMAGES, KS_MOVED, distances
from monitoring.quality.resemblance import SeenAmongHealthy
from processing.evaluation.scores import wilson_interval
from reporting.documents.baseline import BaselineDocument, BaselineRecords, EstimateError
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
    if baseline.estimate_errors is UNSET or not any(error.shifts for error in baseline.estimate_errors):
        return ExpectedAccuracy(None, "its error was not measured with this baseline; that of a newer training has it")
    because = _moved(watched)
    if because:
        return ExpectedAccuracy(None, because)
    seen = _Seen.of(watched)
    if seen.images < FEWEST_IMAGES:
        return ExpectedAccuracy(
            None, f"of {FEWEST_IMAGES} pictures at least, {seen.images} were captured and looked at"
        )
    return _estimate(probabilities, seen, baseline.records, baseline.estimate_errors)


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
    """A window's values by channel, how far they are from the baseline's, and how many of each there are."""

    channels: Mapping[str, Floats]
    away: Mapping[str, float]
    counts: Mapping[str, int]
    """The fewer of the window's and the baseline's: a window tells no more than its baseline."""
    images: int

    @classmethod
    def of(cls, watched: WatchedTraffic) -> _Seen:
        reference = {CONFIDENCE: watched.reference.confidence, **watched.reference.statistics}
        seen = {CONFIDENCE: watched.predictions.confidence, **watched.predictions.statistics}
        away = distances(seen, reference)
        here = {name: int(np.isfinite(seen[name]).sum()) for name in away}
        counts = {name: min(count, len(reference[name])) for name, count in here.items()}
        return cls(seen, away, counts, min((here[name] for name in away if name != CONFIDENCE), default=0))

    def moved(self) -> list[str]:
        """Channels further away than two samples of this size would be."""
        return [name for name, far in self.away.items() if far > KS_MOVED * np.sqrt(2.0 / self.counts[name])]


@dataclass(frozen=True)
class _Possible:
    """A state of which the window may have a share, and how far off the estimate then is."""

    error: EstimateError
    share: float
    too_high: float
    """Below 0 where it is too low."""

    @classmethod
    def of(cls, error: EstimateError, share: float, clean: EstimateError) -> _Possible:
        mixed = (1.0 - share) * (clean.estimated - clean.accuracy) + share * (error.estimated - error.accuracy)
        return cls(error, share, mixed)


def _estimate(
    probabilities: Floats, seen: _Seen, healthy: BaselineRecords, errors: Sequence[EstimateError]
) -> ExpectedAccuracy:
    moved = seen.moved()
    if moved:
        return ExpectedAccuracy(None, f"the pictures or the confidence look different ({_words(moved)})")
    among = SeenAmongHealthy.of(seen.channels, _columns(healthy))
    possible = [_Possible.of(error, among.most_of(error.shifts), errors[0]) for error in errors]
    worst = max(possible, key=lambda state: state.too_high)
    if worst.too_high > WORST_ERROR:
        return ExpectedAccuracy(
            None,
            f"{seen.images:,} pictures cannot rule out that {worst.share:.0%} of them have {worst.error.corruption}, "
            f"with which this model's estimate was {worst.error.estimated - worst.error.accuracy:.2f} too high",
        )
    return ExpectedAccuracy(_with_interval(probabilities, possible, errors[0]))


def _columns(records: BaselineRecords) -> dict[str, Floats]:
    statistics = {name: np.array(values, np.float64) for name, values in records.statistics.items()}
    return {CONFIDENCE: np.array(records.confidence, np.float64), **statistics}


def _with_interval(probabilities: Floats, possible: Sequence[_Possible], clean: EstimateError) -> EstimatedAccuracy:
    confidence = probabilities.max(axis=1)
    value = float(confidence.mean())
    too_high = max(0.0, *(state.too_high for state in possible))
    too_low = max(0.0, *(-state.too_high for state in possible))
    of_window = float((confidence * (1.0 - confidence)).sum()) / len(confidence) ** 2
    of_baseline = clean.accuracy * (1.0 - clean.accuracy) / clean.images
    of_states = max(state.share * state.error.deviation for state in possible) ** 2
    chance = _NORMAL_95 * float(np.sqrt(of_window + of_baseline + of_states))
    return EstimatedAccuracy(
        value=value,
        interval=[max(0.0, value - too_high - chance), min(1.0, value + too_low + chance)],
        caveat=(
            f"Estimated from the model's own confidence. It was measured in {len(possible)} states of "
            f"{clean.images:,} validation images of this version, most of them made worse. With as much of each as the "
            f"window's pictures may have, it would be too high by up to {too_high:.3f} and too low by up to "
            f"{too_low:.3f}, which the interval includes. It raises no alarm."
        ),
        too_high=too_high,
        too_low=too_low,
    )


def _words(names: Sequence[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)
