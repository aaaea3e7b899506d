"""GetMetricData over many values: each is looked at once, whatever number of metrics and periods is asked for.

Runs in the server process. moto goes through all values for each period of each metric, which takes minutes for a day
of traffic. Metric math and Metrics Insights remain moto's.
"""

from __future__ import annotations

from collections import defaultdict
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
            shown = unit or next(iter(self.units(asked)), None)
            found = (datum for datum in self._of(metric, wanted) if shown == unit_of(datum))
            self._by_period[key] = _periods(found, period, self._start)
        return self._by_period[key]

    def units(self, asked: AskedStatistic) -> list[str]:
        """The units that a metric's values have; the first is shown where a request names none, as on AWS."""
        metric = asked["Metric"]
        wanted = tuple(sorted((d["Name"], d["Value"]) for d in metric.get("Dimensions", [])))
        return sorted({unit_of(datum) for datum in self._of(metric, wanted)})

    def _of(self, metric: AskedMetric, wanted: _Pairs) -> Iterable[MetricDatumBase]:
        """A metric is its whole set of dimensions; a request without any is answered of all, as moto does."""
        known = self._known.get((metric["Namespace"], metric["MetricName"]), {})
        return known.get(wanted, []) if wanted else chain.from_iterable(known.values())


def whole_minute(moment: datetime) -> datetime:
    """The minute from which a request for a time of it is answered (CloudWatch API, "StartTime")."""
    return moment.replace(second=0, microsecond=0)


def unit_of(datum: MetricDatumBase) -> str:
    """The unit of a value; one that came without has None, by this name."""
    return datum.unit or "None"


def _labels(queries: Sequence[SeriesQuery]) -> dict[str, str]:
    """The metric's name, with the statistic and the period by which queries of that name differ."""
    named = defaultdict[str, list[AskedStatistic]](list)
    for query in queries:
        named[query["MetricStat"]["Metric"]["MetricName"]].append(query["MetricStat"])
    return {query["Id"]: query.get("Label") or _label(query["MetricStat"], named) for query in queries}


def _label(asked: AskedStatistic, named: Mapping[str, Sequence[AskedStatistic]]) -> str:
    name = asked["Metric"]["MetricName"]
    statistics, periods = ({one[key] for one in named[name]} for key in ("Stat", "Period"))
    words = [name, *([asked["Stat"]] if len(statistics) > 1 else []), *([asked["Period"]] if len(periods) > 1 else [])]
    return " ".join(map(str, words))


def _result(
    query: SeriesQuery, series: _SeriesData, start: datetime, label: str, *, backwards: bool
) -> dict[str, object]:
    asked = query["MetricStat"]
    points = _points(series.periods(asked), asked["Stat"], timedelta(seconds=int(asked["Period"])), start)
    points.sort(key=lambda point: point[0], reverse=backwards)
    times, values = [at for at, _ in points], [value for _, value in points]
    result: dict[str, object] = {
        "id": query["Id"],
        "label": label,
        "values": values,
        "timestamps": times,
        "status_code": "Complete",
    }
    units = [] if asked.get("Unit") else series.units(asked)
    if len(units) < 2:
        return result
    message = {"Code": "MultipleUnits", "Value": f"Multiple units returned: '[{', '.join(units)}]'"}
    return {**result, "messages": [message]}


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
    """The values of each period and unit that has some, as moto computes with them; periods count from ``start``."""
    by_unit = defaultdict[str, list[MetricDatumBase]](list)
    for datum in data:
        by_unit[unit_of(datum)].append(datum)
    return [
        each
        for _, values in sorted(by_unit.items())
        for each in _statistics(_periods(values, period, start), names, period, start)
    ]


def _periods(data: Iterable[MetricDatumBase], period: timedelta, start: datetime) -> _Periods:
    by_period = defaultdict[int, list[MetricDatumBase]](list)
    for datum in data:
        by_period[(datum.timestamp - start) // period].append(datum)
    return by_period


def _statistics(by_period: _Periods, names: list[str], period: timedelta, start: datetime) -> list[Statistics]:
    found = []
    for number, values in sorted(by_period.items()):
        made = Statistics(names, start + number * period)
        made.metric_data, made.unit = values, unit_of(values[-1])
        found.append(made)
    return found
