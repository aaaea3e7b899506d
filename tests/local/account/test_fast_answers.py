"""What the account answers without moto is what moto would answer; what differs in any way is left to moto."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import RunningAccount

OF_THE_REQUEST = {"date", "server", "x-amzn-requestid"}


@pytest.fixture
def bucket(account: RunningAccount) -> Iterator[str]:
    name = f"fast-{uuid.uuid4().hex[:12]}"
    account.client("s3").create_bucket(Bucket=name)
    yield name


def headers_of(answer: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
    return {name: value for name, value in found.items() if name not in OF_THE_REQUEST}


@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize(
    "more",
    [{}, {"ContentType": "image/png", "Metadata": {"who": "me"}}, {"Tagging": "a=b"}, {"StorageClass": "GLACIER_IR"}],
)
def test_an_object_comes_as_moto_answers_it(
    account: RunningAccount, bucket: str, more: dict[str, Any], versioned: bool
) -> None:
    s3 = account.client("s3")
    if versioned:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="a/photo.png", Body=b"some bytes", **more)
    fast = s3.get_object(Bucket=bucket, Key="a/photo.png")
    # Conditions are moto's.
    slow = s3.get_object(Bucket=bucket, Key="a/photo.png", IfNoneMatch="something-else")
    assert fast["Body"].read() == slow["Body"].read() == b"some bytes"
    assert headers_of(fast) == headers_of(slow)
    assert "access-control-allow-origin" not in fast["ResponseMetadata"]["HTTPHeaders"]


def test_what_is_not_plain_is_answered_as_ever(account: RunningAccount, bucket: str) -> None:
    s3 = account.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"first", b"second"):
        version = s3.put_object(Bucket=bucket, Key="key", Body=body)["VersionId"]
    assert s3.get_object(Bucket=bucket, Key="key", Range="bytes=1-2")["Body"].read() == b"ec"
    assert s3.get_object(Bucket=bucket, Key="key", VersionId=version)["Body"].read() == b"second"
    s3.delete_object(Bucket=bucket, Key="key")
    for key in ("key", "never-there"):
        with pytest.raises(ClientError) as gone:
            s3.get_object(Bucket=bucket, Key=key)
        assert gone.value.response["Error"]["Code"] == "NoSuchKey"
    with pytest.raises(ClientError) as gone:
        s3.get_object(Bucket=f"{bucket}-not", Key="key")
    assert gone.value.response["Error"]["Code"] == "NoSuchBucket"


def test_a_bucket_policy_still_refuses(account: RunningAccount, bucket: str) -> None:
    s3 = account.client("s3")
    s3.put_object(Bucket=bucket, Key="kept/secret", Body=b"x")
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/kept/*",
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    with pytest.raises(ClientError) as refused:
        s3.get_object(Bucket=bucket, Key="kept/secret")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert refused.value.response["Error"]["Code"] == "AccessDenied"


@pytest.mark.parametrize("state", [{"Type": "Succeed"}, {"Type": "Fail", "Error": "Wanted", "Cause": "é"}])
def test_an_execution_is_described_as_moto_does(account: RunningAccount, state: dict[str, Any]) -> None:
    states = account.client("stepfunctions")
    machine = states.create_state_machine(
        name=f"fast-{uuid.uuid4().hex[:12]}",
        definition=json.dumps({"StartAt": "Only", "States": {"Only": state}}),
        roleArn="arn:aws:iam::123456789012:role/states",
    )["stateMachineArn"]
    arn = states.start_execution(stateMachineArn=machine, input='{"a": 1}')["executionArn"]
    while states.describe_execution(executionArn=arn)["status"] == "RUNNING":
        pass
    fast = states.describe_execution(executionArn=arn)
    slow = states.describe_execution(executionArn=arn, includedData="ALL_DATA")
    assert headers_of(fast) == headers_of(slow)
    for answer in (fast, slow):
        del answer["ResponseMetadata"]
    assert fast == slow
    with pytest.raises(ClientError) as gone:
        states.describe_execution(executionArn=f"{arn}-not")
    assert gone.value.response["Error"]["Code"] == "ExecutionDoesNotExist"


def test_a_queue_counts_its_messages(account: RunningAccount) -> None:
    sqs = account.client("sqs")
    url = sqs.create_queue(QueueName=f"fast-{uuid.uuid4().hex[:12]}")["QueueUrl"]
    for seconds in (0, 0, 0, 900):
        sqs.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=seconds)
    assert len(sqs.receive_message(QueueUrl=url, VisibilityTimeout=900)["Messages"]) == 1
    names = ["", "NotVisible", "Delayed"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert [found[f"ApproximateNumberOfMessages{name}"] for name in names] == ["2", "1", "1"]
    some = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn", "ApproximateNumberOfMessages"])
    assert some["Attributes"] == {name: found[name] for name in ("QueueArn", "ApproximateNumberOfMessages")}
