"""CloudWatch on moto: alarms look at the data, change their state, and act.

Runs in the server process; moto keeps metrics and alarms. A thread evaluates the alarms when data arrives, and every
ten seconds. ``alarm_queries`` reads what an alarm looks at.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from moto.cloudwatch.models import Alarm, CloudWatchBackend

from local_account.account import Account
from local_account.base import clock
from local_account.cloudwatch import backend as cloudwatch_backend
from local_account.cloudwatch import percentiles as cloudwatch_percentiles
from local_account.cloudwatch.alarm_actions import StateChange, act
from local_account.cloudwatch.alarm_evaluation import AlarmRule, AlarmVerdict, compare, periods
from local_account.cloudwatch.alarm_queries import AlarmData, rule_of
from local_account.cloudwatch.alarms.answers import AlarmAnswers
from local_account.cloudwatch.alarms.composite import stamp
from local_account.cloudwatch.alarms.history import action_item
from local_account.cloudwatch.backend import utc_now, watched_metrics
from local_account.cloudwatch.compaction import MetricCompaction
from local_account.cloudwatch.samples import aware
from local_account.events.delivery import Deliverer
from local_account.events.service import deliverer_of
from local_account.protocol.members import register

log = logging.getLogger(__name__)

EVALUATE_EVERY_S = 10.0
RETENTION = timedelta(days=15)  # AWS keeps one-minute data so long


def install(account: Account) -> None:
    """Make alarms react to data."""
    register(Path(__file__).with_name("members.toml"))
    watch = AlarmWatch(account, deliverer_of(account))
    cloudwatch_backend.install(watch, AlarmAnswers)
    cloudwatch_percentiles.install()
    account.evaluate_alarms = lambda: watch.evaluate_all(clock.now())
    account.after_clock_moved.append(account.evaluate_alarms)
    threading.Thread(target=watch.run, name="alarms", daemon=True).start()


class AlarmWatch:
    """Evaluates alarms in a thread of its own and acts on changes of state."""

    def __init__(self, account: Account, deliverer: Deliverer) -> None:
        self._account = account
        self._deliverer = deliverer
        self._wake = threading.Event()
        self._evaluating = threading.Lock()
        self._data = AlarmData()
        self._compaction = MetricCompaction()

    def data_arrived(self) -> None:
        """Look at the alarms soon."""
        self._wake.set()

    def run(self) -> None:
        """The thread's target: evaluate until the account stops."""
        while not self._account.stopping.is_set():
            self._wake.wait(EVALUATE_EVERY_S)
            self._wake.clear()
            try:
                self.evaluate_all(clock.now())
            except Exception:
                log.exception("alarms were not evaluated")
            self._account.stopping.wait(0.2)  # data comes in bursts: look at it once

    def evaluate_all(self, now: datetime) -> None:
        """Give every alarm the state that its data says."""
        backend = watched_metrics(self._account)
        with self._evaluating:
            forgotten = _forget_old_data(backend, now - RETENTION)
            if self._compaction.fold(backend.metric_data, now) or forgotten:
                self._data = AlarmData()
            alarms = [alarm for alarm in list(backend.alarms.values()) if alarm.rule is None]
            self._data.read(backend, alarms)
            changed = []
            for alarm in alarms:
                rule = rule_of(alarm)
                verdict = compare(rule, self._data.values(alarm, rule, now), now)
                if verdict.state and verdict.state != alarm.state_value:
                    counts = self._data.counts(alarm, rule, now)
                    data = _reason_data(alarm, rule, verdict, now, counts)
                    backend.change_state(alarm, verdict.reason, data, verdict.state)
                    changed.append(alarm.name)
            backend.settle_composites(changed)

    def changed(self, alarm: Alarm, before: StateChange, after: StateChange) -> None:
        """Tell EventBridge and the alarm's actions; off the caller's thread."""
        self._account.snapshots.mark_dirty("monitoring")
        self._deliverer.run(lambda: act(self._account, alarm, before, after, self._note_action))

    def _note_action(self, alarm: Alarm, arn: str, error: str | None) -> None:
        backend = watched_metrics(self._account)
        backend.note(action_item(alarm, utc_now(), arn, error))
        self._account.snapshots.mark_dirty("monitoring")


def _forget_old_data(backend: CloudWatchBackend, before: datetime) -> bool:
    """Whether there was any."""
    if not backend.metric_data or aware(backend.metric_data[0].timestamp) >= before:
        return False
    backend.metric_data[:] = [d for d in backend.metric_data if aware(d.timestamp) >= before]
    return True


def _reason_data(
    alarm: Alarm, rule: AlarmRule, verdict: AlarmVerdict, now: datetime, counts: Mapping[datetime, float]
) -> str:
    data: dict[str, object] = {"version": "1.0", "queryDate": stamp(now)}
    if verdict.points:
        data["startDate"] = stamp(verdict.points[0].start)
    if alarm.unit:
        data["unit"] = alarm.unit
    evaluated = [
        {
            "timestamp": stamp(point.start),
            **({"sampleCount": counts[point.start]} if point.start in counts else {}),
            "value": point.value,
        }
        for point in reversed(verdict.points)
    ]
    missing = [{"timestamp": stamp(start)} for start, _ in periods(rule, now)[: rule.evaluation_periods]]
    data |= {
        "statistic": rule.statistic,
        "period": rule.period_s,
        "recentDatapoints": [point.value for point in verdict.points],
        "threshold": rule.threshold,
        "evaluatedDatapoints": evaluated or missing,
    }
    return json.dumps(data)
