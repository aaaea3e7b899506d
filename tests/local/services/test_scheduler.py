"""Schedules of the stand-in account fire, and those that never could are refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.queues import Queue

ROLE = "arn:aws:iam::123456789012:role/scheduler"
OFF = {"Mode": "OFF"}


def soon(seconds: float = 2) -> str:
    return f"at({(datetime.now(UTC) + timedelta(seconds=seconds)).strftime('%Y-%m-%dT%H:%M:%S')})"


@pytest.fixture
def queue(account: Any, request: pytest.FixtureRequest) -> Queue:
    return Queue(account, f"sch-{request.node.name[5:60]}")


def create(account: Any, name: str, expression: str, target: dict[str, Any], **options: Any) -> None:
    account.client("scheduler").create_schedule(
        Name=name,
        ScheduleExpression=expression,
        FlexibleTimeWindow=OFF,
        Target={"RoleArn": ROLE, **target},
        **options,
    )


def test_a_one_time_schedule_fires_once_and_goes(account: Any, queue: Queue) -> None:
    create(account, "sch-once", soon(), {"Arn": queue.arn, "Input": '{"x": 1}'}, ActionAfterCompletion="DELETE")
    assert [m["Body"] for m in queue.take()] == ['{"x": 1}']
    assert queue.take(timeout_s=0.8) == []
    with pytest.raises(ClientError) as caught:
        account.client("scheduler").get_schedule(Name="sch-once")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_without_input_the_target_gets_a_scheduled_event(account: Any, queue: Queue) -> None:
    create(account, "sch-event", soon(), {"Arn": queue.arn})
    (message,) = queue.take()
    event = json.loads(message["Body"])
    assert (event["source"], event["detail-type"]) == ("aws.scheduler", "Scheduled Event")
    assert event["resources"] == ["arn:aws:scheduler:us-east-1:123456789012:schedule/default/sch-event"]
    assert account.client("scheduler").get_schedule(Name="sch-event")["State"] == "ENABLED"


def test_the_input_is_filled_with_the_execution_s_context(account: Any, queue: Queue) -> None:
    create(account, "sch-fill", soon(), {"Arn": queue.arn, "Input": '{"at": "<aws.scheduler.scheduled-time>"}'})
    (message,) = queue.take()
    at = datetime.strptime(json.loads(message["Body"])["at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs(at - datetime.now(UTC)) < timedelta(seconds=30)


def test_a_disabled_schedule_does_not_fire(account: Any, queue: Queue) -> None:
    create(account, "sch-disabled", soon(1.5), {"Arn": queue.arn}, State="DISABLED")
    assert queue.take(timeout_s=3) == []


def test_an_updated_schedule_fires_as_it_says_now(account: Any, queue: Queue) -> None:
    create(account, "sch-update", "rate(1 day)", {"Arn": queue.arn})
    account.client("scheduler").update_schedule(
        Name="sch-update", ScheduleExpression=soon(), FlexibleTimeWindow=OFF, Target={"RoleArn": ROLE, "Arn": queue.arn}
    )
    assert len(queue.take()) == 1


@pytest.mark.parametrize(
    ("expression", "arn", "expected"),
    [
        ("every hour", "arn:aws:sqs:us-east-1:123456789012:q", "Invalid Schedule Expression"),
        ("cron(0 10 * * * *)", "arn:aws:sqs:us-east-1:123456789012:q", "Invalid Schedule Expression"),
        ("rate(1 hour)", "arn:aws:scheduler:::aws-sdk:sagemaker:createTrainingJob", "cannot deliver to"),
        ("rate(1 hour)", "arn:aws:kinesis:us-east-1:123456789012:stream/s", "cannot deliver to"),
    ],
)
def test_what_cannot_fire_is_refused(account: Any, expression: str, arn: str, expected: str) -> None:
    with pytest.raises(ClientError) as caught:
        create(account, "sch-refused", expression, {"Arn": arn})
    error = caught.value.response["Error"]
    assert error["Code"] == "ValidationException"
    assert expected in error["Message"]


def test_unknown_groups_and_time_zones_are_refused(account: Any, queue: Queue) -> None:
    with pytest.raises(ClientError) as caught:
        create(account, "sch-group", "rate(1 hour)", {"Arn": queue.arn}, GroupName="none")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"
    with pytest.raises(ClientError, match="Invalid ScheduleExpressionTimezone"):
        create(account, "sch-zone", "rate(1 hour)", {"Arn": queue.arn}, ScheduleExpressionTimezone="Mars/Olympus")


def test_a_rule_with_an_impossible_schedule_is_refused(account: Any) -> None:
    with pytest.raises(ClientError, match="Parameter ScheduleExpression is not valid"):
        account.client("events").put_rule(Name="sch-rule", ScheduleExpression="cron(99 * * * ? *)")
