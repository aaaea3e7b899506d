"""A whole stage comes and goes: what its template says is there, and nothing stays that costs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import RunningAccount
from tests.local.workflow_stage import ACCOUNT, BUCKET, PREFIX, Shop

TAGS = {"project": "scones", "stage": "local", "deployment": PREFIX}
ALARMS = {"workflow-failures", "batch-failures", "function-errors", "review-dead-letters", "review-age"}


def scones(account: RunningAccount, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = account.environment() | {"SCONES_HOME": str(account.state_dir.parent)}
    command = [str(Path(sys.executable).with_name("scones")), *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def document(answer: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert answer.returncode == 0, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def tags(found: list[dict[str, str]], key: str = "Key", value: str = "Value") -> dict[str, str]:
    return {tag[key]: tag[value] for tag in found}


def test_one_key_that_rotates_encrypts_the_stage(shop: Shop) -> None:
    kms = shop.account.client("kms")
    key = kms.describe_key(KeyId=f"alias/{PREFIX}-data")["KeyMetadata"]
    assert (key["KeyManager"], key["KeyState"]) == ("CUSTOMER", "Enabled")
    assert kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"] is True
    policy = json.loads(kms.get_key_policy(KeyId=key["KeyId"], PolicyName="default")["Policy"])
    assert [s["Sid"] for s in policy["Statement"]][:2] == ["LetTheAccountsPoliciesDecide", "EncryptLogs"]
    assert tags(kms.list_resource_tags(KeyId=key["KeyId"])["Tags"], "TagKey", "TagValue") == TAGS
    secret = kms.encrypt(KeyId=f"alias/{PREFIX}-data", Plaintext=b"bicycle")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=secret)["Plaintext"] == b"bicycle"

    s3 = shop.account.client("s3")
    (rule,) = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key["Arn"]}
    assert rule["BucketKeyEnabled"] is True
    shop.put("encryption/one.txt", b"one")
    head = s3.head_object(Bucket=BUCKET, Key="encryption/one.txt")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key["Arn"])

    pages = shop.account.client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix="/aws/")
    groups = [group for page in pages for group in page["logGroups"] if PREFIX in group["logGroupName"]]
    stacks = [group for group in groups if not group["logGroupName"].startswith("/aws/sagemaker/")]
    assert len(stacks) >= 8
    assert {(group["retentionInDays"], group["kmsKeyId"]) for group in stacks} == {(30, key["Arn"])}


def test_who_has_to_know_is_told(shop: Shop) -> None:
    sns, topic = shop.account.client("sns"), f"arn:aws:sns:us-east-1:{ACCOUNT}:{PREFIX}-notifications"
    attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert attributes["KmsMasterKeyId"]
    assert "budgets.amazonaws.com" in attributes["Policy"]
    assert tags(sns.list_tags_for_resource(ResourceArn=topic)["Tags"]) == TAGS
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []  # the stage names nobody

    cloudwatch = shop.account.client("cloudwatch")
    alarms = cloudwatch.describe_alarms(AlarmNamePrefix=PREFIX)["MetricAlarms"]
    assert {alarm["AlarmName"].removeprefix(f"{PREFIX}-") for alarm in alarms} >= ALARMS
    assert {tuple(alarm["AlarmActions"] or alarm["InsufficientDataActions"]) for alarm in alarms} == {(topic,)}
    body = json.loads(cloudwatch.get_dashboard(DashboardName=PREFIX)["DashboardBody"])
    titles = [widget["properties"]["title"] for widget in body["widgets"]]
    assert {"Traffic", "Errors", "Confidence", "Review queue", "Alarms"} <= set(titles)
    assert "${" not in json.dumps(body)

    budgets = shop.account.client("budgets")
    budget = budgets.describe_budget(AccountId=ACCOUNT, BudgetName=PREFIX)["Budget"]
    assert (budget["BudgetLimit"], budget["TimeUnit"]) == ({"Amount": "100", "Unit": "USD"}, "MONTHLY")
    assert budget["CostFilters"] == {"TagKeyValue": [f"user:deployment${PREFIX}"]}
    found = budgets.describe_notifications_for_budget(AccountId=ACCOUNT, BudgetName=PREFIX)["Notifications"]
    assert [(n["NotificationType"], n["Threshold"]) for n in found] == [
        ("ACTUAL", 80.0),
        ("ACTUAL", 100.0),
        ("FORECASTED", 100.0),
    ]


def test_everything_carries_the_stage_s_tags(shop: Shop) -> None:
    client = shop.account.client
    assert tags(client("s3").get_bucket_tagging(Bucket=BUCKET)["TagSet"]) == TAGS
    assert client("lambda").get_function(FunctionName=f"{PREFIX}-classify-image")["Tags"] == TAGS
    assert client("sqs").list_queue_tags(QueueUrl=queue_url(client("sqs")))["Tags"] == TAGS
    pipeline = client("sagemaker").describe_pipeline(PipelineName=f"{PREFIX}-training")
    assert tags(client("sagemaker").list_tags(ResourceArn=pipeline["PipelineArn"])["Tags"]) == TAGS
    role = pipeline["RoleArn"].rpartition("/")[2]
    assert tags(client("iam").list_role_tags(RoleName=role)["Tags"]) == TAGS


def queue_url(sqs: Any) -> str:
    url: str = sqs.get_queue_url(QueueName=f"{PREFIX}-review")["QueueUrl"]
    return url


def test_a_failure_and_a_message_put_aside_raise_their_alarms(shop: Shop) -> None:
    missing = {"s3_bucket": BUCKET, "s3_key": "incoming/no-such-image.png"}
    assert shop.run(f"{PREFIX}-inference-workflow", missing)["status"] == "FAILED"
    sqs = shop.account.client("sqs")
    dead_letters = sqs.get_queue_url(QueueName=f"{PREFIX}-review-dead-letters")["QueueUrl"]
    sqs.send_message(QueueUrl=dead_letters, MessageBody="put aside")
    wait_until(lambda: {"workflow-failures", "function-errors", "review-dead-letters"} <= alarming(shop), 90)
    sqs.purge_queue(QueueUrl=dead_letters)


def alarming(shop: Shop) -> set[str]:
    found = shop.account.client("cloudwatch").describe_alarms(AlarmNamePrefix=PREFIX, StateValue="ALARM")
    return {alarm["AlarmName"].removeprefix(f"{PREFIX}-") for alarm in found["MetricAlarms"]}


def wait_until(true: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.2)


def test_each_step_of_the_pipelines_runs_with_a_role_of_its_own(shop: Shop) -> None:
    sagemaker = shop.account.client("sagemaker")
    pipeline = sagemaker.describe_pipeline(PipelineName=f"{PREFIX}-training")
    steps = {step["Name"]: step for step in json.loads(pipeline["PipelineDefinition"])["Steps"]}
    roles = [steps[name]["Arguments"]["RoleArn"] for name in ("FilterClasses", "TrainModel", "EvaluateModel")]
    assert len({*roles, pipeline["RoleArn"]}) == 4


def test_deploying_again_changes_nothing(shop: Shop) -> None:
    answer = scones(shop.account, "deploy", "--json")
    found = document(answer)
    assert (found["deployed"], found["changes"]) == (True, [])
    assert found["outputs"]["data_bucket"] == BUCKET
    assert f"stack {PREFIX} is up to date" in answer.stderr
    assert "created" not in answer.stderr


@pytest.mark.slow
def test_a_failed_deployment_can_be_looked_at_before_and_removed_after(
    fresh_account: Callable[[], RunningAccount],
) -> None:
    account = fresh_account()
    planned = scones(account, "deploy", "--plan", "--json")
    plan = document(planned)
    assert plan["deployed"] is False
    assert {change["action"] for change in plan["changes"]} == {"add"}
    assert {"DataBucket", "DataKey", "Workflow"} <= {change["logical_id"] for change in plan["changes"]}
    assert "nothing" not in planned.stderr
    assert account.client("cloudformation").describe_stacks()["Stacks"] == []

    logs = account.client("logs")
    taken = f"/aws/lambda/{PREFIX}-classify-image"
    logs.create_log_group(logGroupName=taken)
    failed = scones(account, "deploy")
    assert failed.returncode == 1
    line = failed.stderr.strip().splitlines()[-1]
    assert "ClassifyImageLogs" in line
    assert "already exists" in line

    refused = scones(account, "destroy")
    assert refused.returncode == 1
    assert "there is nobody to ask: use --yes" in refused.stderr
    done = document(scones(account, "destroy", "--yes", "--json"))
    assert f"stack {PREFIX}" in done["removed"]
    assert f"log group {taken}" in done["removed"]
    assert account.client("s3").list_buckets()["Buckets"] == []
    assert account.client("cloudformation").describe_stacks()["Stacks"] == []
    with pytest.raises(ClientError, match="Unable to get budget"):
        account.client("budgets").describe_budget(AccountId=ACCOUNT, BudgetName=PREFIX)

    again = scones(account, "destroy", "--yes", "--json")
    assert document(again) == {"removed": [], "kept": []}
    assert "was left to remove" in again.stderr
