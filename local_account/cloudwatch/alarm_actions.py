"""What follows when an alarm changes its state: an event, messages to SNS topics, calls of functions.

Runs in the server process; the documents are those of CloudWatch
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from botocore.exceptions import BotoCoreError, ClientError
from moto.cloudwatch.models import Alarm

from local_account.account import Account
from local_account.authority.authority import AccessDeniedError
from local_account.cloudwatch.alarm_queries import Query, queries_of

log = logging.getLogger(__name__)

_ACTIONS = {"ALARM": "alarm_actions", "OK": "ok_actions", "INSUFFICIENT_DATA": "insufficient_data_actions"}


@dataclass(frozen=True)
class StateChange:
    """An alarm's state at one time."""

    value: str
    reason: str
    reason_data: str
    at: datetime

    @classmethod
    def of(cls, alarm: Alarm) -> StateChange:
        """The state that an alarm has."""
        at = alarm.state_updated_timestamp
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return cls(alarm.state_value, alarm.state_reason, alarm.state_reason_data or "{}", at)

    def document(self) -> dict[str, str]:
        """As events have it."""
        data = {"reasonData": self.reason_data} if self.reason_data != "{}" else {}
        return {"value": self.value, "reason": self.reason, **data, "timestamp": _stamp(self.at)}


@dataclass(frozen=True)
class Transition:
    """An alarm that has changed its state."""

    account: Account
    alarm: Alarm
    before: StateChange
    after: StateChange

    def event(self) -> dict[str, object]:
        """What EventBridge and functions are told."""
        return {
            "alarmName": self.alarm.name,
            "state": self.after.document(),
            "previousState": self.before.document(),
            "configuration": _configuration(self.alarm),
        }

    def run(self, arn: str) -> None:
        """Run one action; raises ClientError, BotoCoreError, or AccessDeniedError where nothing allows it."""
        if ":sns:" in arn:
            self._publish(arn)
        elif ":lambda:" in arn:
            self._invoke(arn)
        else:
            unknown = "action %s of alarm %s is not run: the account knows SNS topics and functions"
            log.warning(unknown, arn, self.alarm.name)

    def _publish(self, topic: str) -> None:
        demand = self.account.authority.demand_of_service
        demand("cloudwatch.amazonaws.com", "sns:Publish", topic, self.alarm.alarm_arn)
        subject = f'{self.after.value}: "{self.alarm.name}" in {self.account.region}'[:100]
        message = json.dumps(_message(self))
        self.account.client("sns").publish(TopicArn=topic, Subject=subject, Message=message)

    def _invoke(self, function: str) -> None:
        demand = self.account.authority.demand_of_service
        service = "lambda.alarms.cloudwatch.amazonaws.com"
        demand(service, "lambda:InvokeFunction", function, self.alarm.alarm_arn)
        payload = {
            "source": "aws.cloudwatch",
            "alarmArn": self.alarm.alarm_arn,
            "accountId": self.account.account_id,
            "time": _stamp(self.after.at),
            "region": self.account.region,
            "alarmData": self.event(),
        }
        client = self.account.client("lambda")
        client.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(payload).encode())


Note = Callable[[Alarm, str, str | None], None]
"""Told of each action that was run: the alarm, the action's ARN, and why it failed."""


def act(account: Account, alarm: Alarm, before: StateChange, after: StateChange, note: Note) -> None:
    """Emit the event and run the actions of the new state, each of them whatever becomes of the others."""
    change = Transition(account, alarm, before, after)
    account.emit_event("aws.cloudwatch", "CloudWatch Alarm State Change", change.event(), [alarm.alarm_arn])
    if not alarm.actions_enabled:
        return
    for arn in getattr(alarm, _ACTIONS[after.value]) or []:
        why = None
        try:
            change.run(arn)
        except (AccessDeniedError, BotoCoreError, ClientError) as error:
            why = str(error)
            log.warning("action %s of alarm %s failed: %s", arn, alarm.name, why)
        note(alarm, arn, why)


def _configuration(alarm: Alarm) -> dict[str, object]:
    if alarm.rule is not None:
        described = {"description": alarm.description} if alarm.description else {}
        return {"alarmRule": alarm.rule, **described}
    return {"description": alarm.description or "", "metrics": [_query(q) for q in queries_of(alarm)]}


def _query(query: Query) -> dict[str, object]:
    shown: dict[str, object] = {"id": query.name, "returnData": query.returned}
    if query.expression is not None:
        return {**shown, "expression": query.expression.text}
    named = {"namespace": query.namespace, "name": query.metric_name, "dimensions": dict(query.dimensions)}
    return {**shown, "metricStat": {"metric": named, "period": query.period_s, "stat": query.statistic}}


def _message(change: Transition) -> dict[str, object]:
    account, alarm, before, after = change.account, change.alarm, change.before, change.after
    return {
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description,
        "AWSAccountId": account.account_id,
        "AlarmConfigurationUpdatedTimestamp": _stamp(alarm.configuration_updated_timestamp),
        "NewStateValue": after.value,
        "NewStateReason": after.reason,
        "StateChangeTime": _stamp(after.at),
        "Region": account.region,
        "AlarmArn": alarm.alarm_arn,
        "OldStateValue": before.value,
        "OKActions": alarm.ok_actions,
        "AlarmActions": alarm.alarm_actions,
        "InsufficientDataActions": alarm.insufficient_data_actions,
        **(_of_metric(alarm) if alarm.rule is None else _of_rule(alarm.rule, after)),
    }


def _of_rule(rule: str, after: StateChange) -> dict[str, object]:
    """What a message tells of a composite alarm."""
    told = json.loads(after.reason_data).get("triggeringAlarms", [])
    children = [
        {"Arn": each["arn"], "State": {"Value": each["state"]["value"], "Timestamp": each["state"]["timestamp"]}}
        for each in told
    ]
    return {"AlarmRule": rule, "TriggeringChildren": children}


def _of_metric(alarm: Alarm) -> dict[str, object]:
    """What a message tells of an alarm on a metric."""
    wanted = {"DatapointsToAlarm": int(alarm.datapoints_to_alarm)} if alarm.datapoints_to_alarm else {}
    return {
        "Trigger": {
            **_trigger(alarm),
            "EvaluationPeriods": int(alarm.evaluation_periods),
            **wanted,
            "ComparisonOperator": alarm.comparison_operator,
            "Threshold": float(alarm.threshold),
            "TreatMissingData": alarm.treat_missing_data or "missing",
            "EvaluateLowSampleCountPercentile": alarm.evaluate_low_sample_count_percentile or "",
        },
    }


def _trigger(alarm: Alarm) -> dict[str, object]:
    """The metric of the alarm, or the queries of its metric math."""
    found = queries_of(alarm)
    if len(found) > 1:
        return {"Period": found[0].period_s, "Metrics": [_query(query) for query in found]}
    (query,) = found
    return {
        "MetricName": query.metric_name,
        "Namespace": query.namespace,
        "StatisticType": "Statistic" if alarm.statistic else "ExtendedStatistic",
        "Statistic": query.statistic.upper() if alarm.statistic else query.statistic,
        "Unit": query.unit,
        "Dimensions": [{"value": value, "name": name} for name, value in query.dimensions],
        "Period": query.period_s,
    }


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}+0000"
