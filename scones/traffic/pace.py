"""How time passes while traffic is simulated: as it does, or moved from step to step in a stand-in account.

Runs on a laptop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from scones.durations import duration
from scones.stage.connection import Connection
from scones.stage.monitoring_settings import every_of

START_LIMIT_S = 600.0  # until a report that is due has been started: a cold start of a function on a busy machine


class Pace(Protocol):
    """How time passes: `step` at once, then all wait until its end."""

    step: timedelta

    def now(self) -> datetime:
        """Return the time in UTC."""

    def pass_until(self, moment: datetime) -> None:
        """Come back when that time has come."""


class RealTime:
    """An hour takes an hour."""

    step = timedelta(minutes=1)

    def now(self) -> datetime:
        """Return this machine's time."""
        return datetime.now(UTC)

    def pass_until(self, moment: datetime) -> None:
        """Sleep until then."""
        time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))


class MovedTime:
    """Moves the account's clock to the end of each step; time stands still while a monitoring report is written.

    ``move`` moves it by some seconds and answers what it says then; ``at_rest`` waits, and is told that time.
    """

    step = timedelta(minutes=30)

    def __init__(self, move: Callable[[float], datetime], at_rest: Callable[[datetime], None]) -> None:
        self._move, self._at_rest = move, at_rest

    def now(self) -> datetime:
        """Return the account's time."""
        return self._move(0.0)

    def pass_until(self, moment: datetime) -> None:
        """Move the account's clock, and wait while a report is written."""
        self._at_rest(self._move(max(0.0, (moment - self.now()).total_seconds())))


def await_reports(connection: Connection, now: datetime) -> None:
    """Wait until the report that fell due last has been started, and none is being written."""
    due = _last_due(connection, now)
    sagemaker = connection.client("sagemaker")
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        found = sagemaker.list_pipeline_executions(
            PipelineName=connection.names.monitoring_pipeline, SortOrder="Descending", MaxResults=10
        )["PipelineExecutionSummaries"]
        started = due is None or any(each["StartTime"] >= due for each in found) or time.monotonic() > deadline
        if started and not any(each["PipelineExecutionStatus"] == "Executing" for each in found):
            return
        time.sleep(connection.settings.poll_interval_s)


def _last_due(connection: Connection, now: datetime) -> datetime | None:
    """None where reports are written by hand, or none was due yet."""
    schedule = connection.client("scheduler").get_schedule(Name=connection.names.monitoring_schedule)
    every = every_of(schedule["ScheduleExpression"])
    if schedule["State"] != "ENABLED" or every == schedule["ScheduleExpression"]:
        return None
    created: datetime = schedule["CreationDate"]
    last = created + (now - created) // duration(every) * duration(every)
    return last if last > max(created, schedule["LastModificationDate"]) else None
