"""moto's metric data as samples, which alarms and percentiles compute with."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from moto.cloudwatch.models import MetricAggregatedDatum, MetricDatum, MetricDatumBase

from local_account.cloudwatch.alarm_evaluation import Sample


@runtime_checkable
class PackedSamples(Protocol):
    """A datum that holds many."""

    def samples(self) -> list[Sample]:
        """Return them, unpacked."""


def samples_of(datum: MetricDatumBase) -> list[Sample]:
    """A value, the statistics of several that PutMetricData brought, or the values of a minute."""
    if type(datum) is MetricDatum:  # most are; asking for a protocol first would take ten times as long as all the rest
        return [Sample(aware(datum.timestamp), 1, datum.value, datum.value, datum.value)]
    if isinstance(datum, PackedSamples):
        return datum.samples()
    at = aware(datum.timestamp)
    if isinstance(datum, MetricAggregatedDatum):
        return [Sample(at, datum.sample_count, datum.sum, datum.min, datum.max)]
    value = datum.value if isinstance(datum, MetricDatum) else math.nan  # there is no further kind
    return [Sample(at, 1, value, value, value)]


def aware(timestamp: datetime) -> datetime:
    """A time of moto's, which is in UTC and may not say so."""
    return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
