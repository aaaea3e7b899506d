"""What is kept of the services' own metrics: one object for the values of a minute.

Runs in the server process. Services publish a value a minute on AWS; here each request brings several, and each of them
is an object of moto's. Nothing is lost that a statistic, a percentile included, could tell; data of PutMetricData stays
as it is.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from datetime import datetime, timedelta

from moto.cloudwatch.models import MetricAggregatedDatum, MetricDatumBase

from local_account.base.replacements import extends
from local_account.base.stored import stored
from local_account.cloudwatch.alarm_evaluation import Sample
from local_account.cloudwatch.samples import aware, samples_of

RECENT = timedelta(minutes=5)  # is left alone: alarms of short periods look at it
EVERY = timedelta(minutes=1)


class MetricCompaction:
    """Folds a growing list of data, from its start on, as the time goes on."""

    def __init__(self) -> None:
        self._folded = 0
        self._next: datetime | None = None

    def fold(self, data: list[MetricDatumBase], now: datetime) -> bool:
        """Fold what is older than ``RECENT``; whether the list was changed."""
        if self._next is not None and now < self._next:
            return False
        self._next = now + EVERY
        end = start = min(self._folded, len(data))
        while end < len(data) and aware(data[end].timestamp) < now - RECENT:
            end += 1
        folded = _folded(data[start:end])
        data[start:end] = folded  # one step for other threads, which append
        self._folded = start + len(folded)
        return len(folded) < end - start


@stored
@extends
class MetricMinute(MetricAggregatedDatum):
    """The values of a metric in a minute, and how often each came, packed."""

    def __init__(self, first: MetricDatumBase, samples: Sequence[Sample]) -> None:
        count, total = sum(s.count for s in samples), sum(s.total for s in samples)
        low, high = min(s.low for s in samples), max(s.high for s in samples)
        super().__init__(first.namespace, first.name, low, high, count, total, [], first.timestamp, first.unit)
        self.dimensions = first.dimensions
        self.packed = array("d", [number for s in samples for number in (s.low, s.count)]).tobytes()

    def samples(self) -> list[Sample]:
        """The values as they came, at the time of the first."""
        numbers, at = array("d", self.packed), aware(self.timestamp)
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        return [Sample(at, count, value * count, value, value) for value, count in pairs]


def _folded(data: Sequence[MetricDatumBase]) -> list[MetricDatumBase]:
    minutes: dict[object, list[MetricDatumBase]] = {}
    for datum in data:
        minutes.setdefault(_minute(datum), []).append(datum)
    return [_one(each) if len(each) > 1 else each[0] for each in minutes.values()]


def _minute(datum: MetricDatumBase) -> object:
    """The metric and the minute of a datum; something of its own for one that stays as it is."""
    if not datum.namespace.startswith("AWS/") or any(s.low != s.high for s in samples_of(datum)):
        return id(datum)
    dimensions = tuple((each.name, each.value) for each in datum.dimensions)
    return datum.namespace, datum.name, dimensions, datum.unit, datum.timestamp.replace(second=0, microsecond=0)


def _one(data: Sequence[MetricDatumBase]) -> MetricMinute:
    return MetricMinute(data[0], [sample for datum in data for sample in samples_of(datum)])
