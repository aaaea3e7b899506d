"""What has become of alarms: what DescribeAlarmHistory answers.

Runs in the server process; the documents are those of recorded answers of CloudWatch. An item is kept 30 days, also
when its alarm is gone (CloudWatch API reference, DescribeAlarmHistory).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypedDict

from local_account.base.errors import AccountError

if TYPE_CHECKING:
    from moto.cloudwatch.models import Alarm
    from types_boto3_cloudwatch.type_defs import DescribeAlarmHistoryInputTypeDef

    from local_account.cloudwatch.alarm_actions import StateChange

KEPT = timedelta(days=30)
_MOST = 100  # a page
ItemType = Literal["ConfigurationUpdate", "StateUpdate", "Action"]


class HistoryItem(TypedDict):
    """One thing that became of an alarm. ``Timestamp``: in UTC, without saying so, as moto keeps times."""

    AlarmName: str
    AlarmType: str
    Timestamp: datetime
    HistoryItemType: ItemType
    HistorySummary: str
    HistoryData: str


class PageError(AccountError):
    """A NextToken that is none."""


def item(alarm: Alarm, at: datetime, kind: ItemType, summary: str, data: Mapping[str, object]) -> HistoryItem:
    """One thing that became of an alarm at a time."""
    return {
        "AlarmName": alarm.name,
        "AlarmType": alarm_type(alarm),
        "Timestamp": at,
        "HistoryItemType": kind,
        "HistorySummary": summary,
        "HistoryData": json.dumps({"version": "1.0", **data}),
    }


def alarm_type(alarm: Alarm) -> str:
    """MetricAlarm or CompositeAlarm."""
    return "MetricAlarm" if alarm.rule is None else "CompositeAlarm"


def state_item(alarm: Alarm, at: datetime, before: StateChange, after: StateChange) -> HistoryItem:
    """A change of state."""
    summary = f"Alarm updated from {before.value} to {after.value}"
    return item(alarm, at, "StateUpdate", summary, {"oldState": _state(before), "newState": _state(after)})


def _state(state: StateChange) -> dict[str, object]:
    data = json.loads(state.reason_data)
    shown: dict[str, object] = {"stateValue": state.value, "stateReason": state.reason}
    return {**shown, "stateReasonData": data} if data else shown


def configuration_item(
    alarm: Alarm, at: datetime, what: Literal["Create", "Update", "Delete"], request: Mapping[str, object]
) -> HistoryItem:
    """An alarm that was made, changed or removed; ``request``: the members that say what it is."""
    shown = {_lowered(name): value for name, value in request.items() if name != "Tags"}
    data = {"type": what, f"{what.lower()}dAlarm": {**shown, "alarmArn": alarm.alarm_arn}}
    return item(alarm, at, "ConfigurationUpdate", f'Alarm "{alarm.name}" {what.lower()}d', data)


def _lowered(name: str) -> str:
    """A member as history's documents spell it: ``OKActions`` is ``okActions``."""
    return f"ok{name[2:]}" if name.startswith("OK") else name[:1].lower() + name[1:]


def action_item(alarm: Alarm, at: datetime, action: str, error: str | None) -> HistoryItem:
    """An action that was run, or failed."""
    summary = f"Failed to execute action {action}" if error else f"Successfully executed action {action}"
    data = {
        "actionState": "Failed" if error else "Succeeded",
        "stateUpdateTimestamp": int(alarm.state_updated_timestamp.replace(tzinfo=UTC).timestamp() * 1000),
        "notificationResource": action,
        "publishedMessage": None,
        "error": error,
    }
    return item(alarm, at, "Action", summary, data)


def matching(items: Iterable[HistoryItem], asked: DescribeAlarmHistoryInputTypeDef) -> list[HistoryItem]:
    """What a request asks for, the newest first unless it says otherwise."""
    name, kinds = asked.get("AlarmName"), asked.get("AlarmTypes") or ["MetricAlarm"]
    wanted = asked.get("HistoryItemType")
    first, last = _moment(asked.get("StartDate")), _moment(asked.get("EndDate"))
    found = [
        each
        for each in items
        if name in (None, each["AlarmName"])
        and (name is not None or each["AlarmType"] in kinds)
        and wanted in (None, each["HistoryItemType"])
        and (first is None or each["Timestamp"] >= first)
        and (last is None or each["Timestamp"] <= last)
    ]
    return found if asked.get("ScanBy") == "TimestampAscending" else found[::-1]


def _moment(value: object) -> datetime | None:
    if not isinstance(value, datetime):
        return None
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value


def page(items: list[HistoryItem], asked: DescribeAlarmHistoryInputTypeDef) -> dict[str, object]:
    """A page of them; raises PageError for a token that was not given out."""
    token = asked.get("NextToken") or "0"
    if not token.isdecimal() or int(token) > len(items):
        raise PageError(f"NextToken: expected one that an earlier answer gave, got {token!r}")
    start, size = int(token), min(asked.get("MaxRecords") or _MOST, _MOST)
    more = {"NextToken": str(start + size)} if start + size < len(items) else {}
    return {"AlarmHistoryItems": items[start : start + size], **more}
