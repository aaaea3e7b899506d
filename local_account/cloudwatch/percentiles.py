"""Percentiles such as p99 in what CloudWatch answers; moto's own knows none, and fails on them.

Runs in the server process.
"""

from __future__ import annotations

import re
from typing import SupportsFloat

from moto.cloudwatch.models import Statistics

from local_account.base.replacements import replace
from local_account.cloudwatch.alarm_evaluation import statistic_of
from local_account.cloudwatch.samples import samples_of

_PERCENTILE = re.compile(r"p\d{1,2}(\.\d+)?|p100")


def install() -> None:
    """Let GetMetricData know percentiles; `WatchedMetrics` leaves out the periods without one."""
    known = Statistics.get_statistics_for_type

    def get_statistics_for_type(self: Statistics, stat: str) -> SupportsFloat | None:
        if not _PERCENTILE.fullmatch(stat):
            return known(self, stat)
        return statistic_of([sample for datum in self.metric_data for sample in samples_of(datum)], stat)

    replace(
        Statistics,
        "get_statistics_for_type",
        get_statistics_for_type,
        why="GetMetricData answers percentiles, moto only the five plain statistics",
        upstream="102-get-metric-data-percentiles.md",
    )
