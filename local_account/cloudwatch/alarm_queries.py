"""What an alarm looks at: one metric, or the queries of a metric math expression, and their values in moto's data.

Runs in the server process. Refuses, when an alarm is made, what the account would not evaluate.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from moto.cloudwatch.exceptions import InvalidParameterValue, ValidationError
from moto.cloudwatch.models import (
    Alarm,
    CloudWatchBackend,
    Dimension,
    MetricDataQuery,
    MetricDatumBase,
)

from local_account.cloudwatch.alarm_evaluation import COMPARISONS, EXTRA_PERIODS, AlarmRule, Sample, periods, statistics
from local_account.cloudwatch.alarm_math import Expression, MathError, Series
from local_account.cloudwatch.samples import samples_of

if TYPE_CHECKING:
    from types_boto3_cloudwatch.type_defs import (
        DimensionTypeDef,
        MetricDataQueryUnionTypeDef,
        PutMetricAlarmInputTypeDef,
    )

_STATISTIC = re.compile(r"SampleCount|Sum|Average|Minimum|Maximum|p(\d{1,2}(\.\d+)?|100)")
_SHORT_PERIODS_S = (10, 20, 30)
Dimensions = tuple[tuple[str, str], ...]
Key = tuple[str, str, Dimensions]  # namespace, name, dimensions


@dataclass(frozen=True)
class Query:
    """A metric's statistic, or an expression over other queries; one of them is ``returned``."""

    name: str
    returned: bool
    period_s: int = 60
    namespace: str = ""
    metric_name: str = ""
    dimensions: Dimensions = ()
    statistic: str = ""
    unit: str | None = None
    expression: Expression | None = None

    @property
    def key(self) -> Key:
        """What a datum has to name to be of this metric."""
        return self.namespace, self.metric_name, self.dimensions


def queries_of(alarm: Alarm) -> list[Query]:
    """The alarm's queries; that of an alarm on one metric is called m1."""
    if alarm.metric_data_queries:
        return _read(alarm.metric_data_queries)
    statistic = alarm.statistic or alarm.extended_statistic or ""
    dimensions = _dimensions(alarm.dimensions)
    return [Query("m1", True, int(alarm.period), alarm.namespace, alarm.metric_name, dimensions, statistic, alarm.unit)]


def _read(queries: Iterable[MetricDataQuery]) -> list[Query]:
    return [_query(q) for q in queries]


def _query(query: MetricDataQuery) -> Query:
    returned = str(query.return_data).lower() != "false"
    if query.metric_stat is None:
        return Query(query.id, returned, expression=_parsed(query.expression or ""))
    of, metric = query.metric_stat, query.metric_stat.metric
    dimensions = _dimensions(metric.dimensions)
    return Query(query.id, returned, int(of.period), metric.namespace, metric.metric_name, dimensions, of.stat, of.unit)


def _asked(query: MetricDataQueryUnionTypeDef) -> Query:
    """A query as PutMetricAlarm has it; raises MathError for an expression that cannot be read."""
    returned = query.get("ReturnData", True)
    if "MetricStat" not in query:
        return Query(query["Id"], returned, expression=_parsed(query["Expression"]))
    of, metric = query["MetricStat"], query["MetricStat"]["Metric"]
    dimensions = tuple(sorted(_pair(d) for d in metric.get("Dimensions", ())))
    names = metric.get("Namespace", ""), metric.get("MetricName", "")
    return Query(query["Id"], returned, of["Period"], *names, dimensions, of["Stat"], of.get("Unit"))


def _pair(dimension: DimensionTypeDef) -> tuple[str, str]:
    return dimension["Name"], dimension["Value"]


@functools.lru_cache(256)
def _parsed(text: str) -> Expression:
    return Expression(text)


def _dimensions(dimensions: Iterable[Dimension]) -> Dimensions:
    return tuple(sorted((d.name or "", d.value or "") for d in dimensions))


def rule_of(alarm: Alarm) -> AlarmRule:
    """What an alarm compares with what."""
    first = next(q for q in queries_of(alarm) if q.expression is None)
    return AlarmRule(
        comparison=alarm.comparison_operator,
        threshold=float(alarm.threshold),
        statistic=first.statistic,
        period_s=first.period_s,
        evaluation_periods=int(alarm.evaluation_periods),
        datapoints_to_alarm=int(alarm.datapoints_to_alarm or alarm.evaluation_periods),
        missing=alarm.treat_missing_data or "missing",
        m_of_n=bool(alarm.datapoints_to_alarm),
    )


def check(request: PutMetricAlarmInputTypeDef) -> None:
    """Refuse an alarm that nothing here would evaluate; raises moto's ValidationError."""
    name, comparison = request["AlarmName"], request.get("ComparisonOperator")
    if comparison not in COMPARISONS:
        raise ValidationError(f"The stand-in account does not evaluate {comparison}, only {', '.join(COMPARISONS)}.")
    if request.get("Threshold") is None:
        raise ValidationError(f"Alarm {name} needs a Threshold.")
    if queries := request.get("Metrics"):
        _check_math(name, queries)
        return
    _check_period(request.get("Period"))
    statistic = request.get("Statistic") or request.get("ExtendedStatistic")
    if not statistic:
        raise ValidationError(f"Alarm {name} needs a Statistic or an ExtendedStatistic.")
    _check_statistic(name, statistic)


def _check_period(period: int | None) -> None:
    if period is None or not (period in _SHORT_PERIODS_S or (period > 0 and period % 60 == 0)):
        raise ValidationError("Period must be 10, 20, 30 or a multiple of 60")


def check_statistics(names: Iterable[str]) -> None:
    """Refuse statistics that are no percentiles; raises moto's InvalidParameterValue."""
    for name in names:
        if not _STATISTIC.fullmatch(name) or not name.startswith("p"):
            raise InvalidParameterValue(
                f"The stand-in account knows percentiles such as p99 as extended statistics, not {name}."
            )


def _check_statistic(name: str, statistic: str) -> None:
    if not _STATISTIC.fullmatch(statistic):
        raise ValidationError(
            f"The stand-in account does not evaluate the statistic {statistic} of alarm {name}: it knows SampleCount, "
            "Sum, Average, Minimum, Maximum and percentiles such as p99."
        )


def _check_math(name: str, given: Sequence[MetricDataQueryUnionTypeDef]) -> None:
    if any("Expression" not in q and "MetricStat" not in q for q in given):
        raise ValidationError(f"Each query of alarm {name} needs a MetricStat or an Expression.")
    try:
        queries = [_asked(query) for query in given]
    except MathError as error:
        raise ValidationError(str(error)) from error
    if sum(q.returned for q in queries) != 1:
        raise ValidationError(f"Exactly one query of alarm {name} must have ReturnData true.")
    metrics = [query for query in queries if query.expression is None]
    if not metrics:
        raise ValidationError(f"The metric math of alarm {name} names no metric.")
    for query in metrics:
        _check_statistic(name, query.statistic)
        _check_period(query.period_s)
    if len({q.period_s for q in metrics}) > 1:
        raise ValidationError(f"The stand-in account evaluates metrics of one period, alarm {name} has several.")
    _check_names(name, queries)


def _check_names(name: str, queries: Sequence[Query]) -> None:
    """An expression knows all metrics, and the expressions that stand before it."""
    known = {query.name for query in queries if query.expression is None}
    for query in queries:
        if query.expression is None:
            continue
        if missing := query.expression.names - known:
            raise ValidationError(
                f"The expression {query.expression.text!r} of alarm {name} refers to {', '.join(sorted(missing))}: "
                "no metric, and no expression that stands before it."
            )
        known.add(query.name)


class AlarmData:
    """The data of the metrics that alarms look at, kept beside moto's list so that it is not searched each time."""

    def __init__(self) -> None:
        self._found: dict[Key, list[tuple[str | None, Sample]]] = {}
        self._source: list[MetricDatumBase] | None = None
        self._read = 0

    def read(self, backend: CloudWatchBackend, alarms: Iterable[Alarm]) -> None:
        """Take in what has arrived since the last call."""
        wanted = {q.key for alarm in alarms for q in queries_of(alarm) if q.expression is None}
        data = backend.metric_data
        if data is not self._source or len(data) < self._read or wanted - self._found.keys():
            self._found, self._source, self._read = {key: [] for key in wanted}, data, 0
        new = data[self._read :]
        self._read += len(new)
        for datum in new:
            found = self._found.get((datum.namespace, datum.name, _dimensions(datum.dimensions)))
            if found is not None:
                found += [(datum.unit, sample) for sample in samples_of(datum)]

    def values(self, alarm: Alarm, rule: AlarmRule, now: datetime) -> list[float | None]:
        """What the alarm compares, for each of its periods, newest first."""
        series: dict[str, Series] = {}
        queries = queries_of(alarm)
        metrics = [q.name for q in queries if q.expression is None]
        for query in sorted(queries, key=lambda q: q.expression is not None):
            if query.expression is None:
                own = replace(rule, statistic=query.statistic)
                series[query.name] = tuple(reversed(statistics(own, self._samples(query, rule, now), now)))
            else:
                series[query.name] = query.expression.over(series, metrics)
        returned = next(q.name for q in queries if q.returned)
        return list(reversed(series[returned]))

    def counts(self, alarm: Alarm, rule: AlarmRule, now: datetime) -> dict[datetime, float]:
        """How many values there were in each period of an alarm on one metric; of metric math nothing is told."""
        (first, *more) = queries_of(alarm)
        if more:
            return {}
        own = replace(rule, statistic="SampleCount")
        found = zip(periods(own, now), statistics(own, self._samples(first, rule, now), now), strict=True)
        return {start: count for (start, _), count in found if count is not None}

    def _samples(self, query: Query, rule: AlarmRule, now: datetime) -> list[Sample]:
        oldest = now - timedelta(seconds=rule.period_s * (rule.evaluation_periods + EXTRA_PERIODS) + 60)
        return [s for unit, s in self._found[query.key] if s.at >= oldest and query.unit in (None, unit)]
