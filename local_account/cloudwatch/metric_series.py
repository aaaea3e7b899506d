"""GetMetricData over many values: each is looked at once, whatever number of metrics and periods is asked for.

Runs in the server process. moto goes through all values for each period of each metric, which takes minutes for a day
of traffic. Metric math and Metrics Insights remain moto's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain
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


_Pairs = tuple[tuple[str, str], ...]
_Periods = Mapping[int, list[MetricDatumBase]]


def simple(queries: Sequence[Mapping[str, object]]) -> bool:
    """Whether nothing is to be computed from other queries."""
    return all("MetricStat" in query for query in queries)


def answer(
    queries: Sequence[SeriesQuery], data: Iterable[MetricDatumBase], start: datetime, end: datetime, *, backwards: bool
) -> list[dict[str, object]]:
    """The results of the queries that want some, as moto's backend answers them."""
    names = {(q["MetricStat"]["Metric"]["Namespace"], q["MetricStat"]["Metric"]["MetricName"]) for q in queries}
    series = _SeriesData(start)
    for datum in data:
        if (datum.namespace, datum.name) in names and start <= datum.timestamp < end:
            series.add(datum)
    wanted = [query for query in queries if query.get("ReturnData", True)]
    labels = _labels(wanted)
    return [_result(query, series, start, labels[query["Id"]], backwards=backwards) for query in wanted]


class _SeriesData:
    """The values of one request by metric; by period once, however many statistics are asked of them."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._known = defaultdict[tuple[str, str], dict[_Pairs, list[MetricDatumBase]]](dict)
        self._pairs: dict[int, _Pairs] = {}
        self._by_period: dict[tuple[str, str, _Pairs, str | None, timedelta], _Periods] = {}

    def add(self, datum: MetricDatumBase) -> None:
        """Keep a value; a metric's values share the list of its dimensions, which is read once."""
        place = id(datum.dimensions)
        pairs = self._pairs.get(place)
        if pairs is None:
            pairs = self._pairs[place] = tuple(sorted((str(d.name), str(d.value)) for d in datum.dimensions))
        self._known[datum.namespace, datum.name].setdefault(pairs, []).append(datum)

    def periods(self, asked: AskedStatistic) -> _Periods:
        """The values of a metric by the number of the period that they are in."""
        metric, unit, period = asked["Metric"], asked.get("Unit"), timedelta(seconds=int(asked["Period"]))
        wanted = tuple(sorted((d["Name"], d["Value"]) for d in metric.get("Dimensions", [])))
        key = (metric["Namespace"], metric["MetricName"], wanted, unit, period)
        if key not in self._by_period:
            found = (datum for datum in self._of(metric, wanted) if not unit or datum.unit == unit)
            self._by_period[key] = _periods(found, period, self._start)
        return self._by_period[key]

    def _of(self, metric: AskedMetric, wanted: _Pairs) -> Iterable[MetricDatumBase]:
        """A metric is its whole set of dimensions; a request without any is answered of all, as moto does."""
        known = self._known.get((metric["Namespace"], metric["MetricName"]), {})
        return known.get(wanted, []) if wanted else chain.from_iterable(known.values())


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
    query: SeriesQuery, series: _SeriesData, start: datetime, label: str, *, backwards: bool
) -> dict[str, object]:
    asked = query["MetricStat"]
    points = _points(series.periods(asked), asked["Stat"], timedelta(seconds=int(asked["Period"])), start)
    points.sort(key=lambda point: point[0], reverse=backwards)
    times, values = [at for at, _ in points], [value for _, value in points]
    return {"id": query["Id"], "label": label, "values": values, "timestamps": times, "status_code": "Complete"}


def _points(
    by_period: _Periods, statistic: str, period: timedelta, start: datetime
) -> list[tuple[datetime, SupportsFloat]]:
    points = []
    for each in _statistics(by_period, [statistic], period, start):
        found = each.get_statistics_for_type(statistic)
        if found is not None:
            points.append((each.timestamp, found))
    return points


def statistics(
    data: Iterable[MetricDatumBase], names: list[str], period: timedelta, start: datetime
) -> list[Statistics]:
    """The values of each period that has some, as moto computes with them; periods count from ``start``."""
    return _statistics(_periods(data, period, start), names, period, start)


def _periods(data: Iterable[MetricDatumBase], period: timedelta, start: datetime) -> _Periods:
    by_period = defaultdict[int, list[MetricDatumBase]](list)
    for datum in data:
        by_period[(datum.timestamp - start) // period].append(datum)
    return by_period


def _statistics(by_period: _Periods, names: list[str], period: timedelta, start: datetime) -> list[Statistics]:
    found = []
    for number, values in sorted(by_period.items()):
        made = Statistics(names, start + number * period)
        made.metric_data, made.unit = values, values[-1].unit
        found.append(made)
    return found
