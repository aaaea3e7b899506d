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

from monitoring.drift.bounds import mean_bounds, normal_quantile, rank_bounds, share_bounds
from monitoring.drift.detector import Bounds, Floats, Integers, growths
from monitoring.store.novelty import NOVELTY

FAMILIES = ("predictions", "images", "capture")
_PREDICTION_CHANNELS = ("confidence", "below threshold", "class share")
# The chance of a false alarm in a month of healthy traffic, over all families together, and how they share it: the
# changes that predictions show are the smallest.
RATE_PER_MONTH = 0.025
SHARES = {"predictions": 0.55, "images": 0.35, "capture": 0.1}
# Of a family's share, the part for bounds that its baseline gets wrong; the rest is for evidence that chance alone
# brings together. The bounds of `capture` are stated, and never wrong.
WRONG_BOUNDS = {"predictions": 0.5, "images": 0.6, "capture": 0.0}
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
TAIL = 0.05
# A distance this many times as far above the reference's tail as that is above its median counts in full. Kinds that a
# model never saw are far away, few though they be: how far counts for more than how many. 3 and 4 are slower, with
# smaller ones more healthy baselines of 100 images mislead (benchmarks.monitoring.months and .new_vehicle).
FULL_EXCESS = 2.0
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


def reference(healthy: Predictions, classes: Sequence[str], *, rhythm: Predictions | None = None) -> Reference:
    """From predictions known to be healthy; the daily rhythm of class shares is learned from ``rhythm``, their traffic.

    Raises ValueError for fewer than two predictions.
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
    errors = _errors(tuple(sorted_statistics))
    bounds = {channel: _channel_bounds(channel, columns, errors[channel]) for channel, columns in views.items()}
    by_hour = None
    if rhythm is not None:
        by_hour = _class_bounds(rhythm, len(views["class share"]), errors["class share"] / 2)
    return dataclasses.replace(unbounded, bounds=bounds, class_bounds=by_hour)


def _errors(statistics: Sequence[str]) -> dict[str, float]:
    """By channel the chance that any of its bounds is wrong: a family's is divided among its channels.

    The distance to the training images has half of the images', since it alone sees what a model never saw.
    """
    errors: dict[str, float] = {}
    for family, names in (("predictions", _PREDICTION_CHANNELS), ("images", statistics)):
        whole = RATE_PER_MONTH * SHARES[family] * WRONG_BOUNDS[family]
        weights = np.array([max(1.0, len(names) - 1.0) if name == NOVELTY else 1.0 for name in names])
        errors |= dict(zip(names, (whole * weights / weights.sum()).tolist(), strict=True))
    return errors


def _channel_bounds(channel: str, views: Sequence[Floats], error: float) -> tuple[Bounds, ...]:
    """Bounds of a channel's views, of which any is wrong with the chance ``error`` at most (Bonferroni)."""
    if channel == NOVELTY:  # half of it for how far beyond the tail: nothing is near enough to be less than usual
        ranks_and_tails = [views[0], *views[2:]]
        rank, *shares = _image_bounds(ranks_and_tails, error / 2)
        return (rank, dataclasses.replace(mean_bounds(views[1], error / 2), lower=0.0), *shares)
    each = error / (2 * len(views))
    if channel == "class share":  # half of it for the rhythm
        return tuple(_by_odds(values, share_bounds(values, each / 2)) for values in views)
    if channel == "below threshold":
        return (share_bounds(views[0], each),)
    if channel == "confidence":
        return (mean_bounds(views[0], each), *(share_bounds(values, each) for values in views[1:]))
    return _image_bounds(views, error)


def _image_bounds(views: Sequence[Floats], error: float) -> tuple[Bounds, ...]:
    """Of the rank, and of the shares in tails."""
    each = error / (2 * len(views))
    count = int(np.isfinite(views[0]).sum())
    return (rank_bounds(count, each), *(share_bounds(values, each) for values in views[1:]))


def channels_of(reference: Reference) -> dict[str, tuple[str, ...]]:
    """Names of the channels by family."""
    return {
        "predictions": _PREDICTION_CHANNELS,
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


def _by_odds(predicted: Floats, by_error: Bounds) -> Bounds:
    """What a class's share may be before its traffic is known: its odds times or divided by SHARE_ODDS, at least."""
    share = (float(predicted.sum()) + 1.0) / (len(predicted) + 2.0)
    odds = share / (1.0 - share)
    low, high = (each / (1.0 + each) for each in (odds / SHARE_ODDS, odds * SHARE_ODDS))
    return Bounds(min(low, by_error.lower), max(high, by_error.upper))


def _class_bounds(rhythm: Predictions, classes: int, error: float) -> tuple[tuple[Bounds, ...], ...]:
    """Shares by hour of day: a daily wave and its first harmonic, fitted to the healthy traffic.

    Five coefficients rather than 24 shares, whose own errors would hide most changes. A share of 0 or 1 has an error
    too: one more of either kind is assumed (Laplace).
    """
    design = _wave(rhythm.hour % HOURS_OF_DAY)
    inverse = np.linalg.pinv(design.T @ design)
    day = _wave(np.arange(HOURS_OF_DAY))
    leverage = np.clip(np.einsum("hi,ij,hj->h", day, inverse, day), np.finfo(np.float64).tiny, 1.0)
    smallest = 1.0 / (1.0 / leverage + 2.0)
    errors = normal_quantile(error / (2 * HOURS_OF_DAY * classes)) * np.sqrt(leverage)
    table = []
    for index in range(classes):
        seen = (rhythm.predicted == index).astype(np.float64)
        shares = np.clip(day @ (inverse @ (design.T @ seen)), 0.0, 1.0)
        margins = errors * np.sqrt(np.maximum(shares * (1.0 - shares), smallest * (1.0 - smallest)))
        table.append([Bounds.around(*each) for each in zip(shares.tolist(), margins.tolist(), strict=True)])
    return tuple(zip(*table, strict=True))


def _wave(hour: Integers) -> Floats:
    angle = 2.0 * np.pi * hour / HOURS_OF_DAY
    return np.stack([np.ones(len(hour)), np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)], axis=1)
