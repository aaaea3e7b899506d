"""What drift is looked for in: channels of the captured traffic, each seen from one or more views in [0, 1].

Runs in the monitoring container. Values in, values out; it touches no files.

| family | channel | views |
| --- | --- | --- |
| predictions | confidence | the confidence, and whether it lies below each of five quantiles of the reference |
| predictions | below threshold | whether the prediction does not pass |
| predictions | class share | for each class, whether it was predicted: see `SHARE_ODDS`, and by hour of day |
| images | each image statistic | its rank within the reference, and whether it lies in one of the reference's tails; |
| | | for the distance to the training images, how far beyond the reference's tail, and whether beyond all of it |
| capture | parse errors | whether a captured line could not be used |
| capture | capture gap | whether a request was not captured, by the endpoint's own count of requests |

Each family alarms on its own, since each asks for something else: predictions for retraining, images for a person who
looks at the camera, capture for a person who looks at the endpoint.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitoring.drift.binomial import largest_share
from monitoring.drift.detector import Bounds, Floats, Integers, growths
from monitoring.store.novelty import NOVELTY

FAMILIES = ("predictions", "images", "capture")
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
TAIL = 0.05
# A distance this many times as far above the reference's tail as that is above its median counts in full. Kinds that a
# model never saw are far away, few though they be: how far counts for more than how many. 3 and 4 are slower, with
# smaller ones more healthy baselines of 100 images mislead (benchmarks.monitoring.months and .new_vehicle).
FULL_EXCESS = 2.0
# The chance that a bound of a baseline's tail is wrong. There are dozens of them: as seldom as three standard errors
# (0.00135), 3.5 % of healthy months had a false alarm, with this 2.7 % (benchmarks.monitoring.months).
_WRONG_BOUND = 0.0002
# How far the mix of production may be from the baseline's before anything is known of it: the odds of a class may be so
# many times larger or smaller. From a half that is 29 % to 71 %, from 42 % 22 % to 64 %, from 1 % 0.4 % to 2.5 %.
SHARE_ODDS = 2.5
HOURS_OF_DAY = 24
Limit = Floats | float
# A line in a thousand that cannot be used, a request in fifty that is not captured, are no reason to wake somebody.
PARSE_ERRORS = Bounds(0.0, 0.001)
CAPTURE_GAP = Bounds(0.0, 0.02)


@dataclass(frozen=True)
class Predictions:
    """Captured predictions as columns, `[n]` each, in the order of time."""

    hour: Integers
    """Whole hours since 1970 in UTC."""
    confidence: Floats
    predicted: Integers
    """Index of the class."""
    passes: npt.NDArray[np.bool_]
    statistics: Mapping[str, Floats]
    """Image statistics by name; NaN where the image was not captured."""

    def __len__(self) -> int:
        return len(self.hour)

    def at(self, rows: npt.NDArray[np.bool_] | Integers) -> Predictions:
        """Some of the rows."""
        return Predictions(
            self.hour[rows],
            self.confidence[rows],
            self.predicted[rows],
            self.passes[rows],
            {name: values[rows] for name, values in self.statistics.items()},
        )


@dataclass(frozen=True)
class Reference:
    """The healthy predictions that traffic is held against."""

    classes: tuple[str, ...]
    confidence: Floats
    """Sorted."""
    bounds: Mapping[str, tuple[Bounds, ...]]
    """By channel, a pair for each view."""
    statistics: Mapping[str, Floats]
    """Sorted values of each image statistic."""
    class_bounds: tuple[tuple[Bounds, ...], ...] | None = None
    """Bounds of each class's share for each hour of day, `[24][classes]`; None until traffic has shown them."""


def reference(
    healthy: Predictions, classes: Sequence[str], *, tolerance: float = 0.0, rhythm: Predictions | None = None
) -> Reference:
    """From predictions known to be healthy; the daily rhythm of class shares is learned from ``rhythm``, their traffic.

    ``tolerance`` is the smallest change of a mean that shall count. Raises ValueError for fewer than two predictions.
    """
    if len(healthy) < 2:
        raise ValueError(f"expected at least 2 healthy predictions as the reference, got {len(healthy)}")
    sorted_statistics = {
        name: np.sort(values[np.isfinite(values)])
        for name, values in healthy.statistics.items()
        if np.isfinite(values).sum() >= 2
    }
    unbounded = Reference(tuple(classes), np.sort(healthy.confidence), {}, sorted_statistics)
    views = _prediction_views(healthy, unbounded) | _image_views(healthy, unbounded)
    bounds = {
        channel: tuple(
            _share_bounds(values) if channel == "class share" else _bounds_of(values, tolerance) for values in columns
        )
        for channel, columns in views.items()
    }
    for name in sorted_statistics:
        at = len(views[name]) - (3 if name == NOVELTY else 2)
        tails = tuple(_tail_bounds(values) for values in views[name][at : at + 2])
        bounds[name] = (*bounds[name][:at], *tails, *bounds[name][at + 2 :])
    if NOVELTY in bounds:
        bounds[NOVELTY] = (*bounds[NOVELTY][:-1], _beyond(len(sorted_statistics[NOVELTY])))
    by_hour = None if rhythm is None else _class_bounds(rhythm, len(views["class share"]), tolerance)
    return dataclasses.replace(unbounded, bounds=bounds, class_bounds=by_hour)


def channels_of(reference: Reference) -> dict[str, tuple[str, ...]]:
    """Names of the channels by family."""
    return {
        "predictions": ("confidence", "below threshold", "class share"),
        "images": tuple(sorted(reference.statistics)),
        "capture": ("parse errors", "capture gap"),
    }


def hourly_growths(predictions: Predictions, reference: Reference, hours: Integers) -> dict[str, Floats]:
    """For each channel of predictions and images `[len(hours), detectors]`; zeros where nothing was captured.

    ``hours`` are consecutive whole hours; predictions outside them do not count.
    """
    inside = predictions.at((predictions.hour >= hours[0]) & (predictions.hour <= hours[-1]))
    starts = np.append(np.searchsorted(inside.hour, hours), len(inside)).astype(np.int64)
    views = _prediction_views(inside, reference) | _image_views(inside, reference)
    found = {}
    for channel, columns in views.items():
        limits = _limits(channel, inside, reference)
        each = [growths(values, *pair, starts) for values, pair in zip(itertools.cycle(columns), limits, strict=False)]
        found[channel] = np.concatenate(each, axis=1)
    return found


def counted_growths(bad: Integers, total: Integers, bounds: Bounds) -> Floats:
    """For counts of an hour, such as 3 of 100 lines that cannot be used: `[hours, detectors]`."""
    wrong = np.minimum(bad, total)
    values = np.repeat(np.tile([1.0, 0.0], len(total)), np.stack([wrong, total - wrong], axis=1).ravel())
    return growths(values, bounds.lower, bounds.upper, np.append(0, total.cumsum()).astype(np.int64))


def _limits(channel: str, predictions: Predictions, reference: Reference) -> list[tuple[Limit, Limit]]:
    """Lower and upper bound of each view, for all predictions or for each; the class shares' may come twice."""
    stated: list[tuple[Limit, Limit]] = [(bounds.lower, bounds.upper) for bounds in reference.bounds[channel]]
    if channel != "class share" or reference.class_bounds is None:
        return stated
    table = np.array([[(b.lower, b.upper) for b in row] for row in reference.class_bounds])
    found = table[predictions.hour % HOURS_OF_DAY]
    return stated + [(found[:, index, 0], found[:, index, 1]) for index in range(found.shape[1])]


def _prediction_views(predictions: Predictions, reference: Reference) -> dict[str, list[Floats]]:
    confidence = predictions.confidence
    classes = range(1 if len(reference.classes) == 2 else len(reference.classes))
    return {
        "confidence": [
            confidence,
            *((confidence < q).astype(np.float64) for q in np.quantile(reference.confidence, QUANTILES)),
        ],
        "below threshold": [(~predictions.passes).astype(np.float64)],
        "class share": [(predictions.predicted == index).astype(np.float64) for index in classes],
    }


def _image_views(predictions: Predictions, reference: Reference) -> dict[str, list[Floats]]:
    views = {}
    for name, values in reference.statistics.items():
        rank = ranks(predictions.statistics.get(name, np.full(len(predictions), np.nan)), values)
        parts = [rank < TAIL, rank > 1.0 - TAIL, *([rank == 1.0] if name == NOVELTY else [])]
        views[name] = [rank, *(np.where(np.isnan(rank), np.nan, inside) for inside in parts)]
    if NOVELTY in views:
        distance = predictions.statistics.get(NOVELTY, np.full(len(predictions), np.nan))
        views[NOVELTY].insert(1, excess(distance, reference.statistics[NOVELTY]))
    return views


def excess(values: Floats, reference: Floats) -> Floats:
    """How far values lie above the upper tail of the sorted reference, 0 to 1; NaN where one is missing."""
    middle, tail = np.quantile(reference, [0.5, 1.0 - TAIL])
    found: Floats = np.clip((values - tail) / max(FULL_EXCESS * (tail - middle), np.finfo(np.float64).tiny), 0.0, 1.0)
    return found


def ranks(values: Floats, reference: Floats) -> Floats:
    """Share of the sorted reference below each value, ties counted half: 0.5 on average for the reference itself."""
    below = np.searchsorted(reference, values, side="left")
    up_to = np.searchsorted(reference, values, side="right")
    return np.where(np.isnan(values), np.nan, (below + up_to) / (2.0 * len(reference)))


def _share_bounds(predicted: Floats) -> Bounds:
    """What a class's share may be before its traffic is known: its odds times or divided by SHARE_ODDS, at least."""
    share = (float(predicted.sum()) + 1.0) / (len(predicted) + 2.0)
    odds = share / (1.0 - share)
    by_error = _bounds_of(predicted, 0.0)
    low, high = (each / (1.0 + each) for each in (odds / SHARE_ODDS, odds * SHARE_ODDS))
    return Bounds(min(low, by_error.lower), max(high, by_error.upper))


def _tail_bounds(inside: Floats) -> Bounds:
    """The share of healthy images that lie where a few of the reference do, exactly (Clopper and Pearson, 1934).

    Three standard errors are too few here: of baselines of 100 images, one in a hundred had twice as many beyond.
    """
    known = inside[np.isfinite(inside)]
    here, rest = int(known.sum()), len(known) - int(known.sum())
    return Bounds(1.0 - largest_share(rest, here + rest, _WRONG_BOUND), largest_share(here, here + rest, _WRONG_BOUND))


def _beyond(count: int) -> Bounds:
    """The share of healthy images that are further than the furthest of so many: (1 - share)^count is its chance."""
    return Bounds(0.0, 1.0 - _WRONG_BOUND ** (1.0 / count))


def _bounds_of(values: Floats, tolerance: float) -> Bounds:
    known = values[np.isfinite(values)]
    return _bounds(float(known.mean()), float(known.var()), len(known), tolerance)


def _bounds(mean: float, variance: float, count: int, tolerance: float) -> Bounds:
    """A share of exactly 0 or 1 among few has an error too: one more of either kind is assumed (Laplace)."""
    smallest = 1.0 / (count + 2)
    spread = max(variance, smallest * (1.0 - smallest))
    return Bounds.around(mean, float(np.sqrt(spread / count)), tolerance)


def _class_bounds(rhythm: Predictions, classes: int, tolerance: float) -> tuple[tuple[Bounds, ...], ...]:
    """Shares by hour of day: a daily wave and its first harmonic, fitted to the healthy traffic.

    Five coefficients rather than 24 shares, whose own errors would hide most changes.
    """
    design = _wave(rhythm.hour % HOURS_OF_DAY)
    inverse = np.linalg.pinv(design.T @ design)
    day = _wave(np.arange(HOURS_OF_DAY))
    leverage = np.einsum("hi,ij,hj->h", day, inverse, day)
    table = []
    for index in range(classes):
        seen = (rhythm.predicted == index).astype(np.float64)
        shares = np.clip(day @ (inverse @ (design.T @ seen)), 0.0, 1.0)
        variance = shares * (1.0 - shares)
        table.append(
            [_bounds(s, v, max(1, round(1 / h)), tolerance) for s, v, h in zip(shares, variance, leverage, strict=True)]
        )
    return tuple(zip(*table, strict=True))


def _wave(hour: Integers) -> Floats:
    angle = 2.0 * np.pi * hour / HOURS_OF_DAY
    return np.stack([np.ones(len(hour)), np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)], axis=1)
