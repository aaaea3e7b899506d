"""How much of a window's traffic may be in a state that is known from worse copies of healthy pictures.

Runs in the baseline and the monitoring job, with numpy alone. Values are told by their rank among the healthy ones,
from -0.5 to 0.5: a state shifts the mean rank of each channel, and the shift of a window, along the direction in which
the state is told apart best (Fisher's discriminant), says what share of it may be in that state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from monitoring.drift.detector import Floats

_ONE_SIDED_95 = 1.6448536269514722
# Of a channel that hardly varies, so that its variance can be divided by; an even one's is 1/12.
_LEAST_VARIANCE = 1e-3


def ranks(values: Floats, healthy: Floats) -> Floats:
    """Where values lie among healthy ones, from -0.5 (below all) to 0.5; ties count half, NaN stays NaN."""
    known = np.sort(healthy[np.isfinite(healthy)])
    places = (np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")) / 2.0
    found: Floats = np.where(np.isfinite(values), places / len(known) - 0.5, np.nan)
    return found


def shifts(worse: Mapping[str, Floats], healthy: Mapping[str, Floats]) -> dict[str, float]:
    """By how much the mean rank of each channel changes between healthy values and those of the same pictures, worse.

    Channels that are unknown, or of which no value is finite, are left out.
    """
    return {
        name: round(float(np.nanmean(ranks(values, healthy[name]) - ranks(healthy[name], healthy[name]))), 4)
        for name, values in worse.items()
        if name in healthy and (np.isfinite(values) & np.isfinite(healthy[name])).any()
    }


@dataclass(frozen=True)
class SeenAmongHealthy:
    """A window's mean ranks, and what chance may do to them."""

    names: tuple[str, ...]
    means: Floats
    covariance: Floats
    """Of single healthy predictions' ranks, [channels, channels]."""
    chance: float
    """The factor of that covariance for the difference between the means of a window and of the baseline."""

    @classmethod
    def of(cls, window: Mapping[str, Floats], healthy: Mapping[str, Floats]) -> SeenAmongHealthy:
        """Columns by channel, of the predictions of each; those of one that only one of them knows are left out."""
        names = tuple(sorted(name for name in window if name in healthy and _finite(window[name], healthy[name])))
        seen = np.array([ranks(window[name], healthy[name]) for name in names])
        known = np.array([ranks(healthy[name], healthy[name]) for name in names])
        covariance = np.atleast_2d(np.cov(np.nan_to_num(known))) + _LEAST_VARIANCE * np.eye(len(names))
        fewest = [int(np.isfinite(columns).sum(axis=1).min()) for columns in (seen, known)]
        return cls(names, np.nanmean(seen, axis=1), covariance, sum(1.0 / count for count in fewest))

    def most_of(self, shifted: Mapping[str, float]) -> float:
        """The largest share of the window, from 0 to 1, that a state may have which shifts the mean ranks so (95 %)."""
        shift = np.array([shifted.get(name, 0.0) for name in self.names])
        direction = np.linalg.solve(self.covariance, shift)
        apart = float(shift @ direction)
        if apart <= 0.0:
            return 1.0  # nothing tells it
        found = float(self.means @ direction) + _ONE_SIDED_95 * float(np.sqrt(apart * self.chance))
        return float(np.clip(found / apart, 0.0, 1.0))


def _finite(*columns: Floats) -> bool:
    return all(np.isfinite(column).sum() >= 2 for column in columns)
