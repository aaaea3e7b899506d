"""How requests about alarms are answered: moto's answers, and those about rules, types and history of alarms.

Runs in the server process. Refuses, when an alarm is made, what nothing here would evaluate.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from moto.cloudwatch.exceptions import CloudWatchException, InvalidParameterCombination
from moto.cloudwatch.models import Alarm
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult

from local_account.base.replacements import extends
from local_account.cloudwatch.alarm_queries import check, check_statistics
from local_account.cloudwatch.alarms.composite import check_composite
from local_account.cloudwatch.alarms.history import PageError, alarm_type, configuration_item, matching, page
from local_account.cloudwatch.backend import WatchedMetrics, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from types_boto3_cloudwatch.type_defs import (
        DescribeAlarmHistoryInputTypeDef,
        DescribeAlarmsForMetricInputTypeDef,
        DescribeAlarmsInputTypeDef,
        GetMetricStatisticsInputTypeDef,
        PutCompositeAlarmInputTypeDef,
        PutMetricAlarmInputTypeDef,
    )

_KINDS = ("MetricAlarm", "CompositeAlarm")
_KEPT_BY_AN_UPDATE = (
    *("state_value", "state_reason", "state_reason_data", "state_updated_timestamp", "state_transitioned_timestamp"),
)


class HistoryTokenError(CloudWatchException):
    """As CloudWatch says of a token that it has not given."""

    code = "InvalidNextToken"


class MissingMemberError(CloudWatchException):
    """As CloudWatch says of a member that a request lacks."""

    code = "MissingParameter"


@extends
class AlarmAnswers(CloudWatchResponse):
    """moto's answers; PutMetricAlarm refuses what nothing here evaluates."""

    def put_metric_alarm(self) -> ActionResult:
        """PutMetricAlarm: a new alarm has no data yet ("is initially set to INSUFFICIENT_DATA"), an old one its state.

        Raises moto's ValidationError for an alarm that nothing here would evaluate.
        """
        request: PutMetricAlarmInputTypeDef = self.params
        check(request)
        answer = _put(watched(self), request["AlarmName"], super().put_metric_alarm, dict(request))
        WatchedMetrics.listener.data_arrived()
        return answer

    def put_composite_alarm(self) -> ActionResult:
        """PutCompositeAlarm: an alarm on the states of others; raises moto's ValidationError for no rule."""
        request: PutCompositeAlarmInputTypeDef = self.params
        backend, name = watched(self), request["AlarmName"]
        check_composite(name, request["AlarmRule"], backend.alarms, self.current_account, self.region)
        answer = _put(backend, name, super().put_metric_alarm, dict(request))
        backend.settle_composites([name])
        return answer

    def describe_alarms(self) -> ActionResult:
        """DescribeAlarms: those that meet all that is asked for; "if you omit [types], only metric alarms"."""
        asked: DescribeAlarmsInputTypeDef = self.params
        kinds = asked.get("AlarmTypes") or ["MetricAlarm"]
        found = [alarm for alarm in list(self.cloudwatch_backend.alarms.values()) if _is_asked(alarm, asked)]
        shown = {kind: [alarm for alarm in found if alarm_type(alarm) == kind and kind in kinds] for kind in _KINDS}
        return ActionResult({f"{kind}s": alarms for kind, alarms in shown.items()})

    def describe_alarms_for_metric(self) -> ActionResult:
        """DescribeAlarmsForMetric: those on the metric, with the statistic, the dimensions, the period and the unit."""
        asked: DescribeAlarmsForMetricInputTypeDef = self.params
        alarms = [alarm for alarm in list(self.cloudwatch_backend.alarms.values()) if _is_on(alarm, asked)]
        return ActionResult({"MetricAlarms": alarms})

    def get_metric_data(self) -> ActionResult:
        """GetMetricData; all messages stand with the results that they are about.

        Raises MissingMemberError for a metric without a name.
        """
        _check_metrics(self._get_param("MetricDataQueries", []))
        answer = super().get_metric_data()
        assert isinstance(answer.result, dict)  # noqa: S101  # moto's own
        return ActionResult({"Messages": [], **answer.result})

    def get_metric_statistics(self) -> ActionResult:
        """GetMetricStatistics, also of percentiles; raises moto's InvalidParameterCombination for neither or both."""
        asked: GetMetricStatisticsInputTypeDef = self.params
        plain, extended = asked.get("Statistics"), asked.get("ExtendedStatistics")
        if plain and extended:
            raise InvalidParameterCombination("Must specify either Statistics or ExtendedStatistics, not both")
        if not extended:
            return super().get_metric_statistics()
        check_statistics(extended)
        found = watched(self).get_metric_statistics(
            asked["Namespace"],
            asked["MetricName"],
            self._get_param("StartTime"),
            self._get_param("EndTime"),
            asked["Period"],
            [],
            self._get_param("Dimensions", []),
            asked.get("Unit"),
        )
        points = [
            {
                "Timestamp": each.timestamp,
                "Unit": each.unit,
                "ExtendedStatistics": {name: each.get_statistics_for_type(name) for name in extended},
            }
            for each in found
        ]
        return ActionResult({"Label": asked["MetricName"], "Datapoints": points})

    def put_insight_rule(self) -> ActionResult:
        """PutInsightRule; a rule is described by the name and the version of its schema."""
        answer = super().put_insight_rule()
        rule = self.cloudwatch_backend.insight_rules[self._get_param("RuleName")]
        rule.schema = _schema_of(rule.definition)
        return answer

    def describe_alarm_history(self) -> ActionResult:
        """DescribeAlarmHistory: changes of state and of configuration, and what was run; raises HistoryTokenError."""
        asked: DescribeAlarmHistoryInputTypeDef = self.params
        try:
            return ActionResult(page(matching(watched(self).history, asked), asked))
        except PageError as error:
            raise HistoryTokenError(str(error)) from error


def _check_metrics(queries: Sequence[Mapping[str, Mapping[str, Mapping[str, str]]]]) -> None:
    """Raise MissingMemberError for a query of a metric that has no name; one of an expression has no metric."""
    for number, query in enumerate(queries, 1):
        metric = query["MetricStat"].get("Metric", {}) if "MetricStat" in query else None
        missing = [name for name in ("Namespace", "MetricName") if metric is not None and not metric.get(name)]
        if missing:
            where = f"MetricDataQueries.member.{number}.MetricStat.Metric.{missing[0]}"
            raise MissingMemberError(f"The parameter {where} is required.")


def _schema_of(definition: str) -> str:
    """The schema that a definition names, ``CloudWatchLogRule/1``; that one where it names none."""
    try:
        schema = json.loads(definition)["Schema"]
        return f"{schema['Name']}/{schema['Version']}"
    except (KeyError, TypeError, ValueError):
        return "CloudWatchLogRule/1"


def _is_on(alarm: Alarm, asked: DescribeAlarmsForMetricInputTypeDef) -> bool:
    """Whether an alarm is on the metric that a request names, with all that it asks for."""
    if alarm.rule is not None or (alarm.namespace, alarm.metric_name) != (asked["Namespace"], asked["MetricName"]):
        return False
    dimensions = sorted((str(each.name), str(each.value)) for each in alarm.dimensions)
    return (
        dimensions == sorted((each["Name"], each["Value"]) for each in asked.get("Dimensions", []))
        and asked.get("Statistic") in {None, alarm.statistic}
        and asked.get("ExtendedStatistic") in {None, alarm.extended_statistic}
        and asked.get("Period") in {None, alarm.period}
        and asked.get("Unit") in {None, alarm.unit}
    )


def watched(answers: CloudWatchResponse) -> WatchedMetrics:
    """The metrics and alarms that a request is about."""
    backend = answers.cloudwatch_backend
    assert isinstance(backend, WatchedMetrics)  # noqa: S101  # `install` has seen to it
    return backend


def _put(
    backend: WatchedMetrics, name: str, make: Callable[[], ActionResult], request: Mapping[str, object]
) -> ActionResult:
    """Have moto make the alarm, and give it its state: none yet, or the one that it had."""
    existing, now = backend.alarms.get(name), utc_now()
    answer = make()
    alarm = backend.alarms[name]
    alarm.configuration_updated_timestamp = alarm.state_updated_timestamp = now
    vars(alarm).update(state_value="INSUFFICIENT_DATA", state_reason_data=None, state_transitioned_timestamp=now)
    vars(alarm)["metric_data_queries"] = alarm.metric_data_queries or None  # an alarm on one metric tells none
    if existing:
        vars(alarm).update({member: vars(existing).get(member) for member in _KEPT_BY_AN_UPDATE})
    backend.note(configuration_item(alarm, now, "Update" if existing else "Create", request))
    return answer


def _is_asked(alarm: Alarm, asked: DescribeAlarmsInputTypeDef) -> bool:
    """Whether an alarm has the names, the state and the actions that a request asks for."""
    names, state, action = asked.get("AlarmNames"), asked.get("StateValue"), asked.get("ActionPrefix", "")
    return (
        (not names or alarm.name in names)
        and str(alarm.name).startswith(asked.get("AlarmNamePrefix", ""))
        and state in {None, alarm.state_value}
        and (not action or any(each.startswith(action) for each in alarm.alarm_actions))
    )
