"""When has the mean of a stream changed? Sequential e-detectors with a stated false-alarm rate.

Runs in the monitoring container. Values in, values out; it touches no files.

After Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential change detection" (2023): while
the mean of values in [0, 1] lies within `Bounds`, a bet against it multiplies its stake by ``1 + bet * (value -
upper)`` (or ``1 + bet * (lower - value)``), which gains nothing on average whatever else the values do. A
Shiryaev-Roberts detector opens one new bet at every hour and adds up what all of them hold: ``evidence <- growth of
the hour * (evidence + 1)``. On average the evidence is then at most the number of hours, so the chance that it ever
reaches ``hours / rate`` within that many hours is at most ``rate``. An average of such detectors (over sizes of the
bet, directions, several views of the same channel) is such a detector again: nothing is paid for looking at many.

What an hour contributes is one number for each bet, the sum of logarithms: hours can be computed in any order, merged
by addition, kept, and replaced when late records arrive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

HOURS_PER_MONTH = 720
# Shares of the largest bet that cannot lose everything. The best one grows with the change to be found: these reach
# from a few hundredths of a standard deviation to a stream of ones. Five sizes found nothing sooner than these three.
BETS = (0.05, 0.2, 0.6)
# A mean of exactly 0 or 1 cannot be bet against; one in a thousand can.
_NARROWEST = 1e-3


@dataclass(frozen=True)
class Bounds:
    """Where the mean of a healthy stream lies, 0 <= lower <= upper <= 1."""

    lower: float
    upper: float

    @classmethod
    def around(cls, mean: float, margin: float) -> Bounds:
        """A mean, give or take a margin."""
        return cls(max(0.0, mean - margin), min(1.0, mean + margin))


def growths(values: Floats, lower: Floats | float, upper: Floats | float, starts: Integers) -> Floats:
    """The logarithm of what each bet grows by in each hour, `[hours, 2 * len(BETS)]`: first the bets on more.

    ``values`` `[n]` lie in [0, 1], NaN where one is missing; the bounds may be `[n]` too, since they may depend on the
    hour of day. ``starts`` `[hours + 1]` are the positions of each hour's first value and of the end.
    """
    # A sentinel, because reduceat takes no position past the end, and answers an empty range with one value.
    empty = starts[:-1] == starts[1:]
    top = np.clip(upper, _NARROWEST, 1.0)
    bottom = np.clip(1.0 - np.asarray(lower), _NARROWEST, 1.0)
    missing = np.isnan(values)
    more = np.where(missing, 0.0, (values - top) / top)
    less = np.where(missing, 0.0, (1.0 - values - bottom) / bottom)
    found = np.empty((len(empty), 2 * len(BETS)))
    for column, (bet, gain) in enumerate([(bet, gain) for gain in (more, less) for bet in BETS]):
        found[:, column] = np.add.reduceat(np.append(np.log1p(bet * gain), 0.0), starts[:-1])
    found[empty] = 0.0
    return found


@dataclass(frozen=True)
class Alarm:
    """The evidence reached the threshold; all of it is spent, and the detectors begin anew."""

    hour: int
    """Index of the hour."""
    since: int
    """Index of the hour at which the change most likely began."""
    moved: tuple[str, ...]
    """The channels that would have alarmed for all of them."""


@dataclass(frozen=True)
class Evidence:
    """What the detectors of some channels held after each hour, as logarithms `[hours]`."""

    together: Floats
    channels: Mapping[str, Floats]
    alarms: tuple[Alarm, ...]


def watch(growths: Mapping[str, Floats], needed: float) -> Evidence:
    """Run the detectors of some channels over consecutive hours; their average alarms when it reaches ``needed``.

    Each channel is `[hours, detectors]`, rows from `growths` with several views side by side, each as a detector of
    its own; an hour without values is a row of zeros.
    """
    names = list(growths)
    count = len(next(iter(growths.values()))) if names else 0
    widths = [rows.shape[1] for rows in growths.values()]
    starts = np.cumsum([0, *widths[:-1]])
    grown = np.concatenate([np.asarray(rows) for rows in growths.values()], axis=1) if names else np.empty((0, 0))
    counts = np.log(np.array(widths, np.float64))
    held = np.full(grown.shape[1], -np.inf)
    channels = np.empty((len(names), count))
    together = np.empty(count)
    alarms: list[Alarm] = []
    begun = 0
    for hour in range(count):
        held = grown[hour] + np.logaddexp(held, 0.0)
        channels[:, hour] = np.logaddexp.reduceat(held, starts) - counts
        together[hour] = average(channels[:, hour])
        if together[hour] >= needed:
            moved = tuple(name for name, value in zip(names, channels[:, hour], strict=True) if value >= needed)
            since = min(begun + onset(growths[name][begun : hour + 1]) for name in moved)
            alarms.append(Alarm(hour, since, moved))
            held = np.full_like(held, -np.inf)
            begun = hour + 1
    return Evidence(together, dict(zip(names, channels, strict=True)), tuple(alarms))


def fewest(bounds: Sequence[Bounds], needed: float, others: int) -> int:
    """How many values it takes to alarm, when a mean has moved half of the way from its bound to the furthest it can.

    ``bounds`` are those of the views of one channel, of which the best one counts; ``others`` are the channels that it
    is averaged with. With fewer values, nothing that is said of them is a judgement.
    """
    edges = [edge for each in bounds for edge in (each.upper, 1.0 - each.lower)]
    best = max(_expected_growth(float(np.clip(edge, _NARROWEST, 1.0))) for edge in edges)
    # All of the other detectors and channels may hold nothing.
    wanted = needed + np.log(len(edges) * len(BETS) * others)
    return int(np.ceil(wanted / max(best, 1e-9)))


def _expected_growth(edge: float) -> float:
    """Of the best bet for each value that is 1 with a chance half of the way from the edge to 1, and else 0."""
    chance = (1.0 + edge) / 2.0
    return max(float(chance * np.log1p(bet * (1.0 - edge) / edge) + (1.0 - chance) * np.log1p(-bet)) for bet in BETS)


def average(logarithms: Floats) -> float:
    """The logarithm of the average, over the first axis, of what the logarithms stand for."""
    return float(np.logaddexp.reduce(logarithms) - np.log(len(logarithms)))


def threshold(rate: float, horizon_hours: int = HOURS_PER_MONTH) -> float:
    """The logarithm that evidence reaches on a healthy stream with a chance of at most ``rate`` within the horizon."""
    return float(np.log(horizon_hours / rate))


def onset(hours: Floats) -> int:
    """The hour at which the change most likely began: where the bet that has grown most until the last row began.

    Hours without values before it add nothing, hence the last of several such beginnings.
    """
    grown = hours[::-1].cumsum(axis=0).max(axis=1)
    return len(grown) - 1 - int(grown.argmax())
