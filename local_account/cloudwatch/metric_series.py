"""GetMetricData over many values: each is looked at once, whatever number of metrics and periods is asked for.

Runs in the server process. moto goes through all values for each period of each metric, which takes minutes for a day
of traffic. Metric math and Metrics Insights remain moto's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
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
    wanted = [query for query in queries if query.get("ReturnData", True)]
    labels = _labels(wanted)
    return [_result(query, known, start, labels[query["Id"]], backwards=backwards) for query in wanted]


def whole_minute(moment: datetime) -> datetime:
    """The minute from which a request for a time of it is answered (CloudWatch API, "StartTime")."""
    return moment.replace(second=0, microsecond=0)


def _labels(queries: Sequence[SeriesQuery]) -> dict[str, str]:
    """The metric's name, with its statistic where several are asked of metrics of that name."""
    names = Counter(query["MetricStat"]["Metric"]["MetricName"] for query in queries)
    found = {}
    for query in queries:
        name = query["MetricStat"]["Metric"]["MetricName"]
        plain = name if names[name] == 1 else f"{name} {query['MetricStat']['Stat']}"
        found[query["Id"]] = query.get("Label") or plain
    return found


def _result(
    query: SeriesQuery,
    known: Mapping[tuple[str, str], list[MetricDatumBase]],
    start: datetime,
    label: str,
    *,
    backwards: bool,
) -> dict[str, object]:
    asked = query["MetricStat"]
    points = _points(_of(asked, known), asked["Stat"], timedelta(seconds=int(asked["Period"])), start)
    points.sort(key=lambda point: point[0], reverse=backwards)
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
    points = []
    for each in statistics(data, [statistic], period, start):
        found = each.get_statistics_for_type(statistic)
        if found is not None:
            points.append((each.timestamp, found))
    return points


def statistics(
    data: Iterable[MetricDatumBase], names: list[str], period: timedelta, start: datetime
) -> list[Statistics]:
    """The values of each period that has some, as moto computes with them; periods count from ``start``."""
    by_period = defaultdict[int, list[MetricDatumBase]](list)
    for datum in data:
        by_period[(datum.timestamp - start) // period].append(datum)
    found = []
    for number, values in sorted(by_period.items()):
        made = Statistics(names, start + number * period)
        made.metric_data, made.unit = values, values[-1].unit
        found.append(made)
    return found
