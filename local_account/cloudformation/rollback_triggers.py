"""Rollback triggers: alarms that take an operation on a stack back.

Runs in the server process. Source: CloudFormation User Guide, rollback triggers. The time of monitoring passes as
fast as the account's other waits of deployments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_account.account import Account
from local_account.base.arns import own_arn, parse_arn
from local_account.cloudformation.records import RollbackConfiguration, StackRecord
from local_account.cloudformation.resources.base import StackPlace
from local_account.cloudformation.resources.values import ResourceError
from local_account.protocol.actions import ServiceError

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import RollbackConfigurationUnionTypeDef

_TYPES = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
_LOOK_S = 0.2
_MOST_MINUTES = 180


def checked_triggers(account: Account, wanted: RollbackConfigurationUnionTypeDef) -> RollbackConfiguration:
    """The alarms that a request names.

    Raises ServiceError for what is no alarm of the account.
    """
    triggers = wanted.get("RollbackTriggers", [])
    if len(triggers) > 5:
        raise ServiceError("Rollback Triggers exceeds max limit of 5")
    for trigger in triggers:
        if trigger.get("Type") not in _TYPES:
            raise ServiceError("Rollback Trigger Type not supported")
        arn = own_arn(trigger.get("Arn"), account.account_id, account.region)
        if arn is None or (arn.service, arn.kind) != ("cloudwatch", "alarm"):
            raise ServiceError("RelativeId of a Rollback Trigger's ARN is incorrect")
    minutes = wanted.get("MonitoringTimeInMinutes", 0)
    if not 0 <= minutes <= _MOST_MINUTES:
        raise ServiceError(f"Monitoring Time In Minutes should be between 0 and {_MOST_MINUTES}")
    found: RollbackConfiguration = {}
    if "RollbackTriggers" in wanted:
        found["RollbackTriggers"] = [{"Arn": each["Arn"], "Type": each["Type"]} for each in triggers]
    if "MonitoringTimeInMinutes" in wanted:
        found["MonitoringTimeInMinutes"] = minutes
    return found


def watch(account: Account, record: StackRecord, place: StackPlace) -> None:
    """Watch the stack's alarms for as long as it says.

    Raises ResourceError when one of them is in ALARM, or is not there.
    """
    configuration = record.get("RollbackConfiguration", {})
    names = [parse_arn(each["Arn"]).name for each in configuration.get("RollbackTriggers", [])]
    left_s = 60 * configuration.get("MonitoringTimeInMinutes", 0) / account.time_scale
    while names:
        _demand_quiet(account, names)
        if left_s <= 0:
            return
        place.pause(min(_LOOK_S, left_s))
        left_s -= _LOOK_S


def _demand_quiet(account: Account, names: list[str]) -> None:
    account.evaluate_alarms()
    answer = account.client("cloudwatch").describe_alarms(
        AlarmNames=names, AlarmTypes=["MetricAlarm", "CompositeAlarm"]
    )
    states = {each["AlarmName"]: each["StateValue"] for each in (*answer["MetricAlarms"], *answer["CompositeAlarms"])}
    for name in names:
        if states.get(name) != "ALARM" and name in states:
            continue
        raise ResourceError(
            f"Rollback Trigger {name} is in ALARM state"
            if name in states
            else f"Rollback Trigger {name} does not exist"
        )
