"""When a tuning job ends one of its training jobs early, and when it has seen enough itself.

Pure, over the values of the objective that each training job has told so far, in order. Authorities: SageMaker
developer guide, "Stop Training Jobs Early" (the median of running averages) and "How Hyperband works" (successive
halving, here asynchronous: Li et al., A System for Massively Parallel Hyperparameter Tuning, 2020).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

Values = Sequence[float]
REDUCTION = 3
"""Of so many jobs that come to a rung of Hyperband one goes on."""
FEWEST_PEERS = 3
"""Jobs that have come as far, before one can be behind them. AWS does not state its number."""


@dataclass(frozen=True)
class MedianRule:
    """Ends a job whose newest value is worse than the median of what the others had on average at that point."""

    maximize: bool

    def ends(self, values: Values, peers: Sequence[Values]) -> bool:
        """Whether a job with these values ends; ``peers`` are the jobs before it."""
        averages = [statistics.fmean(one[: len(values)]) for one in peers if len(one) >= len(values)]
        if not values or len(averages) < FEWEST_PEERS:
            return False
        median = statistics.median(averages)
        return values[-1] < median if self.maximize else values[-1] > median


@dataclass(frozen=True)
class Hyperband:
    """Ends a job that is not among the best third at a rung, and each one at the last; a rung is a number of values."""

    least: int
    most: int
    maximize: bool

    def ends(self, values: Values, peers: Sequence[Values]) -> bool:
        """Whether a job with these values ends."""
        return len(values) >= self.most or any(self._behind(values, peers, rung) for rung in self._rungs(len(values)))

    def _rungs(self, reached: int) -> list[int]:
        rungs, rung = [], self.least
        while rung < self.most and rung <= reached:
            rungs.append(rung)
            rung *= REDUCTION
        return rungs

    def _behind(self, values: Values, peers: Sequence[Values], rung: int) -> bool:
        here = [self._best(one[:rung]) for one in [values, *peers] if len(one) >= rung]
        if len(here) < FEWEST_PEERS:
            return False
        ranked = sorted(here, reverse=self.maximize)
        last_to_go_on = ranked[max(0, len(here) // REDUCTION - 1)]
        best = self._best(values[:rung])
        return best < last_to_go_on if self.maximize else best > last_to_go_on

    def _best(self, values: Values) -> float:
        return max(values) if self.maximize else min(values)


StoppingRule = MedianRule | Hyperband


def not_improving(values: Values, most: int, *, maximize: bool) -> bool:
    """Whether as many jobs in a row as ``most`` were no better than the best before them."""
    best = max if maximize else min
    return len(values) > most and best(values) == best(values[:-most])
