"""Percentiles such as p99 in what CloudWatch answers; moto's own knows none, and fails on them.

Runs in the stand-in account's server. Changes moto's functions in place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from moto.cloudwatch.models import CloudWatchBackend, Statistics

from local_account.cloudwatch.alarm_evaluation import statistic_of
from local_account.cloudwatch.alarm_queries import sample_of

_PERCENTILE = re.compile(r"p\d{1,2}(\.\d+)?|p100")


def install() -> None:
    """Let GetMetricData know percentiles; a period without one has no value, as on AWS."""
    known: Callable[..., Any] = getattr(
        Statistics.get_statistics_for_type, "original", Statistics.get_statistics_for_type
    )
    get: Callable[..., Any] = getattr(CloudWatchBackend.get_metric_data, "original", CloudWatchBackend.get_metric_data)

    def get_statistics_for_type(statistics: Statistics, stat: str) -> Any:
        if not _PERCENTILE.fullmatch(stat):
            return known(statistics, stat)
        return statistic_of([sample_of(datum) for datum in statistics.metric_data], stat)

    def get_metric_data(backend: CloudWatchBackend, *arguments: Any, **named: Any) -> Any:
        results = get(backend, *arguments, **named)
        for result in results:
            pairs = zip(result["timestamps"], result["values"], strict=True)
            there = [(timestamp, value) for timestamp, value in pairs if value is not None]
            result["timestamps"], result["values"] = [pair[0] for pair in there], [pair[1] for pair in there]
        return results

    get_statistics_for_type.original = known  # type: ignore[attr-defined]  # for another account in this process
    get_metric_data.original = get  # type: ignore[attr-defined]  # as above
    Statistics.get_statistics_for_type = get_statistics_for_type
    CloudWatchBackend.get_metric_data = get_metric_data
