"""CloudWatch on moto: alarms look at the data, change their state, and act.

Runs in the server process; moto keeps metrics and alarms. A thread evaluates the alarms of a metric when data for it
arrives, and all of them every ten seconds. Alarms on metric math are refused when they are made.
"""

from __future__ import annotations

import inspect
import json
import logging
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from moto.cloudwatch.exceptions import ValidationError
from moto.cloudwatch.models import Alarm, CloudWatchBackend, MetricAggregatedDatum, cloudwatch_backends

from local_account.account import Account
from local_account.alarm_actions import StateChange, act
from local_account.alarm_evaluation import COMPARISONS, EXTRA_PERIODS, Outcome, Rule, Sample, evaluate
from local_account.event_delivery import Deliverer
from local_account.events import deliverer_of

log = logging.getLogger(__name__)

EVALUATE_EVERY_S = 10.0
RETENTION = timedelta(days=15)  # AWS keeps one-minute data so long


def install(account: Account) -> None:
    """Make alarms react to data."""
    watch = AlarmWatch(account, deliverer_of(account))
    _install_alarms(watch)
    _install_data(watch)
    _install_exact_dimensions()
    account.evaluate_alarms = lambda: watch.evaluate_all(datetime.now(UTC))
    threading.Thread(target=watch.run, name="alarms", daemon=True).start()


class AlarmWatch:
    """Evaluates alarms in a thread of its own and acts on changes of state."""

    def __init__(self, account: Account, deliverer: Deliverer) -> None:
        self._account = account
        self._deliverer = deliverer
        self._wake = threading.Event()
        self._evaluating = threading.Lock()

    def data_arrived(self) -> None:
        self._wake.set()

    def run(self) -> None:
        while not self._account.stopping.is_set():
            self._wake.wait(EVALUATE_EVERY_S)
            self._wake.clear()
            try:
                self.evaluate_all(datetime.now(UTC))
            except Exception:
                log.exception("alarms were not evaluated")
            self._account.stopping.wait(0.2)  # data comes in bursts: look at it once

    def evaluate_all(self, now: datetime) -> None:
        backend = cloudwatch_backends[self._account.account_id][self._account.region]
        with self._evaluating:
            _forget_old_data(backend, now - RETENTION)
            for alarm in list(backend.alarms.values()):
                rule = _rule_of(alarm)
                outcome = evaluate(rule, _samples(backend, alarm, rule, now), now)
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
        _check(name, request)
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


def _check(name: str, request: dict[str, Any]) -> None:
    queries = request.get("metric_data_queries") or []
    if len(queries) > 1 or any(q.expression or q.metric_stat is None for q in queries):
        raise ValidationError("The stand-in account does not evaluate metric math: give the alarm one metric.")
    if request["comparison_operator"] not in COMPARISONS:
        raise ValidationError(
            f"The stand-in account does not evaluate {request['comparison_operator']}, only {', '.join(COMPARISONS)}."
        )
    if request.get("threshold") is None:
        raise ValidationError(f"Alarm {name} needs a Threshold.")
    if not queries and not (request.get("statistic") or request.get("extended_statistic")):
        raise ValidationError(f"Alarm {name} needs a Statistic or an ExtendedStatistic.")


def _rule_of(alarm: Alarm) -> Rule:
    stat = alarm.metric_data_queries[0].metric_stat if alarm.metric_data_queries else None
    return Rule(
        comparison=alarm.comparison_operator,
        threshold=float(alarm.threshold),
        statistic=stat.stat if stat else alarm.statistic or alarm.extended_statistic,
        period_s=int(stat.period if stat else alarm.period),
        evaluation_periods=int(alarm.evaluation_periods),
        datapoints_to_alarm=int(alarm.datapoints_to_alarm or alarm.evaluation_periods),
        missing=alarm.treat_missing_data or "missing",
    )


def _samples(backend: CloudWatchBackend, alarm: Alarm, rule: Rule, now: datetime) -> Iterable[Sample]:
    metric = alarm.metric_data_queries[0].metric_stat.metric if alarm.metric_data_queries else alarm
    unit = alarm.metric_data_queries[0].metric_stat.unit if alarm.metric_data_queries else alarm.unit
    wanted = sorted((d.name, d.value) for d in metric.dimensions)
    oldest = now - timedelta(seconds=rule.period_s * (rule.evaluation_periods + EXTRA_PERIODS) + 60)
    for datum in list(backend.metric_data):
        if datum.name != metric.metric_name or datum.namespace != metric.namespace or (unit and datum.unit != unit):
            continue
        at = _aware(datum.timestamp)
        if at < oldest or sorted((d.name, d.value) for d in datum.dimensions) != wanted:
            continue
        if isinstance(datum, MetricAggregatedDatum):
            yield Sample(at, datum.sample_count, datum.sum, datum.min, datum.max)
        else:
            yield Sample(at, 1, datum.value, datum.value, datum.value)


def _aware(timestamp: datetime) -> datetime:
    return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)


def _forget_old_data(backend: CloudWatchBackend, before: datetime) -> None:
    if backend.metric_data and _aware(backend.metric_data[0].timestamp) < before:
        backend.metric_data[:] = [d for d in backend.metric_data if _aware(d.timestamp) >= before]


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
