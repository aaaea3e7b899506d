"""What is kept of an hour's predictions: counts, sums and histograms that merge into those of any longer time.

Runs in the monitoring container. Values in, values out. Merging is associative and commutative to the last digit,
because sums are kept as whole numbers of 1e-9: hours may be merged in any order and grouping, with the same result.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NotRequired, Protocol, Self, TypedDict, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

BINS = 200
"""Of the histograms of confidence, each 1/200 wide; the last one includes 1."""
UNIT = 1_000_000_000  # sums are whole numbers of 1 / UNIT

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class _Addable(Protocol):
    def __add__(self, other: Self, /) -> Self: ...


Key = TypeVar("Key", int, str)
Sum = TypeVar("Sum", bound=_Addable)


class ThresholdDocument(TypedDict):
    """What the parameter holds: the least confidence, and that of the classes which have one of their own."""

    default: float
    classes: NotRequired[Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The least confidence with which a prediction passes; a class may have one of its own.

    As the parameter has them, whose document is ``{"default": 0.93, "classes": {"bicycle": 0.9}}``.
    """

    default: float
    classes: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of_document(cls, document: ThresholdDocument) -> Thresholds:
        """Raises KeyError, TypeError, ValueError or AttributeError for what is no such document."""
        return cls(
            float(document["default"]), {name: float(value) for name, value in document.get("classes", {}).items()}
        )

    def by_index(self, labels: Sequence[str], count: int) -> Floats:
        """The threshold of each class, in the order of the model's labels; float64 [count]."""
        names = labels or [""] * count
        return np.array([self.classes.get(name, self.default) for name in names], np.float64)


class Moments(msgspec.Struct, frozen=True):
    """Number, sum and sum of squares of values, and how they are distributed over `BINS` bins from 0 to 1."""

    count: int = 0
    total: int = 0
    """Sum in units of 1e-9."""
    squares: int = 0
    """Sum of squares in units of 1e-9."""
    histogram: dict[int, int] = {}
    """Bin to count, without the empty ones, in the order of the bins."""

    @classmethod
    def of(cls, values: Floats) -> Moments:
        """Of values from 0 to 1."""
        bins = np.bincount(bin_of(values), minlength=BINS) if len(values) else np.zeros(BINS, np.int64)
        filled = np.flatnonzero(bins)
        return cls(
            count=len(values),
            total=int(np.rint(values * UNIT).astype(np.int64).sum()),
            squares=int(np.rint(values * values * UNIT).astype(np.int64).sum()),
            histogram=dict(zip(filled.tolist(), bins[filled].tolist(), strict=True)),
        )

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
            _added(self.histogram, other.histogram),
        )

    @property
    def mean(self) -> float | None:
        """The mean, or None of no values."""
        return self.total / UNIT / self.count if self.count else None

    @property
    def variance(self) -> float | None:
        """Of the values themselves (divided by their number); never below 0."""
        if not self.count:
            return None
        return max(0, self.squares * self.count * UNIT - self.total * self.total) / (self.count * UNIT) ** 2

    def bins(self) -> Integers:
        """int64 [BINS]."""
        result = np.zeros(BINS, np.int64)
        result[list(self.histogram)] = list(self.histogram.values())
        return result


class ClassAggregate(msgspec.Struct, frozen=True):
    """The predictions of one class."""

    confidence: Moments = Moments()
    below: int = 0
    """How many lie below the threshold of the class."""

    def __add__(self, other: ClassAggregate) -> ClassAggregate:
        return ClassAggregate(self.confidence + other.confidence, self.below + other.below)


class Aggregate(msgspec.Struct, frozen=True):
    """The records of a stretch of time of one variant."""

    classes: dict[int, ClassAggregate] = {}
    """By index of the predicted class; a class that was never predicted is absent."""
    duplicates: int = 0
    """Lines whose eventId an earlier line of the hour has."""
    malformed: dict[str, int] = {}
    """Lines that cannot be used, by kind."""
    first_us: int | None = None
    """Time of the first record, in microseconds since 1970."""
    last_us: int | None = None

    def __add__(self, other: Aggregate) -> Aggregate:
        return Aggregate(
            _added(self.classes, other.classes),
            self.duplicates + other.duplicates,
            _added(self.malformed, other.malformed),
            _chosen(min, self.first_us, other.first_us),
            _chosen(max, self.last_us, other.last_us),
        )

    @property
    def records(self) -> int:
        """The number of predictions, each event once."""
        return sum(each.confidence.count for each in self.classes.values())

    @property
    def below(self) -> int:
        """How many of them do not pass."""
        return sum(each.below for each in self.classes.values())

    @property
    def confidence(self) -> Moments:
        """Of all classes together."""
        return functools.reduce(Moments.__add__, (each.confidence for each in self.classes.values()), Moments())


def merged(aggregates: Iterable[Aggregate]) -> Aggregate:
    """All of them as one."""
    return functools.reduce(Aggregate.__add__, aggregates, Aggregate())


@dataclass(frozen=True, slots=True)
class Rows:
    """Predictions as columns of one length."""

    predicted: npt.NDArray[np.int32] | npt.NDArray[np.int64]
    confidence: Floats
    times_us: Integers


def aggregate(rows: Rows, thresholds: Floats, duplicates: int, malformed: Mapping[str, int]) -> Aggregate:
    """Of an hour's predictions; ``thresholds`` by class."""
    classes = {}
    for index in np.unique(rows.predicted).tolist():
        values = rows.confidence[rows.predicted == index]
        classes[index] = ClassAggregate(Moments.of(values), int((values < thresholds[index]).sum()))
    return Aggregate(
        classes,
        duplicates,
        dict(sorted(malformed.items())),
        int(rows.times_us.min()) if len(rows.times_us) else None,
        int(rows.times_us.max()) if len(rows.times_us) else None,
    )


def bin_of(values: Floats) -> Integers:
    """The bins of values from 0 to 1. A value on an edge, such as 0.93, belongs to the bin above it."""
    # 0.93 * 200 is 186.00000000000003 but 0.29 * 200 is 57.99999999999999: what lies that near to an edge is on it.
    return np.minimum(np.floor(values * BINS + 1e-9), BINS - 1).astype(np.int64)


def _added(mine: Mapping[Key, Sum], other: Mapping[Key, Sum]) -> dict[Key, Sum]:
    """Both, values of the same key added, in the order of the keys."""
    both = {**mine, **other, **{key: mine[key] + other[key] for key in mine.keys() & other.keys()}}
    return {key: both[key] for key in sorted(both)}


def _chosen(choose: Callable[[list[int]], int], mine: int | None, other: int | None) -> int | None:
    known = [value for value in (mine, other) if value is not None]
    return choose(known) if known else None
