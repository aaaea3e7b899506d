"""Event patterns, input transformation, schedule expressions and alarm arithmetic, on values alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local_account.cloudwatch.alarm_evaluation import AlarmRule, Sample, evaluate
from local_account.events.inputs import at_path, fill, target_input
from local_account.events.pattern_grammar import PatternError, parse_pattern
from local_account.events.patterns import matches
from local_account.events.schedule_expressions import ScheduleExpressionError, parse

EVENT = {
    "version": "0",
    "id": "1",
    "time": "2026-11-21T05:30:00Z",
    "source": "aws.sagemaker",
    "detail-type": "SageMaker Model Package State Change",
    "resources": ["arn:aws:sagemaker:us-east-1:123456789012:model-package/g/1", "arn:other"],
    "detail": {
        "ModelApprovalStatus": "Approved",
        "version": 3,
        "flag": True,
        "nothing": None,
        "empty": [],
        "ip": "10.0.0.7",
        "file": "images/a b/cat.PNG",
        "nested": {"deep": "x"},
        "items": [{"kind": "a", "size": 1}, {"kind": "b", "size": 9}],
    },
}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({"source": ["aws.sagemaker", "aws.s3"]}, True),
        ({"source": ["aws.s3"]}, False),
        ({"source": ["aws.sagemaker"], "detail": {"ModelApprovalStatus": ["Rejected"]}}, False),
        ({"resources": ["arn:other"]}, True),
        ({"resources": [{"prefix": "arn:aws:sagemaker"}]}, True),
        ({"detail": {"version": [3.0]}}, True),
        ({"detail": {"version": ["3"]}}, False),
        ({"detail": {"flag": [1]}}, False),
        ({"detail": {"flag": [True]}}, True),
        ({"detail": {"nothing": [None]}}, True),
        ({"detail": {"missing": [None]}}, False),
        ({"detail": {"missing": [{"exists": False}]}}, True),
        ({"detail": {"version": [{"exists": True}]}}, True),
        ({"detail": {"nothing": [{"exists": True}]}}, True),
        ({"detail": {"nested": [{"exists": True}]}}, False),
        ({"detail": {"absent": {"deep": [{"exists": False}]}}}, True),
        ({"detail": {"empty": [{"exists": True}]}}, False),
        ({"detail": {"version": [{"numeric": [">", 2, "<=", 3]}]}}, True),
        ({"detail": {"version": [{"numeric": [">", 3]}]}}, False),
        ({"detail": {"ModelApprovalStatus": [{"numeric": [">", 3]}]}}, False),
        ({"detail": {"ModelApprovalStatus": [{"anything-but": "Approved"}]}}, False),
        ({"detail": {"ModelApprovalStatus": [{"anything-but": ["Rejected", "Pending"]}]}}, True),
        ({"detail": {"ModelApprovalStatus": [{"anything-but": {"prefix": "Appr"}}]}}, False),
        ({"detail": {"ModelApprovalStatus": [{"anything-but": {"prefix": ["A", "B"]}}]}}, False),
        ({"detail": {"missing": [{"anything-but": "x"}]}}, False),
        ({"detail": {"file": [{"suffix": ".PNG"}]}}, True),
        ({"detail": {"file": [{"suffix": {"equals-ignore-case": ".png"}}]}}, True),
        ({"detail": {"ModelApprovalStatus": [{"equals-ignore-case": "APPROVED"}]}}, True),
        ({"detail": {"file": [{"wildcard": "images/*/*.PNG"}]}}, True),
        ({"detail": {"file": [{"wildcard": "images/*.png"}]}}, False),
        ({"detail": {"ip": [{"cidr": "10.0.0.0/24"}]}}, True),
        ({"detail": {"ip": [{"cidr": "10.1.0.0/24"}]}}, False),
        ({"detail": {"items": {"kind": ["b"], "size": [9]}}}, True),
        ({"detail": {"items": {"kind": ["a"], "size": [9]}}}, False),
        ({"$or": [{"source": ["aws.s3"]}, {"detail": {"version": [3]}}]}, True),
        ({"detail": {"$or": [{"version": [4]}, {"flag": [False]}]}}, False),
    ],
)
def test_a_pattern_matches_as_eventbridge_says(pattern: dict[str, Any], expected: bool) -> None:
    assert matches(parse_pattern(json.dumps(pattern)), EVENT) is expected


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("{", "Invalid JSON"),
        ("[]", "Filter is not an object"),
        ("{}", "Empty objects"),
        ('{"source": "aws.s3"}', "must be an object or an array"),
        ('{"source": []}', "Empty arrays"),
        ('{"source": [{"starts-with": "a"}]}', "Unrecognized match type starts-with"),
        ('{"a": [{"numeric": [">"]}]}', "numeric"),
        ('{"a": [{"exists": "yes"}]}', "exists"),
        ('{"a": [{"prefix": "x", "suffix": "y"}]}', "Only one key"),
    ],
)
def test_an_invalid_pattern_is_refused_with_its_reason(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError, match=reason):
        parse_pattern(pattern)


def test_a_path_finds_keys_with_dashes_and_indices() -> None:
    assert at_path(EVENT, "$.detail-type") == EVENT["detail-type"]
    assert at_path(EVENT, "$['detail']['items'][1].kind") == "b"
    assert at_path(EVENT, "$.detail.items[7].kind") is None
    assert at_path(EVENT, "$") == EVENT


def test_a_template_quotes_values_outside_quotes_only() -> None:
    values = {"name": 'say "hi"', "count": 3, "list": [1, "a"]}
    assert json.loads(fill('{"a": <name>, "b": "x <name> <count>", "c": <list>, "d": <count>}', values)) == {
        "a": 'say "hi"',
        "b": 'x say "hi" 3',
        "c": [1, "a"],
        "d": 3,
    }
    assert fill('"<unknown>"', values) == '"<unknown>"'


def test_the_input_of_a_target() -> None:
    assert target_input({"Input": '{"a":1}'}, EVENT, "arn") == '{"a":1}'
    assert target_input({"InputPath": "$.detail.version"}, EVENT, "arn") == "3"
    assert json.loads(target_input({}, EVENT, "arn")) == EVENT
    transformer = {
        "InputPathsMap": {"v": "$.detail.version"},
        "InputTemplate": '{"v": <v>, "r": <aws.events.rule-name>}',
    }
    assert json.loads(target_input({"InputTransformer": transformer}, EVENT, "arn:x:rule/mine")) == {
        "v": 3,
        "r": "mine",
    }


START = datetime(2026, 11, 21, 5, 30, tzinfo=UTC)  # a Saturday


@pytest.mark.parametrize(
    ("expression", "zone", "expected"),
    [
        ("rate(1 minute)", "UTC", "2026-11-21T05:31"),
        ("rate(2 hours)", "UTC", "2026-11-21T07:30"),
        ("at(2026-11-21T08:00:00)", "Europe/Berlin", "2026-11-21T07:00"),
        ("at(2026-11-21T05:00:00)", "UTC", None),
        ("cron(0 10 * * ? *)", "UTC", "2026-11-21T10:00"),
        ("cron(0 10 * * ? *)", "America/New_York", "2026-11-21T15:00"),
        ("cron(0/15 * * * ? *)", "UTC", "2026-11-21T05:45"),
        ("cron(15 10 ? * MON-FRI *)", "UTC", "2026-11-23T10:15"),
        ("cron(0 8 ? * 1 *)", "UTC", "2026-11-22T08:00"),
        ("cron(0 8 ? * L *)", "UTC", "2026-11-21T08:00"),
        ("cron(0 8 L * ? *)", "UTC", "2026-11-30T08:00"),
        ("cron(0 8 LW 2 ? 2027)", "UTC", "2027-02-26T08:00"),
        ("cron(0 8 1W 5 ? 2027)", "UTC", "2027-05-03T08:00"),
        ("cron(0 8 ? * 3#2 *)", "UTC", "2026-12-08T08:00"),
        ("cron(0 8 ? * FRIL *)", "UTC", "2026-11-27T08:00"),
        ("cron(0 0 29 2 ? *)", "UTC", "2028-02-29T00:00"),
        ("cron(0 0 31 2 ? 2027)", "UTC", None),
        ("cron(0 0 1 1 ? 2020)", "UTC", None),
    ],
)
def test_a_schedule_s_next_time(expression: str, zone: str, expected: str | None) -> None:
    due = parse(expression, zone=zone, start=START).next_after(START)
    assert (due and due.strftime("%Y-%m-%dT%H:%M")) == expected


def test_the_hour_that_daylight_saving_skips_does_not_fire_and_the_double_one_fires_once() -> None:
    spring = parse("cron(30 2 * * ? *)", zone="Europe/Berlin", start=START)
    assert spring.next_after(datetime(2027, 3, 27, 12, tzinfo=UTC)) == datetime(2027, 3, 29, 0, 30, tzinfo=UTC)
    first = spring.next_after(datetime(2027, 10, 30, 12, tzinfo=UTC))
    assert first == datetime(2027, 10, 31, 0, 30, tzinfo=UTC)
    assert spring.next_after(first) == datetime(2027, 11, 1, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "expression",
    [
        "rate(1 minutes)",
        "rate(0 hours)",
        "rate(5 weeks)",
        "cron(0 10 * * * *)",
        "cron(0 10 * * ?)",
        "cron(61 10 * * ? *)",
        "cron(0 10 ? * FOO *)",
        "at(tomorrow)",
        "every day",
    ],
)
def test_an_invalid_schedule_is_refused(expression: str) -> None:
    with pytest.raises(ScheduleExpressionError):
        parse(expression, start=START, allow_at=expression.startswith("at"))
    with pytest.raises(ScheduleExpressionError):
        parse("rate(1 minute)", zone="Mars/Olympus", start=START)


NOW = datetime(2026, 11, 21, 5, 30, 30, tzinfo=UTC)


def rule(**changes: Any) -> AlarmRule:
    settings = {
        "comparison": "GreaterThanThreshold",
        "threshold": 10.0,
        "statistic": "Average",
        "period_s": 60,
        "evaluation_periods": 3,
        "datapoints_to_alarm": 2,
    }
    return AlarmRule(**{**settings, **changes})


def samples(*values: float | None) -> list[Sample]:
    """One value a minute, the last one in the running minute."""
    newest = NOW.replace(second=0)
    return [
        Sample(newest - timedelta(minutes=len(values) - 1 - i), 1, value, value, value)
        for i, value in enumerate(values)
        if value is not None
    ]


@pytest.mark.parametrize(
    ("values", "changes", "state"),
    [
        ((1, 1, 1), {}, "OK"),
        ((1, 11, 11), {}, "ALARM"),
        ((11, 1, 1), {}, "OK"),
        ((), {}, "INSUFFICIENT_DATA"),
        ((), {"missing": "notBreaching"}, "OK"),
        ((), {"missing": "breaching"}, "ALARM"),
        ((), {"missing": "ignore"}, None),
        ((None, 11, None), {"missing": "breaching"}, "ALARM"),
        ((None, None, 11), {"missing": "notBreaching"}, "OK"),
        ((11, 11, None, None), {}, "ALARM"),  # the range reaches back beyond the missing periods
        ((20, 0, 5), {"statistic": "Maximum", "datapoints_to_alarm": 1}, "ALARM"),
        ((1, 1, 1), {"comparison": "LessThanOrEqualToThreshold", "threshold": 1}, "ALARM"),
    ],
)
def test_an_alarm_s_state(values: tuple[float | None, ...], changes: dict[str, Any], state: str | None) -> None:
    assert evaluate(rule(**changes), samples(*values), NOW).state == state


def test_percentiles_and_statistic_sets() -> None:
    values = [Sample(NOW, 1, v, v, v) for v in range(1, 101)]
    one = {"evaluation_periods": 1, "datapoints_to_alarm": 1}
    assert evaluate(rule(statistic="p99", **one), values, NOW).points[0].value == 99
    sets = [Sample(NOW, 4, 40, 5, 15), Sample(NOW, 1, 20, 20, 20)]
    assert evaluate(rule(statistic="Average", **one), sets, NOW).points[0].value == 12
    assert evaluate(rule(statistic="SampleCount", **one), sets, NOW).points[0].value == 5
    assert evaluate(rule(statistic="p50", **one), sets, NOW).state == "INSUFFICIENT_DATA"
