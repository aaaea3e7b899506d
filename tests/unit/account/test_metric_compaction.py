"""Folded metrics say what each of their values said."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from moto.cloudwatch.models import MetricDatum, MetricDatumBase

from local_account.cloudwatch.alarm_evaluation import statistic_of
from local_account.cloudwatch.compaction import RECENT, MetricCompaction
from local_account.cloudwatch.samples import aware, samples_of
from local_account.moto_bridge.state_pickle import dumps, loads

BEGAN = datetime(2026, 3, 1, 12)  # as moto keeps times
STATISTICS = ("Sum", "Average", "Minimum", "Maximum", "SampleCount", "p50", "p99")


def _datum(at: float, name: str, value: float, namespace: str = "AWS/Lambda") -> MetricDatum:
    dimensions = [{"Name": "FunctionName", "Value": "classify"}]
    return MetricDatum(namespace, name, value, dimensions, BEGAN + timedelta(seconds=at), "Count")


def _told(data: Sequence[MetricDatumBase]) -> dict[tuple[str, str, datetime], list[float | None]]:
    """The statistics of each metric in each minute."""
    minutes = defaultdict(list)
    for each in data:
        key = (each.namespace, each.name, each.timestamp.replace(second=0, microsecond=0))
        minutes[key] += samples_of(each)
    return {key: [statistic_of(samples, name) for name in STATISTICS] for key, samples in minutes.items()}


def test_folding_keeps_every_statistic_and_less_data() -> None:
    draw = random.Random(7)
    data: list[MetricDatumBase] = []
    for second in range(600):
        data += [_datum(second, "Invocations", 1), _datum(second, "Errors", float(draw.random() < 0.1))]
        data += [_datum(second, "Duration", draw.uniform(1, 9)), _datum(second, "Depth", 1, "Team")]
    before, compaction = list(data), MetricCompaction()
    for minute in range(20):
        compaction.fold(data, (BEGAN + timedelta(minutes=minute)).replace(tzinfo=UTC))
        assert _told(data) == _told(before)
    assert _told(loads(dumps(data, {}), "here")) == _told(before)
    names = [(each.namespace, each.name) for each in data]
    assert [names.count(("AWS/Lambda", name)) for name in ("Invocations", "Errors", "Duration")] == [10, 10, 10]
    assert names.count(("Team", "Depth")) == 600


def test_what_alarms_look_at_is_left_alone() -> None:
    data: list[MetricDatumBase] = [_datum(second, "Invocations", 1) for second in range(600)]
    end = aware(BEGAN) + timedelta(seconds=600)
    assert MetricCompaction().fold(data, end)
    assert sum(aware(each.timestamp) >= end - RECENT for each in data) == RECENT.total_seconds()
