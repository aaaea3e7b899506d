"""Metric filters: what is kept of them, and the values that they find in events as these arrive.

Runs in the server process. Authority: CloudWatch Logs API, PutMetricFilter and MetricTransformation; User Guide,
Creating metrics from log events using filters. A filter's default value is told once in a minute in which events
arrived and none matched before.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NotRequired, TypedDict

from local_account.cloudwatch.telemetry import MetricValue
from local_account.logs.filter_patterns import MatchedEvent
from local_account.logs.matching import kept_matcher

FILTERS_LIMIT = 100  # of a group
MINUTE_MS = 60_000


class LogEvent(TypedDict):
    """An event as PutLogEvents has it; ``timestamp`` in milliseconds since 1970."""

    timestamp: int
    message: str


class Transformation(TypedDict):
    """How a matching event becomes a value."""

    metricName: str
    metricNamespace: str
    metricValue: str
    defaultValue: NotRequired[float]
    unit: NotRequired[str]
    dimensions: NotRequired[dict[str, str]]


class MetricFilter(TypedDict):
    """A filter as DescribeMetricFilters tells it."""

    filterName: str
    filterPattern: str
    logGroupName: str
    metricTransformations: list[Transformation]
    creationTime: NotRequired[int]
    applyOnTransformedLogs: NotRequired[bool]


def described(kept: MetricFilter) -> MetricFilter:
    """With what an older account did not keep."""
    return {"applyOnTransformedLogs": False, "creationTime": 0, **kept}


def made(name: str, pattern: str, group: str, transformations: list[Transformation]) -> MetricFilter:
    """A filter of now."""
    return {
        "filterName": name,
        "filterPattern": pattern,
        "logGroupName": group,
        "metricTransformations": transformations,
        "creationTime": int(time.time() * 1000),
        "applyOnTransformedLogs": False,
    }


class FilteredMetrics:
    """Finds values in events; knows in which minute it told a filter's default value last."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], int] = {}

    def values(self, filters: Iterable[MetricFilter], events: Sequence[LogEvent]) -> Iterator[MetricValue]:
        """The values of all filters of one group in events that arrived together."""
        for each in filters:
            match = kept_matcher(each["filterPattern"])
            matches = [(event["timestamp"], match(event["message"])) for event in events]
            matched = [(at, found) for at, found in matches if found is not None]
            for transformation in each["metricTransformations"]:
                for at, found in matched:
                    value = _value(transformation["metricValue"], found)
                    if value is not None:
                        yield _metric(transformation, value, at, _dimensions(transformation, found))
            yield from self._default(each, [at for at, _ in matched], events)

    def _default(self, of: MetricFilter, matched: Sequence[int], events: Sequence[LogEvent]) -> Iterator[MetricValue]:
        latest = max(matched or (event["timestamp"] for event in events))
        key, minute = (of["logGroupName"], of["filterName"]), latest // MINUTE_MS
        told = self._told.get(key) == minute
        self._told[key] = minute
        if matched or told:
            return
        for transformation in of["metricTransformations"]:
            default = transformation.get("defaultValue")
            if default is not None:
                yield _metric(transformation, float(default), latest, {})


def _metric(of: Transformation, value: float, at: int, dimensions: Mapping[str, str]) -> MetricValue:
    moment = datetime.fromtimestamp(at / 1000, UTC).replace(tzinfo=None)
    return MetricValue(of["metricNamespace"], of["metricName"], value, of.get("unit", "None"), dimensions, moment)


def _value(written: str, found: MatchedEvent) -> float | None:
    """A literal, or what a field says; None where that is no number."""
    given = found.value(written) if written.startswith("$") else written
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    try:
        value = float(given)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _dimensions(of: Transformation, found: MatchedEvent) -> dict[str, str]:
    """Those whose fields the event has."""
    values = {name: found.value(selector) for name, selector in of.get("dimensions", {}).items()}
    return {name: str(value) for name, value in values.items() if value is not None}
