"""Alarms of the stand-in account react to data and act."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_account.cloudwatch.alarm_math import Expression
from tests.local.queues import Queue

NAMESPACE = "Foreign"


@pytest.fixture(scope="module")
def topic(account: Any) -> tuple[str, Queue]:
    queue = Queue(account, "cw-topic")
    arn = account.client("sns").create_topic(Name="cw-topic")["TopicArn"]
    account.client("sns").subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue.arn)
    return arn, queue


def alarm(account: Any, name: str, **changes: Any) -> None:
    settings = {
        "AlarmName": name,
        "Namespace": NAMESPACE,
        "MetricName": name,
        "Statistic": "Maximum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    wanted = {key: value for key, value in {**settings, **changes}.items() if value is not None}
    account.client("cloudwatch").put_metric_alarm(**wanted)


def described(account: Any, name: str) -> dict[str, Any]:
    (found,) = account.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return dict(found)


def until(account: Any, name: str, state: str, timeout_s: float = 300) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while (found := described(account, name))["StateValue"] != state:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def put(account: Any, name: str, *values: float, **more: Any) -> None:
    account.client("cloudwatch").put_metric_data(
        Namespace=NAMESPACE, MetricData=[{"MetricName": name, "Value": value, **more} for value in values]
    )


def test_an_alarm_starts_without_data_and_turns_when_data_breaches(account: Any, topic: tuple[str, Queue]) -> None:
    arn, queue = topic
    events = Queue(account, "cw-events")
    account.client("events").put_rule(
        Name="cw-rule", EventPattern='{"source": ["aws.cloudwatch"], "detail": {"alarmName": ["cw-high"]}}'
    )
    account.client("events").put_targets(Rule="cw-rule", Targets=[{"Id": "1", "Arn": events.arn}])
    alarm(account, "cw-high", AlarmActions=[arn], AlarmDescription="too high")
    assert described(account, "cw-high")["StateValue"] == "INSUFFICIENT_DATA"
    put(account, "cw-high", 0.5)
    until(account, "cw-high", "OK")
    put(account, "cw-high", 5)
    found = until(account, "cw-high", "ALARM")
    assert found["StateReason"].startswith("Threshold Crossed: 1 datapoint [5.0 (")
    assert "was greater than the threshold (1.0)" in found["StateReason"]
    assert json.loads(found["StateReasonData"])["recentDatapoints"] == [5.0]

    (message,) = queue.take()
    notice = json.loads(json.loads(message["Body"])["Message"])
    assert (notice["AlarmName"], notice["OldStateValue"], notice["NewStateValue"]) == ("cw-high", "OK", "ALARM")
    assert notice["Trigger"]["MetricName"] == "cw-high"
    seen = [json.loads(m["Body"]) for m in events.take(2)]
    changes = [(e["detail"]["previousState"]["value"], e["detail"]["state"]["value"]) for e in seen]
    assert sorted(changes) == [("INSUFFICIENT_DATA", "OK"), ("OK", "ALARM")]  # EventBridge promises no order
    assert seen[0]["detail-type"] == "CloudWatch Alarm State Change"


def test_dimensions_keep_metrics_apart(account: Any) -> None:
    alarm(account, "cw-dim", Dimensions=[{"Name": "Stage", "Value": "a"}])
    put(account, "cw-dim", 9, Dimensions=[{"Name": "Stage", "Value": "b"}])
    put(account, "cw-dim", 0, Dimensions=[{"Name": "Stage", "Value": "a"}])
    until(account, "cw-dim", "OK")


def test_a_percentile_alarm(account: Any) -> None:
    alarm(account, "cw-p90", Statistic=None, ExtendedStatistic="p90", Threshold=89)
    put(account, "cw-p90", *range(1, 101))
    until(account, "cw-p90", "ALARM")
    now = datetime.now(UTC)
    metric = {"Namespace": NAMESPACE, "MetricName": "cw-p90"}
    queries = [
        {"Id": name, "MetricStat": {"Metric": metric, "Period": 3600, "Stat": name}} for name in ("p50", "p90", "p99.9")
    ]
    found = account.client("cloudwatch").get_metric_data(
        MetricDataQueries=queries, StartTime=now - timedelta(minutes=30), EndTime=now + timedelta(minutes=29)
    )["MetricDataResults"]
    assert {each["Id"]: each["Values"] for each in found} == {"p50": [50], "p90": [90], "p99.9": [100]}


def test_treat_missing_data(account: Any) -> None:
    alarm(account, "cw-missing-ok", TreatMissingData="notBreaching")
    alarm(account, "cw-missing-bad", TreatMissingData="breaching")
    until(account, "cw-missing-ok", "OK")
    until(account, "cw-missing-bad", "ALARM")


def test_a_state_set_by_hand_acts_too(account: Any, topic: tuple[str, Queue]) -> None:
    arn, queue = topic
    alarm(account, "cw-hand", OKActions=[arn], TreatMissingData="ignore")
    account.client("cloudwatch").set_alarm_state(AlarmName="cw-hand", StateValue="OK", StateReason="tried")
    (message,) = queue.take()
    assert json.loads(json.loads(message["Body"])["Message"])["NewStateReason"] == "tried"


def test_a_compressed_request_is_read(account: Any) -> None:
    client = account.client("cloudwatch")
    seen: dict[str, str] = {}
    client.meta.events.register("before-send.cloudwatch", lambda request, **_: seen.update(request.headers) or None)
    data = [{"MetricName": "cw-gzip", "Value": float(i), "Timestamp": datetime.now(UTC)} for i in range(600)]
    client.put_metric_data(Namespace=NAMESPACE, MetricData=data)
    encoding = {key.lower(): value for key, value in seen.items()}["content-encoding"]
    assert encoding in ("gzip", b"gzip")
    metrics = client.get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName="cw-gzip",
        StartTime=time.time() - 300,
        EndTime=time.time() + 60,
        Period=600,
        Statistics=["SampleCount"],
    )
    assert sum(point["SampleCount"] for point in metrics["Datapoints"]) == 600


def test_alarms_that_nothing_here_evaluates_are_refused(account: Any) -> None:
    with pytest.raises(ClientError, match="stand-in account"):
        alarm(
            account, "cw-band", ComparisonOperator="LessThanLowerOrGreaterThanUpperThreshold", ThresholdMetricId="ad1"
        )
    for expression in ("ANOMALY_DETECTION_BAND(m1)", "RATE(m1)", "m1 +", "m1 / unknown", "[m1, m1]", "METRICS() / m1"):
        with pytest.raises(ClientError, match=r"metric math|cannot be read|refers to|several"):
            math_alarm(account, "cw-refused", {"m1": "Sum"}, expression)
    with pytest.raises(ClientError, match="the statistic tm99"):
        math_alarm(account, "cw-refused", {"m1": "tm99"}, "m1")
    with pytest.raises(ClientError, match="Exactly one query"):
        math_alarm(account, "cw-refused", {"m1": "Sum"}, "m1", ReturnData=False)


def math_alarm(account: Any, name: str, stats: dict[str, str], expression: str, **expressed: Any) -> None:
    """An alarm on metrics ``<name>-<id>``."""
    queries: list[dict[str, Any]] = [
        {
            "Id": key,
            "MetricStat": {
                "Metric": {"Namespace": NAMESPACE, "MetricName": f"{name}-{key}"},
                "Period": 60,
                "Stat": stat,
            },
            "ReturnData": False,
        }
        for key, stat in stats.items()
    ]
    queries.append({"Id": "e1", "Expression": expression, **expressed})
    without = dict.fromkeys(("Namespace", "MetricName", "Statistic", "Period"))
    alarm(account, name, Metrics=queries, TreatMissingData="notBreaching", **{"Threshold": 0.05, **without})


def test_metric_math_compares_a_rate(account: Any, topic: tuple[str, Queue]) -> None:
    stats = {"errors": "Sum", "all": "Sum"}
    math_alarm(account, "cw-rate", stats, "IF(all >= 10, FILL(errors, 0) / all, 0)")
    put(account, "cw-rate-errors", 1)
    put(account, "cw-rate-all", 5)
    until(account, "cw-rate", "OK")
    put(account, "cw-rate-all", 95)
    put(account, "cw-rate-errors", 9)
    found = until(account, "cw-rate", "ALARM")
    assert "[0.1 (" in found["StateReason"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a + b * 2", (5.0, None, 3.0)),
        ("a / b", (0.5, None, None)),
        ("100 * (a - 1) ^ 2", (0.0, 100.0, 400.0)),
        ("FILL(b, 0)", (2.0, 0.0, 0.0)),
        ("FILL(b, REPEAT) + FILL(a, 9)", (3.0, 4.0, 3.0)),
        ("SUM([a, b])", (3.0, 2.0, 3.0)),
        ("SUM(METRICS()) + 1", (4.0, 3.0, 4.0)),
        ('AVG(METRICS("a"))', (1.0, 2.0, 3.0)),
        ("AVG(a)", (2.0, 2.0, 2.0)),
        ("IF(a > 1 AND a < 3, 7)", (None, 7.0, None)),
        ("IF(b == 2 || a == 3, a, 0)", (1.0, None, 3.0)),
        ("-MAX([a, b])", (-2.0, -2.0, -3.0)),
    ],
)
def test_metric_math(expression: str, expected: tuple[float | None, ...]) -> None:
    series = {"a": (1.0, 2.0, 3.0), "b": (2.0, None, 0.0)}
    found = Expression(expression).over(series, ["a", "b"])
    assert found == expected


def test_alarms_survive_a_restart(fresh_account: Callable[..., Any]) -> None:
    first = fresh_account()
    alarm(first, "cw-kept", TreatMissingData="breaching")
    until(first, "cw-kept", "ALARM")
    time.sleep(1.5)  # state is written once a second
    first.stop()
    second = fresh_account(first.state_dir)
    assert described(second, "cw-kept")["StateValue"] == "ALARM"


def read(account: Any, name: str, *stats: tuple[str, int], **more: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    metric = {"Namespace": NAMESPACE, "MetricName": name}
    queries = [
        {"Id": f"q{number}", "MetricStat": {"Metric": metric, "Stat": stat, "Period": period, **more}}
        for number, (stat, period) in enumerate(stats)
    ]
    answer: dict[str, Any] = account.client("cloudwatch").get_metric_data(
        MetricDataQueries=queries, StartTime=now - timedelta(hours=1), EndTime=now + timedelta(minutes=1)
    )
    return answer


def test_values_of_several_units_are_kept_apart(account: Any) -> None:
    put(account, "cw-units", 1, Unit="Seconds")
    put(account, "cw-units", 60_000, Unit="Milliseconds")
    put(account, "cw-units", 7)
    answer = read(account, "cw-units", ("Sum", 3600))
    (result,) = answer["MetricDataResults"]
    assert (answer["Messages"], result["Values"]) == ([], [60_000])
    assert result["Messages"] == [
        {"Code": "MultipleUnits", "Value": "Multiple units returned: '[Milliseconds, None, Seconds]'"}
    ]
    assert read(account, "cw-units", ("Sum", 3600), Unit="None")["MetricDataResults"][0]["Values"] == [7]
    now = datetime.now(UTC)
    told = account.client("cloudwatch").get_metric_statistics(
        Namespace=NAMESPACE, MetricName="cw-units", Period=3600, ExtendedStatistics=["p50"],
        StartTime=now - timedelta(hours=1), EndTime=now + timedelta(minutes=1),
    )["Datapoints"]  # fmt: skip
    assert {each["Unit"]: each["ExtendedStatistics"]["p50"] for each in told} == {
        "Milliseconds": 60_000, "None": 7, "Seconds": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "labels"),
    [
        ([("Sum", 60)], ["cw-labels"]),
        ([("Sum", 60), ("Sum", 60)], ["cw-labels", "cw-labels"]),
        ([("Sum", 60), ("Minimum", 60)], ["cw-labels Sum", "cw-labels Minimum"]),
        ([("Sum", 60), ("Sum", 300)], ["cw-labels 60", "cw-labels 300"]),
        ([("Sum", 60), ("Minimum", 300)], ["cw-labels Sum 60", "cw-labels Minimum 300"]),
    ],
)
def test_a_label_tells_what_sets_a_result_apart(account: Any, asked: list[tuple[str, int]], labels: list[str]) -> None:
    assert [each["Label"] for each in read(account, "cw-labels", *asked)["MetricDataResults"]] == labels


def test_alarms_of_a_metric_are_those_that_ask_the_same_of_it(account: Any) -> None:
    dimensions = [{"Name": "Stage", "Value": "a"}]
    alarm(account, "cw-of-plain", MetricName="cw-of")
    alarm(account, "cw-of-stage", MetricName="cw-of", Dimensions=dimensions)
    alarm(account, "cw-of-sum", MetricName="cw-of", Dimensions=dimensions, Statistic="Sum")
    metric = {"Namespace": NAMESPACE, "MetricName": "cw-of"}

    def names(**asked: Any) -> list[str]:
        found = account.client("cloudwatch").describe_alarms_for_metric(**metric, **asked)["MetricAlarms"]
        return sorted(each["AlarmName"] for each in found)

    assert names() == ["cw-of-plain"]
    assert names(Dimensions=dimensions) == ["cw-of-stage", "cw-of-sum"]
    assert names(Dimensions=dimensions, Statistic="Sum", Period=60) == ["cw-of-sum"]
    assert "Metrics" not in described(account, "cw-of-plain")


def test_values_that_count_many_times_are_kept_once(account: Any) -> None:
    client, at = account.client("cloudwatch"), datetime.now(UTC)
    often = {"MetricName": "often", "Values": [1.0, 5.0, 9.0], "Counts": [1e12, 3e12, 1.0], "Timestamp": at}
    client.put_metric_data(Namespace="Counted", MetricData=[often])
    found = client.get_metric_statistics(
        Namespace="Counted", MetricName="often", StartTime=at - timedelta(hours=1), EndTime=at + timedelta(hours=1),
        Period=7200, Statistics=["Sum", "SampleCount", "Minimum", "Maximum"],
    )["Datapoints"]  # fmt: skip
    assert [(p["Sum"], p["SampleCount"], p["Minimum"], p["Maximum"]) for p in found] == [
        (16e12 + 9, 4e12 + 1, 1.0, 9.0)
    ]


@pytest.mark.parametrize("period", [1, 7, 45, 61])
def test_an_alarm_has_a_period_that_cloudwatch_evaluates(account: Any, period: int) -> None:
    with pytest.raises(ClientError, match="Period must be 10, 20, 30 or a multiple of 60"):
        account.client("cloudwatch").put_metric_alarm(
            AlarmName="odd", MetricName="m", Namespace="n", Statistic="Sum", Period=period, EvaluationPeriods=1,
            Threshold=1, ComparisonOperator="GreaterThanThreshold",
        )  # fmt: skip


def test_a_metric_without_a_name_is_refused(account: Any) -> None:
    query = {"Id": "m", "MetricStat": {"Metric": {"Namespace": "n"}, "Period": 60, "Stat": "Sum"}}
    with pytest.raises(ClientError, match=r"member\.1\.MetricStat\.Metric\.MetricName is required"):
        account.client("cloudwatch").get_metric_data(
            MetricDataQueries=[query], StartTime=datetime.now(UTC) - timedelta(hours=1), EndTime=datetime.now(UTC)
        )
