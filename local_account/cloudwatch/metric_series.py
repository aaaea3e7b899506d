"""GetMetricData over many values: each is looked at once, whatever number of metrics and periods is asked for.

Runs in the server process. moto goes through all values for each period of each metric, which takes minutes for a day
of traffic. Metric math and Metrics Insights remain moto's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NotRequired, SupportsFloat, TypedDict

from moto.cloudwatch.models import MetricDatumBase, Statistics


class AskedDimension(TypedDict):
    """A dimension of a request."""

    Name: str
    Value: str


class AskedMetric(TypedDict):
    """The metric of a request."""

    Namespace: str
    MetricName: str
    Dimensions: NotRequired[list[AskedDimension]]


class AskedStatistic(TypedDict):
    """What is asked of a metric; ``Period`` in seconds."""

    Metric: AskedMetric
    Period: int
    Stat: str
    Unit: NotRequired[str]


class SeriesQuery(TypedDict):
    """A query of GetMetricData without an expression."""

    Id: str
    MetricStat: AskedStatistic
    Label: NotRequired[str]
    ReturnData: NotRequired[bool]


def simple(queries: Sequence[Mapping[str, object]]) -> bool:
    """Whether nothing is to be computed from other queries."""
    return all("MetricStat" in query for query in queries)


def answer(
    queries: Sequence[SeriesQuery], data: Iterable[MetricDatumBase], start: datetime, end: datetime, *, backwards: bool
) -> list[dict[str, object]]:
    """The results of the queries that want some, as moto's backend answers them."""
    names = {(q["MetricStat"]["Metric"]["Namespace"], q["MetricStat"]["Metric"]["MetricName"]) for q in queries}
    known = defaultdict[tuple[str, str], list[MetricDatumBase]](list)
    for datum in data:
        name = (datum.namespace, datum.name)
        if name in names and start <= datum.timestamp < end:
            known[name].append(datum)
    return [_result(q, known, start, backwards=backwards) for q in queries if q.get("ReturnData", True)]


def _result(
    query: SeriesQuery, known: Mapping[tuple[str, str], list[MetricDatumBase]], start: datetime, *, backwards: bool
) -> dict[str, object]:
    asked = query["MetricStat"]
    points = _points(_of(asked, known), asked["Stat"], timedelta(seconds=int(asked["Period"])), start)
    points.sort(key=lambda point: point[0], reverse=backwards)
    label = query.get("Label") or f"{asked['Metric']['MetricName']} {asked['Stat']}"
    times, values = [at for at, _ in points], [value for _, value in points]
    return {"id": query["Id"], "label": label, "values": values, "timestamps": times, "status_code": "Complete"}


def _of(asked: AskedStatistic, known: Mapping[tuple[str, str], list[MetricDatumBase]]) -> list[MetricDatumBase]:
    """A metric is its whole set of dimensions; a request without any is answered of all, as moto does."""
    metric, unit = asked["Metric"], asked.get("Unit")
    wanted = sorted((d["Name"], d["Value"]) for d in metric.get("Dimensions", []))
    found = known.get((metric["Namespace"], metric["MetricName"]), [])
    if wanted:
        found = [datum for datum in found if sorted((str(d.name), str(d.value)) for d in datum.dimensions) == wanted]
    return [datum for datum in found if datum.unit == unit] if unit else found


def _points(
    data: Iterable[MetricDatumBase], statistic: str, period: timedelta, start: datetime
) -> list[tuple[datetime, SupportsFloat]]:
    by_period = defaultdict[int, list[MetricDatumBase]](list)
    for datum in data:
        by_period[(datum.timestamp - start) // period].append(datum)
    points = []
    for number, values in by_period.items():
        statistics = Statistics([statistic], start + number * period)
        statistics.metric_data = values
        found = statistics.get_statistics_for_type(statistic)
        if found is not None:
            points.append((statistics.timestamp, found))
    return points
