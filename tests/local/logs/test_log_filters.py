"""Filter patterns of CloudWatch Logs: what is found, what becomes metrics and alarms, what functions are handed."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import RunningAccount
from tests.local.foreign_functions import Workshop

WEB = '127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534'
EVENT = json.dumps(
    {
        "eventType": "UpdateTrail", "status": 404, "latency": 0.5, "user": {"email": "John.Doe@example.com"},
        "users": [{"id": 1}, {"id": 2}], "ok": True, "no": None, "special.key": "x", "ip": "10.0.1.7",
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def group(account: RunningAccount) -> str:
    account.client("logs").create_log_group(logGroupName="/filters")
    account.client("logs").create_log_stream(logGroupName="/filters", logStreamName="s")
    return "/filters"


def put(account: RunningAccount, group: str, *messages: str) -> None:
    now = int(time.time() * 1000)
    events = [{"timestamp": now, "message": message} for message in messages]
    account.client("logs").put_log_events(logGroupName=group, logStreamName="s", logEvents=events)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", "anything"),
        (" ", "anything"),
        ("[]", "any words"),
        ("ERROR", "[ERROR 400] BAD REQUEST"),
        ("ERROR 400", "[ERROR 400] BAD REQUEST"),
        ("ERROR -WARN", "ERROR alone"),
        ("?ERROR ?WARN", "WARN only"),
        ('"BAD REQUEST" -"GOOD ONE"', "[ERROR 400] BAD REQUEST"),
        ("%AUTHORIZED%", "[ERROR 401] UNAUTHORIZED REQUEST"),
        ('{ $.eventType = "UpdateTrail" }', EVENT),
        ("{ $.eventType = Update* && $.user.email = %^John% }", EVENT),
        ("{ ($.status = 500) || ($.users[1].id = 2) }", EVENT),
        ("{ $.users[*].id >= 2 && $.latency < 1e0 }", EVENT),
        ("{ $.ok IS TRUE && $.no IS NULL && $.nothing NOT EXISTS && $.eventType EXISTS }", EVENT),
        (r"{ $.['special.key'] = x && $.ip = %^10\.0\.[12]\.% && $.status != 500 }", EVENT),
        ("[ip, id, user, at, request=*.html*, status=4*, bytes>1000]", WEB),
        ("[ip=127*, ..., status=404 || status=410, bytes]", WEB),
        ("[..., bytes]", WEB),
    ],
)
def test_a_pattern_finds_what_it_says(account: RunningAccount, pattern: str, message: str) -> None:
    others = ["INFO nothing of it", '{"status": 200, "eventType": "Other"}']
    found = account.client("logs").test_metric_filter(filterPattern=pattern, logEventMessages=[message, *others])
    numbers = [match["eventNumber"] for match in found["matches"]]
    everything = pattern.strip() in {"", "[]", "[..., bytes]"}
    assert numbers == ([1, 2, 3] if everything else [1])


def test_the_fields_that_a_pattern_names_are_told(account: RunningAccount) -> None:
    logs = account.client("logs")
    words = logs.test_metric_filter(filterPattern="[ip, ..., bytes]", logEventMessages=[WEB])["matches"][0]
    assert words["extractedValues"] == {"$ip": "127.0.0.1", "$bytes": "1534"}
    fields = logs.test_metric_filter(filterPattern="{ $.status > 1 && $.ok EXISTS }", logEventMessages=[EVENT])
    assert fields["matches"][0]["extractedValues"] == {"$.status": "404", "$.ok": "true"}


@pytest.mark.parametrize(
    "pattern",
    ["{ $.a = }", "{ $.a = 1", "{ a = 1 }", '"open', "[a,", "[a, a]", "[a, ..., b, ...]", "{ $.a > x }", "{ $.a ~ 1 }",
     "%(group)%", "{ }", "{ $ = 1 }", "[a=1 && b=2]", "{ ($.a = 1 }", "{ $.a IS 3 }", "{" + "(" * 200 + "}"],
)  # fmt: skip
def test_a_pattern_that_is_none_is_refused_wherever_it_is_given(
    account: RunningAccount, group: str, pattern: str
) -> None:
    logs = account.client("logs")
    metric = {"metricName": "m", "metricNamespace": "n", "metricValue": "1"}
    refused = logs.exceptions.InvalidParameterException
    with pytest.raises(refused, match="Invalid filter pattern"):
        logs.filter_log_events(logGroupName=group, filterPattern=pattern)
    with pytest.raises(refused, match="Invalid filter pattern"):
        logs.test_metric_filter(filterPattern=pattern, logEventMessages=["x"])
    with pytest.raises(refused, match="Invalid filter pattern"):
        logs.put_metric_filter(
            logGroupName=group, filterName="bad", filterPattern=pattern, metricTransformations=[metric]
        )
    assert not logs.describe_metric_filters(logGroupName=group, filterNamePrefix="bad")["metricFilters"]


def test_events_are_searched_by_every_kind_of_pattern(account: RunningAccount, group: str) -> None:
    put(account, group, EVENT, WEB, "?question")
    logs = account.client("logs")

    def found(pattern: str) -> list[str]:
        return [e["message"] for e in logs.filter_log_events(logGroupName=group, filterPattern=pattern)["events"]]

    assert found("{ $.status = 404 }") == [EVENT]
    assert found("[..., status=404, bytes]") == [WEB]
    assert found('"?question"') == ["?question"]
    with pytest.raises(logs.exceptions.InvalidParameterException, match="The specified nextToken is invalid"):
        logs.filter_log_events(logGroupName=group, nextToken="unknown")


def test_a_metric_filter_counts_and_measures_what_arrives(account: RunningAccount, group: str) -> None:
    logs = account.client("logs")
    for name, pattern, value, more in (
        ("errors", "{ $.level = ERROR }", "1", {"defaultValue": 0.0}),
        ("latency", "{ $.ms EXISTS }", "$.ms", {"unit": "Milliseconds", "dimensions": {"Path": "$.path"}}),
    ):
        metric = {"metricName": name, "metricNamespace": "Shop:Web", "metricValue": value, **more}
        logs.put_metric_filter(
            logGroupName=group, filterName=name, filterPattern=pattern, metricTransformations=[metric]
        )
    put(account, group, '{"level": "ERROR", "ms": 12, "path": "/a"}', '{"level": "INFO", "ms": 30, "path": "/a"}')
    put(account, group, '{"level": "ERROR"}', "no JSON", '{"ms": "slow", "path": "/a"}')
    assert total(account, "errors") == 2.0
    assert total(account, "latency", {"Path": "/a"}) == 42.0
    kept = logs.describe_metric_filters(metricName="errors", metricNamespace="Shop:Web")["metricFilters"]
    assert [(each["filterName"], each["applyOnTransformedLogs"]) for each in kept] == [("errors", False)]
    assert kept[0]["creationTime"] > 0
    assert group_of(account, group)["metricFilterCount"] == 2
    logs.delete_metric_filter(logGroupName=group, filterName="errors")
    put(account, group, '{"level": "ERROR"}')
    assert total(account, "errors") == 2.0
    # A filter of the same name takes the place of the one that is there.
    metric = {"metricName": "latency", "metricNamespace": "Shop:Web", "metricValue": "7"}
    logs.put_metric_filter(logGroupName=group, filterName="latency", filterPattern="", metricTransformations=[metric])
    assert len(logs.describe_metric_filters(logGroupName=group)["metricFilters"]) == 1
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.put_metric_filter(logGroupName="/none", filterName="f", filterPattern="", metricTransformations=[metric])


def group_of(account: RunningAccount, name: str) -> dict[str, object]:
    return dict(account.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"][0])


def total(account: RunningAccount, name: str, dimensions: dict[str, str] | None = None) -> float:
    now = datetime.now(UTC)
    found = account.client("cloudwatch").get_metric_statistics(
        Namespace="Shop:Web", MetricName=name, StartTime=now - timedelta(hours=1), EndTime=now + timedelta(hours=1),
        Period=7200, Statistics=["Sum"], Dimensions=[{"Name": n, "Value": v} for n, v in (dimensions or {}).items()],
    )  # fmt: skip
    return float(sum(point["Sum"] for point in found["Datapoints"]))


def test_an_alarm_goes_off_by_what_a_function_logs(account: RunningAccount, group: str) -> None:
    metric = {"metricName": "refused", "metricNamespace": "Alarmed", "metricValue": "1"}
    account.client("logs").put_metric_filter(
        logGroupName=group, filterName="refused", filterPattern='"below the threshold"', metricTransformations=[metric]
    )
    account.client("cloudwatch").put_metric_alarm(
        AlarmName="refusals", MetricName="refused", Namespace="Alarmed", Statistic="Sum", Period=60,
        EvaluationPeriods=1, Threshold=1.0, ComparisonOperator="GreaterThanOrEqualToThreshold",
    )  # fmt: skip
    put(account, group, "confidence 0.7 is below the threshold")
    deadline = time.monotonic() + 30
    while (
        account.client("cloudwatch").describe_alarms(AlarmNames=["refusals"])["MetricAlarms"][0]["StateValue"]
        != "ALARM"
    ):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_groups_are_listed_by_a_regular_expression(account: RunningAccount, group: str) -> None:
    logs = account.client("logs")
    found = logs.list_log_groups(logGroupNamePattern="^/filters|^/none")["logGroups"]
    assert [each["logGroupName"] for each in found] == [group]
    assert found[0].keys() == {"logGroupName", "logGroupArn", "logGroupClass"}
    assert not logs.list_log_groups(logGroupNamePattern="no-match")["logGroups"]


@pytest.mark.parametrize("call", ["create_log_group", "describe_metric_filters", "describe_subscription_filters"])
def test_a_name_that_is_too_long_is_refused_in_the_services_words(account: RunningAccount, call: str) -> None:
    with pytest.raises(ClientError) as refused:
        getattr(account.client("logs"), call)(logGroupName="X" * 513)
    assert refused.value.response["Error"] == {
        "Code": "InvalidParameterException",
        "Message": "Invalid LogGroup or LogStream, both must have length less than or equal to 512.",
    }


ECHO = """
import base64, gzip, json
def handler(event, context):
    told = json.loads(gzip.decompress(base64.b64decode(event["awslogs"]["data"])))
    print("handed", [each["message"] for each in told["logEvents"]], told["subscriptionFilters"])
"""


def test_a_function_is_handed_what_a_subscription_s_pattern_matches(account: RunningAccount, group: str) -> None:
    shop, logs = Workshop(account), account.client("logs")
    name = shop.function(ECHO)
    request = {"logGroupName": group, "filterName": "to-function", "filterPattern": "{ $.level = ERROR }"}
    with pytest.raises(logs.exceptions.InvalidParameterException, match="given CloudWatch Logs permission"):
        logs.put_subscription_filter(**request, destinationArn=shop.arn(name))
    assert not logs.describe_subscription_filters(logGroupName=group)["subscriptionFilters"]
    account.client("lambda").add_permission(
        FunctionName=name, StatementId="logs", Action="lambda:InvokeFunction", Principal="logs.us-east-1.amazonaws.com",
        SourceArn=f"arn:aws:logs:us-east-1:123456789012:log-group:{group}:*",
    )  # fmt: skip
    logs.put_subscription_filter(**request, destinationArn=shop.arn(name))
    put(account, group, "no JSON", '{"level": "INFO"}')
    put(account, group, '{"level": "ERROR", "n": 1}', '{"level": "INFO"}')
    told = [line for line in shop.log_of(f"/aws/lambda/{name}", "handed") if "handed" in line]
    assert [line.strip() for line in told] == ['handed [\'{"level": "ERROR", "n": 1}\'] [\'to-function\']']
    # What is gone is handed nothing, and the events are taken in all the same.
    account.client("lambda").delete_function(FunctionName=name)
    put(account, group, '{"level": "ERROR", "n": 2}')
    assert logs.filter_log_events(logGroupName=group, filterPattern="{ $.n = 2 }")["events"]
    logs.delete_subscription_filter(logGroupName=group, filterName="to-function")


TEMPLATE = {
    "Resources": {
        "Group": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/stacked"}},
        "Stream": {
            "Type": "AWS::Logs::LogStream", "Properties": {"LogGroupName": {"Ref": "Group"}, "LogStreamName": "s"},
        },
        "Filter": {
            "Type": "AWS::Logs::MetricFilter",
            "Properties": {
                "LogGroupName": {"Ref": "Group"}, "FilterPattern": "{ $.ms EXISTS }",
                "MetricTransformations": [
                    {"MetricName": "ms", "MetricNamespace": "Stacked", "MetricValue": "$.ms", "Unit": "Milliseconds",
                     "Dimensions": [{"Key": "Path", "Value": "$.path"}]}
                ],
            },
        },
    },
    "Outputs": {"Filter": {"Value": {"Ref": "Filter"}}, "Stream": {"Value": {"Ref": "Stream"}}},
}  # fmt: skip


def test_stacks_have_streams_and_filters(account: RunningAccount) -> None:
    stacks, logs = account.client("cloudformation"), account.client("logs")
    stacks.create_stack(StackName="logged", TemplateBody=json.dumps(TEMPLATE))
    stacks.get_waiter("stack_create_complete").wait(StackName="logged", WaiterConfig={"Delay": 1})
    outputs = {
        o["OutputKey"]: o["OutputValue"] for o in stacks.describe_stacks(StackName="logged")["Stacks"][0]["Outputs"]
    }
    kept = logs.describe_metric_filters(logGroupName="/stacked")["metricFilters"]
    assert [each["filterName"] for each in kept] == [outputs["Filter"]]
    assert kept[0]["metricTransformations"][0]["dimensions"] == {"Path": "$.path"}
    assert outputs["Stream"] == "s"
    put(account, "/stacked", '{"ms": 3, "path": "/a"}')
    changed = json.loads(json.dumps(TEMPLATE).replace("$.ms EXISTS", "$.ms > 5"))
    stacks.update_stack(StackName="logged", TemplateBody=json.dumps(changed))
    stacks.get_waiter("stack_update_complete").wait(StackName="logged", WaiterConfig={"Delay": 1})
    kept = logs.describe_metric_filters(logGroupName="/stacked")["metricFilters"]
    assert [(each["filterName"], each["filterPattern"]) for each in kept] == [(outputs["Filter"], "{ $.ms > 5 }")]
    stacks.delete_stack(StackName="logged")
    stacks.get_waiter("stack_delete_complete").wait(StackName="logged", WaiterConfig={"Delay": 1})
    assert not logs.describe_log_groups(logGroupNamePrefix="/stacked")["logGroups"]
    assert not logs.describe_metric_filters(filterNamePrefix=outputs["Filter"])["metricFilters"]
