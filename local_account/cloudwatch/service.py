"""CloudWatch on moto: alarms look at the data, change their state, and act.

Runs in the server process; moto keeps metrics and alarms. A thread evaluates the alarms when data arrives, and every
ten seconds. ``alarm_queries`` reads what an alarm looks at.
"""

from __future__ import annotations

import inspect
import json
import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from moto.cloudwatch import models
from moto.cloudwatch.models import Alarm, CloudWatchBackend, cloudwatch_backends

from local_account.account import Account
from local_account.base import clock
from local_account.cloudwatch import percentiles as cloudwatch_percentiles
from local_account.cloudwatch.alarm_actions import StateChange, act
from local_account.cloudwatch.alarm_evaluation import Outcome, Rule, compare
from local_account.cloudwatch.alarm_queries import AlarmData, aware, check, rule_of
from local_account.events.delivery import Deliverer
from local_account.events.service import deliverer_of

log = logging.getLogger(__name__)

EVALUATE_EVERY_S = 10.0
RETENTION = timedelta(days=15)  # AWS keeps one-minute data so long


def install(account: Account) -> None:
    """Make alarms react to data."""
    watch = AlarmWatch(account, deliverer_of(account))
    _install_alarms(watch)
    _install_data(watch)
    _install_exact_dimensions()
    cloudwatch_percentiles.install()
    account.evaluate_alarms = lambda: watch.evaluate_all(clock.now())
    account.after_clock_moved.append(account.evaluate_alarms)
    models.utcnow = lambda: clock.now().replace(tzinfo=None)  # of alarms' changes, and of data that names no time
    threading.Thread(target=watch.run, name="alarms", daemon=True).start()


class AlarmWatch:
    """Evaluates alarms in a thread of its own and acts on changes of state."""

    def __init__(self, account: Account, deliverer: Deliverer) -> None:
        self._account = account
        self._deliverer = deliverer
        self._wake = threading.Event()
        self._evaluating = threading.Lock()
        self._data = AlarmData()

    def data_arrived(self) -> None:
        self._wake.set()

    def run(self) -> None:
        while not self._account.stopping.is_set():
            self._wake.wait(EVALUATE_EVERY_S)
            self._wake.clear()
            try:
                self.evaluate_all(clock.now())
            except Exception:
                log.exception("alarms were not evaluated")
            self._account.stopping.wait(0.2)  # data comes in bursts: look at it once

    def evaluate_all(self, now: datetime) -> None:
        backend = cloudwatch_backends[self._account.account_id][self._account.region]
        with self._evaluating:
            if _forget_old_data(backend, now - RETENTION):
                self._data = AlarmData()
            alarms = list(backend.alarms.values())
            self._data.read(backend, alarms)
            for alarm in alarms:
                rule = rule_of(alarm)
                outcome = compare(rule, self._data.values(alarm, rule, now), now)
                if outcome.state and outcome.state != alarm.state_value:
                    alarm.update_state(outcome.reason, _reason_data(rule, outcome, now), outcome.state)

    def changed(self, alarm: Alarm, before: StateChange, after: StateChange) -> None:
        """Tell EventBridge and the alarm's actions; off the caller's thread."""
        self._account.snapshots.mark_dirty("monitoring")
        self._deliverer.run(lambda: act(self._account, alarm, before, after))


def _install_alarms(watch: AlarmWatch) -> None:
    put_metric_alarm: Callable[..., Alarm] = getattr(
        CloudWatchBackend.put_metric_alarm, "original", CloudWatchBackend.put_metric_alarm
    )
    update: Callable[..., None] = getattr(Alarm.update_state, "original", Alarm.update_state)

    def put_checked_alarm(backend: CloudWatchBackend, name: str, **request: Any) -> Alarm:
        check(name, request)
        existing = backend.alarms.get(name)
        alarm = put_metric_alarm(backend, name, **request)
        if existing:  # an update keeps the state
            kept = ("state_value", "state_reason", "state_reason_data", "state_updated_timestamp", "history")
            for member in kept:
                setattr(alarm, member, getattr(existing, member))
        else:
            alarm.state_value = "INSUFFICIENT_DATA"  # "an alarm is initially set to INSUFFICIENT_DATA" (PutMetricAlarm)
        watch.data_arrived()
        return alarm

    def update_state(alarm: Alarm, reason: str, reason_data: str, state_value: str) -> None:
        before = StateChange.of(alarm)
        update(alarm, reason, reason_data, state_value)
        after = StateChange.of(alarm)
        if before.value != after.value:
            watch.changed(alarm, before, after)

    put_checked_alarm.original = put_metric_alarm  # type: ignore[attr-defined]  # for another account in this process
    update_state.original = update  # type: ignore[attr-defined]  # likewise
    CloudWatchBackend.put_metric_alarm = put_checked_alarm
    Alarm.update_state = update_state


def _install_data(watch: AlarmWatch) -> None:
    put: Callable[..., None] = getattr(CloudWatchBackend.put_metric_data, "original", CloudWatchBackend.put_metric_data)

    def put_metric_data(backend: CloudWatchBackend, namespace: str, metric_data: list[dict[str, Any]]) -> None:
        put(backend, namespace, metric_data)
        watch.data_arrived()

    put_metric_data.original = put  # type: ignore[attr-defined]  # for another account in this process
    CloudWatchBackend.put_metric_data = put_metric_data


def _install_exact_dimensions() -> None:
    """A metric is its whole set of dimensions; moto would add up those that have further ones."""
    get: Callable[..., Any] = getattr(
        CloudWatchBackend.get_metric_statistics, "original", CloudWatchBackend.get_metric_statistics
    )

    def get_metric_statistics(backend: CloudWatchBackend, *arguments: Any, **named: Any) -> Any:
        dimensions = inspect.signature(get).bind(backend, *arguments, **named).arguments["dimensions"] or []
        wanted = sorted((d["Name"], d["Value"]) for d in dimensions)
        exact = [d for d in backend.get_all_metrics() if sorted((x.name, x.value) for x in d.dimensions) == wanted]
        return get(SimpleNamespace(get_all_metrics=lambda: exact), *arguments, **named)

    get_metric_statistics.original = get  # type: ignore[attr-defined]  # for another account in this process
    CloudWatchBackend.get_metric_statistics = get_metric_statistics


def _forget_old_data(backend: CloudWatchBackend, before: datetime) -> bool:
    """Whether there was any."""
    if not backend.metric_data or aware(backend.metric_data[0].timestamp) >= before:
        return False
    backend.metric_data[:] = [d for d in backend.metric_data if aware(d.timestamp) >= before]
    return True


def _reason_data(rule: Rule, outcome: Outcome, now: datetime) -> str:
    data: dict[str, Any] = {"version": "1.0", "queryDate": _stamp(now)}
    if outcome.points:
        data["startDate"] = _stamp(outcome.points[0].start)
    data |= {
        "statistic": rule.statistic,
        "period": rule.period_s,
        "recentDatapoints": [point.value for point in outcome.points],
        "threshold": rule.threshold,
        "evaluatedDatapoints": [{"timestamp": _stamp(p.start), "value": p.value} for p in reversed(outcome.points)],
    }
    return json.dumps(data)


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}+0000"
