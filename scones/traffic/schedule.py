"""The schedule of the reports: what is set, and setting it.

Runs on a laptop or in CodeBuild. Reads and writes the stage's schedule in EventBridge Scheduler, and switches the alarm
about missing reports with it. A deployment leaves alone what a person set, until the stage file says something new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from botocore.exceptions import ClientError

from scones.errors import SconesError
from scones.stage.connection import Connection
from scones.stage.monitoring_settings import OFF, every_of, schedule_expression

if TYPE_CHECKING:
    from types_boto3_scheduler.literals import ScheduleStateType
    from types_boto3_scheduler.type_defs import GetScheduleOutputTypeDef, UpdateScheduleInputTypeDef


class _Choice(TypedDict):
    """What of a schedule a person decides, and a deployment sets."""

    ScheduleExpression: str
    State: ScheduleStateType


@dataclass(frozen=True)
class ReportSchedule:
    """``every`` as in the stage file, where it is one of those; else the expression. ``stage_file``: what that says."""

    name: str
    every: str
    expression: str
    window_hours: int
    stage_file: str

    def __str__(self) -> str:
        what = "no reports on schedule" if self.every == OFF else f"a report every {self.every}"
        says = "" if self.every == self.stage_file else f" (the stage file says {self.stage_file})"
        return f"{what}{says}, about {self.window_hours} hours each"


def current(connection: Connection) -> ReportSchedule:
    """What is set. SconesError when the stage is not deployed."""
    return _schedule(connection, _find(connection))


def change(connection: Connection, every: str) -> ReportSchedule:
    """Set it to 1h to 24h, or off."""
    found = _find(connection)
    if every == OFF:
        return _put(connection, {**found, "State": "DISABLED"})
    return _put(connection, {**found, "State": "ENABLED", "ScheduleExpression": schedule_expression(every)})


@contextmanager
def kept(connection: Connection, say: Callable[[str], None]) -> Iterator[None]:
    """What a person set outlives what is done meanwhile.

    CloudFormation leaves the schedule alone as long as the template says the same of it; a change of anything of it, or
    a rollback, sets all of it anew.
    """
    before = _found(connection)
    by_hand = before is not None and _decides(before) != _of_the_stack(connection)
    try:
        yield
    finally:
        now = _found(connection)
        if before and now and by_hand and _decides(now) != _decides(before):
            say(f"schedule put back as it was set by hand: {_put(connection, {**now, **_decides(before)})}")


def _of_the_stack(connection: Connection) -> _Choice:
    """What the last deployment set."""
    (stack,) = connection.client("cloudformation").describe_stacks(StackName=connection.names.stack)["Stacks"]
    given = {p["ParameterKey"]: p["ParameterValue"] for p in stack["Parameters"]}
    # A removal that was not finished has switched off whatever starts something.
    on = given["Triggers"] == given["MonitoringState"] == "ENABLED"
    return {"ScheduleExpression": given["MonitoringExpression"], "State": "ENABLED" if on else "DISABLED"}


def _decides(found: UpdateScheduleInputTypeDef) -> _Choice:
    return {"ScheduleExpression": found["ScheduleExpression"], "State": found.get("State", "ENABLED")}


def _find(connection: Connection) -> UpdateScheduleInputTypeDef:
    found = _found(connection)
    if found is None:
        raise SconesError(f"schedule {connection.names.monitoring_schedule} does not exist: run `scones deploy` first")
    return found


def _found(connection: Connection) -> UpdateScheduleInputTypeDef | None:
    try:
        answer = connection.client("scheduler").get_schedule(Name=connection.names.monitoring_schedule)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return None
    return _request(answer)


def _request(found: GetScheduleOutputTypeDef) -> UpdateScheduleInputTypeDef:
    """What sets a schedule to what it is: UpdateSchedule resets whatever is not given."""
    request: UpdateScheduleInputTypeDef = {
        "Name": found["Name"],
        "ScheduleExpression": found["ScheduleExpression"],
        "State": found["State"],
        "FlexibleTimeWindow": found["FlexibleTimeWindow"],
        "Target": found["Target"],
    }
    if "ActionAfterCompletion" in found:
        request["ActionAfterCompletion"] = found["ActionAfterCompletion"]
    if "Description" in found:
        request["Description"] = found["Description"]
    if "EndDate" in found:
        request["EndDate"] = found["EndDate"]
    if "GroupName" in found:
        request["GroupName"] = found["GroupName"]
    if "KmsKeyArn" in found:
        request["KmsKeyArn"] = found["KmsKeyArn"]
    if "ScheduleExpressionTimezone" in found:
        request["ScheduleExpressionTimezone"] = found["ScheduleExpressionTimezone"]
    if "StartDate" in found:
        request["StartDate"] = found["StartDate"]
    return request


def _put(connection: Connection, wanted: UpdateScheduleInputTypeDef) -> ReportSchedule:
    connection.client("scheduler").update_schedule(**wanted)
    alarms = [connection.names.missing_reports_alarm]
    cloudwatch = connection.client("cloudwatch")
    if wanted.get("State") == "ENABLED":
        cloudwatch.enable_alarm_actions(AlarmNames=alarms)
    else:
        cloudwatch.disable_alarm_actions(AlarmNames=alarms)
    return _schedule(connection, wanted)


def _schedule(connection: Connection, found: UpdateScheduleInputTypeDef) -> ReportSchedule:
    settings = connection.settings.monitoring
    every = every_of(found["ScheduleExpression"]) if found.get("State") == "ENABLED" else OFF
    return ReportSchedule(found["Name"], every, found["ScheduleExpression"], settings.window_hours, settings.every)
