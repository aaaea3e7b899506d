"""How far a model's confidence misses its accuracy, measured on worse copies of its own validation images.

Runs in the baseline job. Images and the model's answers in, values out; what is found is written with the baseline.

A model is asked about no more than it must be. States that the pictures alone give away are left out: an estimate is
not shown beside such pictures, whatever the model answers. In the others it is asked about as many images as
`SECONDS` of processor time allow, and each is compared with its own healthy copy, which needs far fewer of them than
two independent accuracies would: what both have in common falls out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from imaging.statistics import STATISTICS, image_statistics
from monitoring.drift.detector import Floats, Integers
from monitoring.drift.distances import kolmogorov_smirnov
from monitoring.quality.corruptions import KINDS, SEVERITIES, Pixels, corrupted
from monitoring.quality.resemblance import shifts
from monitoring.store.novelty import NOVELTY, Answered
from reporting.documents.baseline import EstimateError

CLEAN = "none"
CONFIDENCE = "confidence"
# An estimate of fewer pictures is not shown.
FEWEST_IMAGES = 50
# Two samples of one distribution differ by more than this over the root of their size in one of a thousand, and in one
# of twenty (Kolmogorov; Smirnov, 1948).
KS_MOVED, KS_POSSIBLE = 1.95, 1.36
# More make the job long, and the error of an accuracy no smaller than two points.
MOST_IMAGES = 300
# Of a state, whatever they cost: of fewer, one image that turns wrong is four points.
FEWEST_OF_A_STATE = 25
SECONDS = 4.0
"""Processor time for the model's answers about worse images, and as much for making and measuring these."""
_TIMED = 10  # images that show what one costs
_DIGITS = 4

State = tuple[str, int]
"""A corruption and its severity."""
STATES: tuple[State, ...] = tuple((kind, severity) for kind in KINDS for severity in range(1, SEVERITIES + 1))


@dataclass(frozen=True)
class Validation:
    """Validation images uint8 [N, H, W, 3], their labels int64 [N], and what the model answers."""

    pixels: Pixels
    labels: npt.NDArray[np.int64]
    answered: Answered

    def some(self, most: int) -> Validation:
        """At most so many of them, evenly chosen."""
        rows = np.unique(np.linspace(0, len(self.labels) - 1, min(len(self.labels), most)).astype(np.int64))
        return Validation(self.pixels[rows], self.labels[rows], self.answered.at(rows))


def measure_errors(
    validation: Validation, answer: Callable[[Pixels], Answered], seconds: float = SECONDS
) -> list[EstimateError]:
    """One entry for the images as they are, and one for each state that pictures alone do not give away.

    ``seconds`` of processor time are what the model's answers may take, beyond those about FEWEST_OF_A_STATE images of
    each state.
    """
    known = validation.some(MOST_IMAGES)
    pictures = known.some(_affordable(lambda images: _seen(images, "noise", 1), known, len(STATES), seconds))
    hidden = _hidden(pictures)
    asked = known.some(_affordable(answer, known, len(hidden), seconds)) if hidden else known
    clean = _entry((CLEAN, 0), known, known.answered, _nowhere(known.answered))
    return [clean, *(_measured(state, moved, clean, asked, answer) for state, moved in hidden.items())]


def distances(seen: Mapping[str, Floats], reference: Mapping[str, Floats]) -> dict[str, float]:
    """Of each channel that both know, the greatest difference of the distribution functions (Kolmogorov, Smirnov)."""
    both = {name: (seen[name][np.isfinite(seen[name])], reference[name]) for name in reference if name in seen}
    return {
        name: round(kolmogorov_smirnov(values, known[np.isfinite(known)]), _DIGITS)
        for name, (values, known) in both.items()
        if len(values) and np.isfinite(known).any()
    }


def told_apart(images: int) -> float:
    """How far a statistic of a state must be away for no window, whatever its size, to pass for one that is in it.

    ``images``: of the baseline. A window that is further away than KS_MOVED allows has no estimate, and one in the
    state is by chance no nearer than KS_POSSIBLE allows.
    """
    size = max(1, min(images, FEWEST_IMAGES))
    return float((KS_MOVED * np.sqrt(2.0) + KS_POSSIBLE) / np.sqrt(size))


def _hidden(known: Validation) -> dict[State, dict[str, float]]:
    """States that a window may be in without its pictures giving it away, with their shifts."""
    clean, enough = image_statistics(known.pixels), told_apart(len(known.labels))
    seen = {state: _seen(known.pixels, *state) for state in STATES}
    return {
        state: shifts(worse, clean) for state, worse in seen.items() if max(distances(worse, clean).values()) <= enough
    }


def _seen(images: Pixels, kind: str, severity: int) -> dict[str, Floats]:
    return image_statistics(corrupted(images, kind, severity))


def _affordable(work: Callable[[Pixels], object], known: Validation, states: int, seconds: float) -> int:
    """How many images of each state the work can be done for within the time."""
    few = known.pixels[:_TIMED]
    work(few[:1])  # the first takes longer
    begun = time.process_time()
    work(few)
    each = max(time.process_time() - begun, 1e-6) / len(few)
    return max(FEWEST_OF_A_STATE, min(MOST_IMAGES, int(seconds / each / max(1, states))))


def _measured(
    state: State, moved: dict[str, float], clean: EstimateError, asked: Validation, answer: Callable[[Pixels], Answered]
) -> EstimateError:
    """What is known of all images as they are, and how the asked ones differ from themselves."""
    found = answer(corrupted(asked.pixels, *state))
    changes = _misses(found, asked.labels) - _misses(asked.answered, asked.labels)
    worse = _entry(state, asked, found, moved | shifts(_channels(found), _channels(asked.answered)))
    same = _entry(state, asked, asked.answered, {})
    return msgspec.structs.replace(
        worse,
        estimated=_share(clean.estimated + worse.estimated - same.estimated),
        accuracy=_share(clean.accuracy + worse.accuracy - same.accuracy),
        deviation=round(float(changes.std() / np.sqrt(len(changes))), _DIGITS),
    )


def _nowhere(answered: Answered) -> dict[str, float]:
    return dict.fromkeys([*STATISTICS, *_channels(answered)], 0.0)


def _channels(answered: Answered) -> dict[str, Floats]:
    further = {} if answered.novelty is None else {NOVELTY: answered.novelty}
    return {CONFIDENCE: answered.probabilities.max(axis=1), **further}


def _misses(answered: Answered, truth: Integers) -> Floats:
    """By how much the confidence in each image is above what came of it, 0 or 1."""
    right = answered.probabilities.argmax(axis=1) == truth
    missed: Floats = answered.probabilities.max(axis=1) - right
    return missed


def _share(value: float) -> float:
    return round(min(1.0, max(0.0, value)), _DIGITS)


def _entry(state: State, of: Validation, answered: Answered, moved: dict[str, float]) -> EstimateError:
    kind, severity = state
    return EstimateError(
        corruption=kind,
        severity=severity,
        images=len(of.labels),
        estimated=round(float(answered.probabilities.max(axis=1).mean()), _DIGITS),
        accuracy=round(float((answered.probabilities.argmax(axis=1) == of.labels).mean()), _DIGITS),
        shifts=moved,
    )
