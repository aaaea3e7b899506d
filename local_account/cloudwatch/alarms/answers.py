"""How requests about alarms are answered: moto's answers, and those about rules, types and history of alarms.

Runs in the server process. Refuses, when an alarm is made, what nothing here would evaluate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moto.cloudwatch.exceptions import CloudWatchException
from moto.cloudwatch.models import Alarm
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult

from local_account.base.replacements import extends
from local_account.cloudwatch.alarm_queries import check
from local_account.cloudwatch.alarms.composite import check_composite
from local_account.cloudwatch.alarms.history import PageError, alarm_type, configuration_item, matching, page
from local_account.cloudwatch.backend import WatchedMetrics, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from types_boto3_cloudwatch.type_defs import (
        DescribeAlarmHistoryInputTypeDef,
        DescribeAlarmsInputTypeDef,
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

    def describe_alarm_history(self) -> ActionResult:
        """DescribeAlarmHistory: changes of state and of configuration, and what was run; raises HistoryTokenError."""
        asked: DescribeAlarmHistoryInputTypeDef = self.params
        try:
            return ActionResult(page(matching(watched(self).history, asked), asked))
        except PageError as error:
            raise HistoryTokenError(str(error)) from error


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
