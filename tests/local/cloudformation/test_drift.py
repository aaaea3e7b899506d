"""Drift: what somebody changed of a stack's resources is found, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import RunningAccount
from tests.local.roles import trust

CODE = "def handler(event, context):\n    return event\n"
TEMPLATE: dict[str, Any] = {
    "Resources": {
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": "31", "FifoQueue": "false"}},
        "Setting": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "as made"}},
        "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": "News"}},
        "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 7}},
        "Rule": {"Type": "AWS::Events::Rule", "Properties": {"ScheduleExpression": "rate(1 day)"}},
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {"AssumeRolePolicyDocument": json.loads(trust("lambda"))},
        },
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Handler": "index.handler", "Runtime": "python3.11", "Code": {"ZipFile": CODE}, "Timeout": 5,
                "Role": {"Fn::GetAtt": ["Role", "Arn"]}, "Environment": {"Variables": {"URL": "before"}},
            },
        },
        "Alarm": {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {
                "Namespace": "N", "MetricName": "m", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1,
                "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold",
            },
        },
    }
}  # fmt: skip


@pytest.fixture(scope="module")
def stacks(account: RunningAccount) -> Any:
    client = account.client("cloudformation")
    client.create_stack(StackName="drifting", TemplateBody=json.dumps(TEMPLATE), Capabilities=["CAPABILITY_IAM"])
    client.get_waiter("stack_create_complete").wait(StackName="drifting", WaiterConfig={"Delay": 1})
    return client


def detected(stacks: Any) -> dict[str, Any]:
    detection = stacks.detect_stack_drift(StackName="drifting")["StackDriftDetectionId"]
    told: dict[str, Any] = stacks.describe_stack_drift_detection_status(StackDriftDetectionId=detection)
    return told


def physical(stacks: Any, name: str) -> str:
    found = stacks.describe_stack_resource(StackName="drifting", LogicalResourceId=name)["StackResourceDetail"]
    return str(found["PhysicalResourceId"])


def test_a_stack_that_nobody_touched_is_in_sync_and_changes_are_found(account: RunningAccount, stacks: Any) -> None:
    told = detected(stacks)
    drifts = stacks.describe_stack_resource_drifts(StackName="drifting")["StackResourceDrifts"]
    assert [each for each in drifts if each["StackResourceDriftStatus"] != "IN_SYNC"] == []
    assert {each["LogicalResourceId"] for each in drifts} == TEMPLATE["Resources"].keys() - {"Rule"}
    assert (told["StackDriftStatus"], told["DetectionStatus"]) == ("IN_SYNC", "DETECTION_COMPLETE")
    shown = stacks.describe_stacks(StackName="drifting")["Stacks"][0]["DriftInformation"]
    assert shown["StackDriftStatus"] == "IN_SYNC"

    account.client("lambda").update_function_configuration(
        FunctionName=physical(stacks, "Function"), Timeout=6, Environment={"Variables": {"URL": "after", "MORE": "x"}}
    )
    account.client("ssm").delete_parameter(Name=physical(stacks, "Setting"))
    account.client("logs").delete_retention_policy(logGroupName=physical(stacks, "Logs"))
    told = detected(stacks)
    assert (told["StackDriftStatus"], told["DriftedStackResourceCount"]) == ("DRIFTED", 3)
    drifts = stacks.describe_stack_resource_drifts(
        StackName="drifting", StackResourceDriftStatusFilters=["MODIFIED", "DELETED"]
    )["StackResourceDrifts"]
    found = {each["LogicalResourceId"]: each for each in drifts}
    assert {name: each["StackResourceDriftStatus"] for name, each in found.items()} == {
        "Setting": "DELETED", "Logs": "MODIFIED", "Function": "MODIFIED",
    }  # fmt: skip
    differences = {
        each["PropertyPath"]: (each["DifferenceType"], each["ExpectedValue"], each["ActualValue"])
        for each in found["Function"]["PropertyDifferences"]
    }
    assert differences == {
        "/Timeout": ("NOT_EQUAL", "5", "6"),
        "/Environment/Variables/URL": ("NOT_EQUAL", "before", "after"),
        "/Environment/Variables/MORE": ("ADD", "null", "x"),
    }
    assert json.loads(found["Function"]["ExpectedProperties"])["Environment"] == {"Variables": {"URL": "before"}}


def test_the_drift_of_one_resource(stacks: Any) -> None:
    drift = stacks.detect_stack_resource_drift(StackName="drifting", LogicalResourceId="Topic")["StackResourceDrift"]
    assert (drift["StackResourceDriftStatus"], drift["PropertyDifferences"]) == ("IN_SYNC", [])
    with pytest.raises(ClientError, match="AWS::Events::Rule does not support drift detection"):
        stacks.detect_stack_resource_drift(StackName="drifting", LogicalResourceId="Rule")
    with pytest.raises(ClientError, match="Resource Nobody does not exist for stack drifting"):
        stacks.detect_stack_drift(StackName="drifting", LogicalResourceIds=["Nobody"])
    with pytest.raises(ClientError, match="does not exist"):
        stacks.describe_stack_drift_detection_status(StackDriftDetectionId="nobody")
