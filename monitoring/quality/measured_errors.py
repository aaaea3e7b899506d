"""How far a model's confidence misses its accuracy, measured on worse copies of its own validation images.

Runs in the baseline job. Images and the model's answers in, values out; what is found is written with the baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from imaging.statistics import image_statistics
from monitoring.drift.detector import Floats, Integers
from monitoring.drift.distances import kolmogorov_smirnov
from monitoring.quality.corruptions import KINDS, SEVERITIES, Pixels, corrupted
from monitoring.store.novelty import NOVELTY
from reporting.documents.baseline import EstimateError

CLEAN = "none"
CONFIDENCE = "confidence"
# More make the job long, and the error of an accuracy no smaller than two points.
MOST_IMAGES = 300
_DIGITS = 4


def measure_errors(
    pixels: Pixels,
    labels: npt.NDArray[np.int64],
    answer: Callable[[Pixels], Floats],
    novelty: Callable[[Pixels], Floats] | None = None,
) -> list[EstimateError]:
    """One entry for the images as they are, and one for each corruption and severity.

    ``answer`` are the model's probabilities; ``novelty`` says how far images are from the training's.
    """

    def seen(images: Pixels, probabilities: Floats) -> dict[str, Floats]:
        further = {NOVELTY: novelty(images)} if novelty else {}
        return {CONFIDENCE: probabilities.max(axis=1), **image_statistics(images), **further}

    chosen = np.unique(np.linspace(0, len(labels) - 1, min(len(labels), MOST_IMAGES)).astype(np.int64))
    images, truth = pixels[chosen], labels[chosen]
    probabilities = answer(images)
    clean = seen(images, probabilities)
    found = [_error(CLEAN, 0, probabilities, truth, dict.fromkeys(clean, 0.0))]
    for kind in KINDS:
        for severity in range(1, SEVERITIES + 1):
            worse = corrupted(images, kind, severity)
            probabilities = answer(worse)
            found.append(_error(kind, severity, probabilities, truth, distances(seen(worse, probabilities), clean)))
    return found


def distances(seen: Mapping[str, Floats], reference: Mapping[str, Floats]) -> dict[str, float]:
    """Of each channel that both know, the greatest difference of the distribution functions (Kolmogorov, Smirnov)."""
    both = {name: (seen[name][np.isfinite(seen[name])], reference[name]) for name in reference if name in seen}
    return {
        name: round(kolmogorov_smirnov(values, known[np.isfinite(known)]), _DIGITS)
        for name, (values, known) in both.items()
        if len(values) and np.isfinite(known).any()
    }


def _error(kind: str, severity: int, probabilities: Floats, truth: Integers, away: dict[str, float]) -> EstimateError:
    return EstimateError(
        corruption=kind,
        severity=severity,
        images=len(truth),
        estimated=round(float(probabilities.max(axis=1).mean()), _DIGITS),
        accuracy=round(float((probabilities.argmax(axis=1) == truth).mean()), _DIGITS),
        distances=away,
    )
