"""Distances between two samples or two distributions, of one channel each.

Runs in the monitoring container, with numpy alone: scipy, where the tests find them again, is 115 MB of an environment.
"""

from __future__ import annotations

import numpy as np

from monitoring.drift.detector import Floats


def kolmogorov_smirnov(first: Floats, second: Floats) -> float:
    """Answers the greatest difference of two samples' distribution functions; neither may be empty."""
    places = np.concatenate([first, second])
    return float(np.abs(_distribution(first, places) - _distribution(second, places)).max())


def wasserstein(first: Floats, second: Floats) -> float:
    """Answers the area between two samples' distribution functions, in the values' unit; neither may be empty."""
    places = np.sort(np.concatenate([first, second]))
    apart = np.abs(_distribution(first, places[:-1]) - _distribution(second, places[:-1]))
    return float(apart @ np.diff(places))


def jensen_shannon(first: Floats, second: Floats) -> float:
    """Answers the distance (base 2, from 0 to 1) of two distributions over the same bins, all shares above 0."""
    middle = (first + second) / 2.0
    terms = first * np.log2(first / middle) + second * np.log2(second / middle)
    return float(np.sqrt(max(float(terms.sum()) / 2.0, 0.0)))


def _distribution(sample: Floats, places: Floats) -> Floats:
    """The share of a sample at or below each place."""
    shares: Floats = np.searchsorted(np.sort(sample), places, side="right") / len(sample)
    return shares
