"""The stack's dashboard as charts: its definition names the metrics, CloudWatch has the values.

Runs in the console's process. One request asks for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from console.drawing.lines import ChartMark, LineChart, LineSeries
from scones.errors import SconesError
from scones.stage.connection import Connection

if TYPE_CHECKING:
    from types_boto3_cloudwatch.type_defs import DimensionTypeDef, MetricDataQueryTypeDef

MetricLine = list[object]
"""Namespace, name, dimensions in turn, and what is asked of it: as CloudWatch's dashboards have it."""

_AT_ONCE = 500  # GetMetricData


class AxisEnds(msgspec.Struct, frozen=True):
    """The ends of an axis, where the dashboard sets them."""

    min: float | None = None
    max: float | None = None


class WidgetAxes(msgspec.Struct, frozen=True):
    """The left axis, which every line is drawn against."""

    left: AxisEnds = AxisEnds()


class LevelLine(msgspec.Struct, frozen=True):
    """A horizontal annotation."""

    value: float
    label: str = ""


class WidgetNotes(msgspec.Struct, frozen=True):
    """A widget's annotations."""

    horizontal: list[LevelLine] = []


class WidgetProperties(msgspec.Struct, frozen=True, rename={"y_axis": "yAxis"}):
    """What is shown: ``period`` in seconds."""

    title: str = ""
    metrics: list[MetricLine] = []
    period: int = 300
    stat: str = "Average"
    y_axis: WidgetAxes = WidgetAxes()
    annotations: WidgetNotes = WidgetNotes()


class DashboardWidget(msgspec.Struct, frozen=True):
    """One widget of the dashboard."""

    type: str
    properties: WidgetProperties


class DashboardBody(msgspec.Struct, frozen=True):
    """The dashboard's document, as far as it is drawn here."""

    widgets: list[msgspec.Raw] = []


@dataclass(frozen=True)
class WatchedMetric:
    """A line of a chart before it has values."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    statistic: str
    label: str


@dataclass(frozen=True)
class TimeWindow:
    """What is looked at, and how fine: ``period_s`` is a whole number of minutes, as on AWS."""

    start: datetime
    end: datetime
    period_s: int


def widgets(connection: Connection) -> list[WidgetProperties]:
    """Read the definition that the stack deployed. SconesError."""
    name = connection.names.prefix
    body = connection.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"]
    try:
        found = [_widget(raw) for raw in msgspec.json.decode(body, type=DashboardBody).widgets]
    except msgspec.MsgspecError as error:
        raise SconesError(f"dashboard {name} cannot be read ({error}): run `scones deploy`") from error
    return [widget for widget in found if widget is not None]


def _widget(raw: msgspec.Raw) -> WidgetProperties | None:
    """None for those without lines, such as the alarms."""
    try:
        found = msgspec.json.decode(raw, type=DashboardWidget)
    except msgspec.ValidationError:
        return None
    return found.properties if found.type == "metric" and found.properties.metrics else None


def watched(widget: WidgetProperties) -> list[WatchedMetric]:
    """The metrics of a widget."""
    return [_metric(line, widget) for line in widget.metrics]


def _metric(line: MetricLine, widget: WidgetProperties) -> WatchedMetric:
    options = line[-1] if isinstance(line[-1], dict) else {}
    words = [str(word) for word in line if not isinstance(word, dict)]
    dimensions = tuple(zip(words[2::2], words[3::2], strict=False))
    label = str(options.get("label", words[1]))
    return WatchedMetric(words[0], words[1], dimensions, str(options.get("stat", widget.stat)), label)


def charts(
    connection: Connection, shown: Sequence[WidgetProperties], window: TimeWindow, marks: Sequence[ChartMark]
) -> list[LineChart]:
    """Ask for all values at once and draw each widget."""
    metrics = [metric for widget in shown for metric in watched(widget)]
    values = _values(connection, metrics, window)
    drawn = []
    for widget in shown:
        own = watched(widget)
        drawn.append(_chart(widget, [(m, values[m]) for m in own], window, marks))
    return drawn


def _values(
    connection: Connection, metrics: Sequence[WatchedMetric], window: TimeWindow
) -> dict[WatchedMetric, list[tuple[float, float]]]:
    unique = list(dict.fromkeys(metrics))
    found: dict[WatchedMetric, list[tuple[float, float]]] = {metric: [] for metric in unique}
    pages = connection.client("cloudwatch").get_paginator("get_metric_data")
    for first in range(0, len(unique), _AT_ONCE):
        queries = [_query(n, metric, window) for n, metric in enumerate(unique[first : first + _AT_ONCE])]
        asked = pages.paginate(
            MetricDataQueries=queries, StartTime=window.start, EndTime=window.end, ScanBy="TimestampAscending"
        )
        for result in (result for page in asked for result in page["MetricDataResults"]):
            points = zip((at.timestamp() for at in result["Timestamps"]), result["Values"], strict=False)
            found[unique[first + int(result["Id"][1:])]] += points
    return found


def _query(number: int, metric: WatchedMetric, window: TimeWindow) -> MetricDataQueryTypeDef:
    dimensions: list[DimensionTypeDef] = [{"Name": name, "Value": value} for name, value in metric.dimensions]
    return {
        "Id": f"m{number}",
        "MetricStat": {
            "Metric": {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions},
            "Period": window.period_s,
            "Stat": metric.statistic,
        },
    }


def _chart(
    widget: WidgetProperties,
    values: Sequence[tuple[WatchedMetric, list[tuple[float, float]]]],
    window: TimeWindow,
    marks: Sequence[ChartMark],
) -> LineChart:
    counted = {"Sum", "SampleCount"}
    series = [
        LineSeries(metric.label, filled(points, window) if metric.statistic in counted else sorted(points), number)
        for number, (metric, points) in enumerate(values)
        if points
    ]
    axis = widget.y_axis.left
    levels = [(line.value, line.label) for line in widget.annotations.horizontal]
    start, end = window.start.timestamp(), window.end.timestamp()
    return LineChart(widget.title, series, start, end, axis.min or 0.0, axis.max, True, marks, levels)


def filled(points: Sequence[tuple[float, float]], window: TimeWindow) -> list[tuple[float, float | None]]:
    """Counts, with a zero for each period in which nothing was counted: CloudWatch has no point there."""
    if not points:
        return []
    known = dict(points)
    first = min(known)
    steps = int((window.start.timestamp() - first) // window.period_s)
    at = first + (steps + 1) * window.period_s
    found: list[tuple[float, float | None]] = []
    while at <= window.end.timestamp():
        found.append((at, known.get(at, 0.0)))
        at += window.period_s
    return found


def window_of(length: timedelta, now: datetime) -> TimeWindow:
    """About a hundred points, each of one minute at least."""
    period = max(60, round(length.total_seconds() / 100 / 60) * 60)
    # The minute that has begun belongs to it.
    end = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return TimeWindow(end - length, end, period)
