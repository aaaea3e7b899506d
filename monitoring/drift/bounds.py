"""Between which bounds the mean of a healthy stream lies, of which a baseline is a small sample.

Runs in the monitoring container, with numpy alone. A baseline has 100 images or so, and dozens of means are bounded by
it; where one bound is wrong, a detector alarms on a healthy stream sooner or later. So each bound states the chance
with which it may be wrong, and `monitoring.drift.channels` divides one chance among all of a family. Exact are the
bounds of a share (Clopper and Pearson, 1934) and, but for the normal form of a sum of uniforms, that of a mean rank;
the mean of anything else has Student's.
"""

from __future__ import annotations

import functools
from statistics import NormalDist

import numpy as np

from monitoring.drift.detector import Bounds, Floats

_HALVINGS = 60
_ANGLES = 20_001


def share_bounds(values: Floats, error: float) -> Bounds:
    """Of the share of ones among zeros and ones, NaN where one is missing; ``error`` is each bound's chance."""
    known = values[np.isfinite(values)]
    hits, rest = int(known.sum()), len(known) - int(known.sum())
    return Bounds(1.0 - largest_share(rest, len(known), error), largest_share(hits, len(known), error))


def rank_bounds(count: int, error: float) -> Bounds:
    """Of the mean rank of healthy values within a sample of so many.

    That is a half, give or take the mean of so many uniform numbers, whose variance is known (1/12 each).
    """
    return Bounds.around(0.5, normal_quantile(error) * float(np.sqrt(1.0 / (12.0 * count))))


def mean_bounds(values: Floats, error: float) -> Bounds:
    """Of the mean of any values from 0 to 1, NaN where one is missing.

    A sample all of whose values are alike has an error too: one more of either end is assumed (Laplace).
    """
    known = values[np.isfinite(values)]
    smallest = 1.0 / (len(known) + 2)
    spread = max(float(known.var(ddof=1)), smallest * (1.0 - smallest))
    margin = student_quantile(error, len(known) - 1) * float(np.sqrt(spread / len(known)))
    return Bounds.around(float(known.mean()), margin)


@functools.lru_cache(maxsize=4096)  # baselines of one size ask the same
def largest_share(hits: int, count: int, error: float) -> float:
    """Answers the share with which so few hits among ``count`` have the chance ``error``, 0 to 1; 1 for no others."""
    if hits == count:
        return 1.0
    numbers = np.arange(hits + 1)
    factorials = np.concatenate([[0.0], np.log(np.arange(1, count + 1)).cumsum()])
    ways = factorials[count] - factorials[numbers] - factorials[count - numbers]
    low, high = hits / count, 1.0
    for _ in range(_HALVINGS):
        share = (low + high) / 2.0
        chance = np.exp(ways + numbers * np.log(share) + (count - numbers) * np.log1p(-share)).sum()
        low, high = (share, high) if chance > error else (low, share)
    return high


def normal_quantile(error: float) -> float:
    """Answers what a standard normal value exceeds with the chance ``error``."""
    return NormalDist().inv_cdf(1.0 - error)


@functools.lru_cache(maxsize=64)
def student_quantile(error: float, freedom: int) -> float:
    """Answers what Student's t with so many degrees of freedom exceeds with the chance ``error``, below a half.

    The tangent of the angle in which t's density is a power of the cosine: summed up over that angle.
    """
    angles = np.linspace(0.0, np.pi / 2.0, _ANGLES)
    heights = np.cos(angles) ** (freedom - 1)
    areas = np.concatenate([[0.0], ((heights[1:] + heights[:-1]) / 2.0).cumsum()])
    angle = float(np.interp(areas[-1] * (1.0 - 2.0 * error), areas, angles))
    return float(np.sqrt(freedom) * np.tan(angle))
