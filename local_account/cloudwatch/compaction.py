"""What is kept of the services' own metrics: values that say the same in a minute become one with a count.

Runs in the server process. Services publish a value a minute on AWS; here each request brings several, most of them a
1 or a 0. Nothing is lost that a statistic, a percentile included, could tell; data of PutMetricData stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from moto.cloudwatch.models import MetricAggregatedDatum, MetricDatum, MetricDatumBase

from local_account.cloudwatch.alarm_queries import aware

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


def _folded(data: Sequence[MetricDatumBase]) -> list[MetricDatumBase]:
    same: dict[object, list[MetricDatumBase]] = {}
    for datum in data:
        same.setdefault(_says(datum), []).append(datum)
    return [_one(values) if len(values) > 1 else values[0] for values in same.values()]


def _says(datum: MetricDatumBase) -> object:
    """What data have in common that can be folded; something of its own for a datum that cannot."""
    if not isinstance(datum, MetricDatum) or not datum.namespace.startswith("AWS/"):
        return id(datum)
    dimensions = tuple((each.name, each.value) for each in datum.dimensions)
    minute = datum.timestamp.replace(second=0, microsecond=0)
    return datum.namespace, datum.name, dimensions, datum.unit, datum.value, minute


def _one(values: Sequence[MetricDatumBase]) -> MetricDatumBase:
    first = values[0]
    assert isinstance(first, MetricDatum)  # noqa: S101  # `_says` sees to it
    value, count = first.value, len(values)
    one = MetricAggregatedDatum(
        first.namespace, first.name, value, value, count, value * count, [], first.timestamp, first.unit
    )
    one.dimensions = first.dimensions
    return one
