"""Composite alarms follow the states of other alarms, and what became of an alarm is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.console_stage import until
from tests.local.conftest import RunningAccount
from tests.local.queues import Queue

SETTINGS: dict[str, Any] = {
    "Namespace": "Composite", "MetricName": "m", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1,
    "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "ignore",
}  # fmt: skip


@pytest.fixture(scope="module")
def cloudwatch(account: RunningAccount) -> Any:
    client = account.client("cloudwatch")
    for name in ("co-one", "co-two"):
        client.put_metric_alarm(AlarmName=name, **SETTINGS)
    return client


def turn(cloudwatch: Any, name: str, state: str) -> None:
    cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="by hand")


def composite(cloudwatch: Any, name: str) -> dict[str, Any]:
    (found,) = cloudwatch.describe_alarms(AlarmNames=[name], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    return dict(found)


def refused(call: Any, **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    return str(caught.value.response["Error"]["Message"])


def test_a_composite_alarm_follows_its_rule_and_acts(account: RunningAccount, cloudwatch: Any) -> None:
    queue = Queue(account, "co-told")
    topic = account.client("sns").create_topic(Name="co-topic")["TopicArn"]
    account.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    two = cloudwatch.describe_alarms(AlarmNames=["co-two"])["MetricAlarms"][0]["AlarmArn"]
    rule = f'ALARM("co-one") AND NOT (OK({two}) OR INSUFFICIENT_DATA(co-two))'
    cloudwatch.put_composite_alarm(AlarmName="co-both", AlarmRule=rule, AlarmActions=[topic], AlarmDescription="both")
    cloudwatch.put_composite_alarm(AlarmName="co-above", AlarmRule="ALARM(co-both)")
    made = composite(cloudwatch, "co-both")
    assert (made["StateValue"], made["AlarmRule"]) == ("OK", rule)
    assert made["StateReason"] == f"{made['AlarmArn']} was created and its alarm rule evaluates to OK"
    turn(cloudwatch, "co-one", "ALARM")
    assert composite(cloudwatch, "co-both")["StateValue"] == "OK"
    turn(cloudwatch, "co-two", "ALARM")
    found = composite(cloudwatch, "co-both")
    assert found["StateValue"] == composite(cloudwatch, "co-above")["StateValue"] == "ALARM"
    assert found["StateReason"].startswith(f"{two} transitioned to ALARM at ")
    assert json.loads(found["StateReasonData"])["triggeringAlarms"][0]["arn"] == two

    (message,) = queue.take()
    notice = json.loads(json.loads(message["Body"])["Message"])
    assert (notice["AlarmRule"], notice["NewStateValue"], "Trigger" in notice) == (rule, "ALARM", False)
    assert {each["State"]["Value"] for each in notice["TriggeringChildren"]} == {"ALARM"}
    turn(cloudwatch, "co-two", "OK")
    assert composite(cloudwatch, "co-above")["StateValue"] == "OK"

    def told() -> list[str]:
        items = cloudwatch.describe_alarm_history(AlarmName="co-both", ScanBy="TimestampAscending")
        return [each["HistorySummary"] for each in items["AlarmHistoryItems"]]

    until(lambda: len(told()) == 5, "its action is noted")
    assert told()[:3] == [
        'Alarm "co-both" created', "Alarm updated from INSUFFICIENT_DATA to OK", "Alarm updated from OK to ALARM",
    ]  # fmt: skip
    assert f"Successfully executed action {topic}" in told()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("ALARM(co-missing)", "as alarms [co-missing] in the alarm rule do not exist"),
        ("ALARM(arn:aws:cloudwatch:us-east-1:210987654321:alarm:co-one)", "in the alarm rule do not exist"),
        ("ALARM(co-one) XOR OK(co-two)", "AlarmRule cannot be read: unexpected 'XOR'"),
        ("ALARM(co-self)", "leads to alarm [co-self] itself"),
    ],
)
def test_a_rule_that_leads_nowhere_is_refused(cloudwatch: Any, rule: str, expected: str) -> None:
    if "co-self" in rule:
        cloudwatch.put_composite_alarm(AlarmName="co-self", AlarmRule="OK(co-one)")
    assert expected in refused(cloudwatch.put_composite_alarm, AlarmName="co-self", AlarmRule=rule)


def test_an_alarm_that_a_rule_needs_stays(cloudwatch: Any) -> None:
    cloudwatch.put_metric_alarm(AlarmName="co-needed", **SETTINGS)
    cloudwatch.put_composite_alarm(AlarmName="co-needs", AlarmRule="OK(co-needed)")
    assert refused(cloudwatch.delete_alarms, AlarmNames=["co-needed"]) == (
        "Cannot delete co-needed as there are composite alarm(s) depending on it."
    )
    cloudwatch.delete_alarms(AlarmNames=["co-needs", "co-needed"])
    items = cloudwatch.describe_alarm_history(AlarmName="co-needed", HistoryItemType="ConfigurationUpdate")
    assert [json.loads(each["HistoryData"])["type"] for each in items["AlarmHistoryItems"]] == ["Delete", "Create"]


def test_history_is_told_in_pages_and_by_type(cloudwatch: Any) -> None:
    cloudwatch.put_metric_alarm(AlarmName="co-paged", **SETTINGS)
    for state in ("ALARM", "OK", "OK", "ALARM"):
        turn(cloudwatch, "co-paged", state)
    pages = cloudwatch.get_paginator("describe_alarm_history").paginate(
        AlarmName="co-paged", HistoryItemType="StateUpdate", PaginationConfig={"PageSize": 2}
    )
    data = [json.loads(each["HistoryData"]) for page in pages for each in page["AlarmHistoryItems"]]
    changes = [(each["oldState"]["stateValue"], each["newState"]["stateValue"]) for each in data]
    assert changes == [("OK", "ALARM"), ("ALARM", "OK"), ("INSUFFICIENT_DATA", "ALARM")]
    assert data[-1]["oldState"] == {
        "stateValue": "INSUFFICIENT_DATA", "stateReason": "Unchecked: Initial alarm creation",
    }  # fmt: skip
    with pytest.raises(ClientError, match="InvalidNextToken"):
        cloudwatch.describe_alarm_history(NextToken="nowhere")
