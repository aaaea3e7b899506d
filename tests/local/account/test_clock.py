"""The account's own time: schedules, functions, metrics and alarms live in it, and it is moved as a whole."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from local_account.base import clock
from local_account.base.errors import AccountError
from local_account.server import control
from tests.local import conftest
from tests.local.foreign_functions import Workshop
from tests.local.queues import Queue

START = datetime(2026, 3, 1, tzinfo=UTC)
TELLS_THE_TIME = """
import json
import time
from datetime import UTC, datetime, timedelta

def handler(event, context):
    now = datetime.now(UTC)
    assert isinstance(now, datetime) and isinstance(datetime(2020, 1, 1), datetime)
    assert timedelta() < now - datetime(2020, 1, 1, tzinfo=UTC)
    return {"datetime": now.timestamp(), "time": time.time(), "left_ms": context.get_remaining_time_in_millis()}
"""


@pytest.fixture(scope="module")
def movable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[conftest.RunningAccount]:
    running = conftest.start_account(tmp_path_factory.mktemp("clock") / "state", None, "--clock", "2026-03-01T00:00Z")
    yield running
    running.stop()


def advance(account: conftest.RunningAccount, seconds: Any) -> datetime:
    return datetime.fromisoformat(control.advance_clock_at(account.state_dir, account.port, seconds)["clock"]["now"])


def test_every_answer_tells_the_account_s_time(movable: conftest.RunningAccount) -> None:
    before = advance(movable, 0)
    assert before > START
    answer = movable.client("sts").get_caller_identity()
    told = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    assert before - timedelta(seconds=1) <= told <= advance(movable, 0)


def test_a_schedule_fires_once_for_a_move_over_several_of_its_times(movable: conftest.RunningAccount) -> None:
    queue = Queue(movable, "clock-schedule")
    made = advance(movable, 0)
    movable.client("scheduler").create_schedule(
        Name="hourly",
        ScheduleExpression="rate(1 hour)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "RoleArn": "arn:aws:iam::123456789012:role/scheduler",
            "Arn": queue.arn,
            "Input": '{"at": "<aws.scheduler.scheduled-time>"}',
        },
    )
    advance(movable, 3 * 3600 + 60)
    (message,) = queue.take()
    at = datetime.fromisoformat(json.loads(message["Body"])["at"])
    assert made + timedelta(hours=1) - timedelta(seconds=2) <= at <= made + timedelta(hours=1, minutes=10)
    advance(movable, 3600)
    (message,) = queue.take()
    assert datetime.fromisoformat(json.loads(message["Body"])["at"]) > at + timedelta(hours=2)


def test_functions_live_in_the_account_s_time(movable: conftest.RunningAccount) -> None:
    shop = Workshop(movable)
    name = shop.function(TELLS_THE_TIME, Timeout=30)
    for _ in range(2):  # the second time in a process that runs already
        before = advance(movable, 86_400).timestamp()
        told, _ = shop.invoke(name)
        after = advance(movable, 0).timestamp()
        assert before <= told["datetime"] <= told["time"] <= after
        assert 0 < told["left_ms"] <= 30_000


def test_metrics_and_alarms_are_of_the_account_s_time(movable: conftest.RunningAccount) -> None:
    cloudwatch = movable.client("cloudwatch")
    before = advance(movable, 0)
    cloudwatch.put_metric_alarm(
        AlarmName="clock", Namespace="Clock", MetricName="warmth", Statistic="Maximum", Period=3600, Threshold=5,
        EvaluationPeriods=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching",
    )  # fmt: skip
    cloudwatch.put_metric_data(Namespace="Clock", MetricData=[{"MetricName": "warmth", "Value": 9}])
    assert await_state(movable, "ALARM")["StateUpdatedTimestamp"] >= before.replace(microsecond=0)
    advance(movable, 2 * 86_400)
    assert await_state(movable, "OK")["StateUpdatedTimestamp"] >= before + timedelta(days=2)


def await_state(account: conftest.RunningAccount, state: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while True:
        (found,) = account.client("cloudwatch").describe_alarms(AlarmNames=["clock"])["MetricAlarms"]
        if found["StateValue"] == state:
            return dict(found)
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


@pytest.mark.parametrize("seconds", [-1, 1e12, "soon", None])
def test_a_move_that_makes_no_sense_is_refused(movable: conftest.RunningAccount, seconds: Any) -> None:
    before = advance(movable, 0)
    with pytest.raises(AccountError):
        advance(movable, seconds)
    assert advance(movable, 0) - before < timedelta(hours=1)


def test_this_machine_s_time_is_not_moved(account: conftest.RunningAccount) -> None:
    with pytest.raises(AccountError, match="start it with --clock"):
        control.advance_clock_at(account.state_dir, account.port, 60.0)


@pytest.mark.parametrize(
    ("text", "start", "speed"),
    [
        ("now", None, 1.0),
        ("x60", None, 60.0),
        ("now@x2.5", None, 2.5),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC), 1.0),
        ("2026-11-01T00:00Z@x60", datetime(2026, 11, 1, tzinfo=UTC), 60.0),
    ],
)
def test_a_clock_is_described_by_start_and_speed(text: str, start: datetime | None, speed: float) -> None:
    assert clock.parse(text) == (start, speed)


@pytest.mark.parametrize("text", ["", "@", "60", "x", "x0", "x0.5", "x1e9", "2026-13-01", "nowx60", "2026-11-01x60"])
def test_any_other_description_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        clock.parse(text)


def test_time_passes_as_fast_as_described(tmp_path: Path) -> None:
    fast = clock.AccountClock()
    fast.make_movable(tmp_path / "clock", START, 3600.0)
    real, begun = time.time(), fast.now()
    assert begun >= START
    time.sleep(0.05)
    passed, spent = fast.now() - begun, time.time() - real
    assert timedelta(seconds=0.05 * 3600) <= passed <= timedelta(seconds=spent * 3600 + 1)
