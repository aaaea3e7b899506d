"""The metrics and alarms that moto keeps, in the account's time, and whom they tell of what has changed.

Runs in the server process. A metric is its whole set of dimensions, and a period without a value has none, as on AWS.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from moto.cloudwatch import urls
from moto.cloudwatch.models import (
    Alarm,
    CloudWatchBackend,
    Dimension,
    MetricDatum,
    Statistics,
    cloudwatch_backends,
)

from local_account.account import Account
from local_account.base import clock
from local_account.base.replacements import answered_by, extends, use_backend
from local_account.cloudwatch import metric_series
from local_account.cloudwatch.alarm_actions import StateChange
from local_account.cloudwatch.alarms.composite import composite_changes, refuse_while_used
from local_account.cloudwatch.alarms.history import KEPT, HistoryItem, configuration_item, state_item

if TYPE_CHECKING:
    from local_account.base.replacements import Handlers
    from local_account.cloudwatch.metric_series import SeriesQuery
    from local_account.cloudwatch.telemetry import MetricValue

_COMPOSITES = threading.RLock()  # a change of several alarms settles each composite alarm once


class Listener(Protocol):
    """Who is told: the thread that evaluates alarms."""

    def data_arrived(self) -> None:
        """Metrics have new values, or an alarm is new."""

    def changed(self, alarm: Alarm, before: StateChange, after: StateChange) -> None:
        """An alarm has another state."""


def install(listener: Listener, answers: type) -> None:
    """Called once, before the first request. ``answers``: the class whose methods answer."""
    WatchedMetrics.listener, WatchedMetrics.answers = listener, answers
    use_backend(cloudwatch_backends, WatchedMetrics)


def watched_metrics(account: Account) -> WatchedMetrics:
    """The account's metrics and alarms."""
    backend = cloudwatch_backends[account.account_id][account.region]
    assert isinstance(backend, WatchedMetrics)  # noqa: S101  # `install` has seen to it
    return backend


@extends
class WatchedMetrics(CloudWatchBackend):
    """moto's metrics and alarms; tells its listener of data and of changes of state."""

    listener: ClassVar[Listener]
    answers: ClassVar[type]

    @property
    def url_paths(self) -> Handlers:
        """What answers which address."""
        return answered_by(self.answers, urls.url_paths)

    def put_metric_data(self, namespace: str, metric_data: list[dict[str, object]]) -> None:
        """PutMetricData: values without a time are of now."""
        for number, datum in enumerate(metric_data, 1):
            self._validate_parameters_put_metric_data(datum, number)
        now = utc_now()
        stamped = [{**datum, "Timestamp": datum.get("Timestamp") or now} for datum in metric_data]
        super().put_metric_data(namespace, [part for datum in stamped for part in _counted(datum)])
        self.listener.data_arrived()

    def add_values(self, values: Iterable[MetricValue]) -> None:
        """Take in the account's own metrics, without the checks that a request needs."""
        self.metric_data += [_datum(value) for value in values]
        self.listener.data_arrived()

    def get_metric_data(
        self,
        queries: list[dict[str, object]],
        start_time: datetime,
        end_time: datetime,
        scan_by: str = "TimestampAscending",
    ) -> list[dict[str, object]]:
        """GetMetricData: a period without a percentile has no value."""
        start, end = metric_series.whole_minute(start_time), end_time.replace(microsecond=0)
        if start < end and metric_series.simple(queries):
            asked, backwards = cast("list[SeriesQuery]", queries), scan_by == "TimestampDescending"
            return metric_series.answer(asked, self.get_all_metrics(), start, end, backwards=backwards)
        results = super().get_metric_data(queries, start_time, end_time, scan_by)
        for result in results:
            pairs = zip(result["timestamps"], result["values"], strict=True)
            there = [(timestamp, value) for timestamp, value in pairs if value is not None]
            result["timestamps"], result["values"] = [pair[0] for pair in there], [pair[1] for pair in there]
        return results

    def get_metric_statistics(  # noqa: PLR0917  # moto's signature
        self,
        namespace: str,
        metric_name: str,
        start_time: datetime,
        end_time: datetime,
        period: int,
        stats: list[str],
        dimensions: list[dict[str, str]],
        unit: str | None = None,
    ) -> list[Statistics]:
        """GetMetricStatistics: moto would add up what has further dimensions (docs/upstream/104)."""
        wanted = sorted((d["Name"], d["Value"]) for d in dimensions or [])
        exact = [datum for datum in self.get_all_metrics() if _pairs(datum.dimensions) == wanted]
        exact = [datum for datum in exact if (datum.namespace, datum.name) == (namespace, metric_name)]
        start, end = metric_series.whole_minute(start_time), end_time.replace(microsecond=0)
        if start_time >= end_time:  # moto refuses that
            return super().get_metric_statistics(
                namespace, metric_name, start_time, end_time, period, stats, dimensions, unit
            )
        wanted_data = [
            datum
            for datum in exact
            if start <= datum.timestamp < end and (not unit or unit == metric_series.unit_of(datum))
        ]
        return metric_series.statistics(wanted_data, stats, timedelta(seconds=period), start)

    @property
    def history(self) -> list[HistoryItem]:
        """What became of alarms, the oldest first; kept with the backend's other attributes."""
        kept: list[HistoryItem] = self.__dict__.setdefault("alarm_history", [])
        return kept

    def note(self, item: HistoryItem) -> None:
        """Add what became of an alarm, and forget what is too old."""
        self.history.append(item)
        while self.history[0]["Timestamp"] < item["Timestamp"] - KEPT:
            self.history.pop(0)

    def settle_composites(self, changed: Iterable[str]) -> None:
        """Give the composite alarms that ask the changed ones the state that their rules say."""
        with _COMPOSITES:
            for alarm, change in composite_changes(self.alarms, changed):
                self.change_state(alarm, change.reason, change.reason_data, change.state)

    def delete_alarms(self, alarm_names: list[str]) -> None:
        """DeleteAlarms; raises ValidationError for one that a composite alarm needs."""
        refuse_while_used(alarm_names, self.alarms)
        for alarm in [self.alarms[name] for name in alarm_names if name in self.alarms]:
            self.note(configuration_item(alarm, utc_now(), "Delete", {"AlarmName": alarm.name}))
        super().delete_alarms(alarm_names)

    def set_alarm_state(self, alarm_name: str, reason: str, reason_data: str, state_value: str) -> None:
        """SetAlarmState, and what follows of it."""
        alarm = self.alarms.get(alarm_name)
        before = StateChange.of(alarm) if alarm else None
        super().set_alarm_state(alarm_name, reason, reason_data, state_value)  # raises for an alarm that is not there
        if alarm and before:
            _tell(self, alarm, before)
            if alarm.rule is None:  # a composite one "returns to its actual state" when another alarm changes
                self.settle_composites([alarm_name])

    def change_state(self, alarm: Alarm, reason: str, reason_data: str, state_value: str) -> None:
        """Give an alarm the state that its data says."""
        before = StateChange.of(alarm)
        alarm.update_state(reason, reason_data, state_value)
        _tell(self, alarm, before)


def _tell(backend: WatchedMetrics, alarm: Alarm, before: StateChange) -> None:
    alarm.state_updated_timestamp = utc_now()
    alarm.history.clear()  # moto's own notes
    after = StateChange.of(alarm)
    if before.value != after.value:
        vars(alarm)["state_transitioned_timestamp"] = alarm.state_updated_timestamp
        backend.note(state_item(alarm, alarm.state_updated_timestamp, before, after))
        backend.listener.changed(alarm, before, after)


def utc_now() -> datetime:
    """The account's time as moto keeps times: in UTC, without saying so."""
    return clock.now().replace(tzinfo=None)


def _pairs(dimensions: Iterable[Dimension]) -> list[tuple[str | None, str | None]]:
    return sorted(((d.name, d.value) for d in dimensions), key=str)


def _counted(datum: dict[str, object]) -> Iterator[dict[str, object]]:
    """A datum of several values as one of each, however often it counts: moto keeps an object for every time."""
    values = cast("Sequence[float]", datum.get("Values") or ())
    counts = cast("Sequence[float]", datum.get("Counts") or [1.0] * len(values))
    plain = {name: value for name, value in datum.items() if name not in {"Values", "Counts"}}
    for value, count in zip(values, counts, strict=True):
        statistics = {"Sum": value * count, "Minimum": value, "Maximum": value, "SampleCount": count}
        yield {**plain, "StatisticValues": statistics} if count != 1 else {**plain, "Value": value}
    if not values:
        yield plain


def _datum(value: MetricValue) -> MetricDatum:
    datum = MetricDatum(value.namespace, value.name, value.value, [], value.at, value.unit)
    datum.dimensions = _dimensions(tuple(value.dimensions.items()))
    return datum


@cache
def _dimensions(pairs: tuple[tuple[str, str], ...]) -> list[Dimension]:
    """The same list for all values of a metric: it is most of what a value would keep."""
    return [Dimension(name, text) for name, text in pairs]
