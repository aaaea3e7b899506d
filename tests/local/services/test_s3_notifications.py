"""What S3 tells of objects: each thing once, with the members and the names that AWS gives them."""

from __future__ import annotations

import io
import json
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import RunningAccount
from tests.local.foreign_functions import Workshop
from tests.local.queues import Queue


class ToldBucket:
    """A bucket that tells a queue of everything, and EventBridge, which tells another one."""

    def __init__(self, account: RunningAccount, *, versions: bool = False) -> None:
        self.s3, self.name = account.client("s3"), f"told-{uuid4().hex[:12]}"
        self.s3.create_bucket(Bucket=self.name)
        if versions:
            self.s3.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})
        self.queue, self.bridged = Queue(account, self.name), Queue(account, f"{self.name}-events")
        events = account.client("events")
        pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [self.name]}}}
        events.put_rule(Name=self.name, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=self.name, Targets=[{"Id": "1", "Arn": self.bridged.arn}])
        everything = [f"s3:Object{kind}:*" for kind in ("Created", "Removed", "Tagging")] + ["s3:ObjectAcl:Put"]
        configuration = {
            "QueueConfigurations": [{"Id": "all", "QueueArn": self.queue.arn, "Events": everything}],
            "EventBridgeConfiguration": {},
        }
        self.s3.put_bucket_notification_configuration(Bucket=self.name, NotificationConfiguration=configuration)
        (trial,) = self.queue.take()
        assert json.loads(trial["Body"])["Event"] == "s3:TestEvent"

    def told(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The records and the events up to now: S3 tells in order, so nothing is missing before the last one."""
        self.s3.put_object(Bucket=self.name, Key="the-end", Body=b"")
        records: list[dict[str, Any]] = []
        while not records or records[-1]["s3"]["object"]["key"] != "the-end":
            records += [json.loads(each["Body"])["Records"][0] for each in self.queue.take()]
        events: list[dict[str, Any]] = []
        while not any(each["detail"]["object"]["key"] == "the-end" for each in events):
            events += [json.loads(each["Body"]) for each in self.bridged.take()]
        events += [json.loads(each["Body"]) for each in self.bridged.take(len(records) - len(events))]
        by_time = sorted(events, key=lambda event: records_order(records, event))
        return records[:-1], by_time[:-1]


def records_order(records: list[dict[str, Any]], event: dict[str, Any]) -> int:
    """Deliveries of EventBridge come in any order: the place of an event among the records."""
    ids = [record["responseElements"]["x-amz-request-id"] for record in records]
    return ids.index(event["detail"]["request-id"])


def test_a_put_with_tags_is_told_once_and_whole(account: RunningAccount) -> None:
    bucket = ToldBucket(account)
    bucket.s3.put_object(Bucket=bucket.name, Key="a folder/é@b.png", Body=b"four", Tagging="kind=scone")
    (record,), (event,) = bucket.told()
    assert record["s3"]["object"] == {
        "key": "a+folder/%C3%A9%40b.png",
        "size": 4,
        "eTag": "8cbad96aced40b3838dd9f07f6ef5772",
        "sequencer": record["s3"]["object"]["sequencer"],
    }
    assert record.keys() == {
        "eventVersion", "eventSource", "awsRegion", "eventTime", "eventName", "userIdentity", "requestParameters",
        "responseElements", "s3",
    }  # fmt: skip
    assert (record["eventName"], record["eventVersion"]) == ("ObjectCreated:Put", "2.1")
    assert record["s3"]["configurationId"] == "all"
    assert record["s3"]["bucket"].keys() == {"name", "arn", "ownerIdentity"}
    assert event["detail-type"] == "Object Created"
    detail = event["detail"]
    assert detail["object"] == {
        "key": "a folder/é@b.png",
        "size": 4,
        "etag": "8cbad96aced40b3838dd9f07f6ef5772",
        "sequencer": record["s3"]["object"]["sequencer"],
    }
    assert (detail["reason"], detail["requester"]) == ("PutObject", "123456789012")


def test_an_upload_in_parts_is_told_once(account: RunningAccount) -> None:
    bucket = ToldBucket(account)
    size = 9 * 1024 * 1024  # above boto3's threshold
    bucket.s3.upload_fileobj(io.BytesIO(bytes(size)), bucket.name, "source.zip")
    (record,), (event,) = bucket.told()
    assert record["eventName"] == "ObjectCreated:CompleteMultipartUpload"
    assert record["s3"]["object"]["size"] == size
    assert event["detail"]["reason"] == "CompleteMultipartUpload"


def test_copies_tags_acls_and_deletions_are_told_as_what_they_are(account: RunningAccount) -> None:
    bucket = ToldBucket(account)
    s3, named = bucket.s3, {"Bucket": bucket.name, "Key": "copy"}
    s3.put_object(Bucket=bucket.name, Key="one", Body=b"1")
    s3.copy_object(**named, CopySource={"Bucket": bucket.name, "Key": "one"})
    s3.put_object_tagging(**named, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    s3.delete_object_tagging(**named)
    s3.put_bucket_ownership_controls(
        Bucket=bucket.name, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    )  # fmt: skip
    s3.put_object_acl(**named, ACL="private")
    s3.delete_object(**named)
    s3.delete_objects(Bucket=bucket.name, Delete={"Objects": [{"Key": "one"}, {"Key": "never there"}]})
    records, events = bucket.told()
    assert [(each["eventName"], each["eventVersion"]) for each in records] == [
        ("ObjectCreated:Put", "2.1"),
        ("ObjectCreated:Copy", "2.1"),
        ("ObjectTagging:Put", "2.3"),
        ("ObjectTagging:Delete", "2.3"),
        ("ObjectAcl:Put", "2.3"),
        ("ObjectRemoved:Delete", "2.1"),
        ("ObjectRemoved:Delete", "2.1"),
    ]
    assert [each["detail-type"] for each in events] == [
        "Object Created",
        "Object Created",
        "Object Tags Added",
        "Object Tags Deleted",
        "Object ACL Updated",
        "Object Deleted",
        "Object Deleted",
    ]
    assert [each["detail"].get("reason") for each in events[1:3]] == ["CopyObject", None]
    assert events[-1]["detail"]["deletion-type"] == "Permanently Deleted"
    assert events[-1]["detail"]["object"].keys() == {"key", "sequencer"}
    assert len({each["detail"]["request-id"] for each in events}) == len({each["id"] for each in events}) == 7


def test_versions_that_go_and_delete_markers_are_told(account: RunningAccount) -> None:
    bucket = ToldBucket(account, versions=True)
    first = bucket.s3.put_object(Bucket=bucket.name, Key="k", Body=b"1")["VersionId"]
    bucket.s3.put_object(Bucket=bucket.name, Key="k", Body=b"2")
    bucket.s3.delete_object(Bucket=bucket.name, Key="k", VersionId=first)
    marker = bucket.s3.delete_object(Bucket=bucket.name, Key="k")["VersionId"]
    records, events = bucket.told()
    assert [each["eventName"] for each in records[2:]] == ["ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated"]
    assert [each["s3"]["object"].get("versionId") for each in records[2:]] == [first, marker]
    assert [each["detail"]["deletion-type"] for each in events[2:]] == ["Permanently Deleted", "Delete Marker Created"]
    assert events[3]["detail"]["object"]["etag"] == "d41d8cd98f00b204e9800998ecf8427e"


def test_a_function_gets_the_key_with_its_folders(account: RunningAccount) -> None:
    shop, s3, bucket = Workshop(account), account.client("s3"), f"trigger-{uuid4().hex[:12]}"
    s3.create_bucket(Bucket=bucket)
    code = """
import boto3
def handler(event, context):
    told = event["Records"][0]["s3"]
    body = boto3.client("s3").get_object(Bucket=told["bucket"]["name"], Key=told["object"]["key"])["Body"].read()
    boto3.client("s3").put_object(Bucket=told["bucket"]["name"], Key="out", Body=body)
"""
    function = shop.function(code, Timeout=30)
    wanted = {"Id": "1", "LambdaFunctionArn": shop.arn(function), "Events": ["s3:ObjectCreated:*"]}
    rules = [{"Name": "Prefix", "Value": "in/"}, {"Name": "suffix", "Value": ".png"}]
    request = {"LambdaFunctionConfigurations": [{**wanted, "Filter": {"Key": {"FilterRules": rules}}}]}
    with pytest.raises(ClientError, match="Unable to validate the following destination configurations"):
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=request)
    account.client("lambda").add_permission(
        FunctionName=function, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com"
    )
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=request)
    s3.put_object(Bucket=bucket, Key="in/2026/vehicle.png", Body=b"pixels")
    s3.get_waiter("object_exists").wait(Bucket=bucket, Key="out", WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
    assert s3.get_object(Bucket=bucket, Key="out")["Body"].read() == b"pixels"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"QueueArn": "invalid-queue"}, "The ARN could not be parsed"),
        ({"QueueArn": "arn:aws:sns:us-east-1:123456789012:t"}, "The ARN is not well formed"),
        ({"QueueArn": "arn:aws:sqs:us-east-1:123456789012:missing"}, "Unable to validate the following destination"),
        ({"QueueArn": "arn:aws:sqs:us-east-1:999999999999:elsewhere"}, "Unable to validate the following destination"),
        ({"Filter": {"Key": {"FilterRules": [{"Name": "INVALID", "Value": "a"}]}}}, "must be either prefix or suffix"),
        ({"Events": ["s3:ObjectEaten"]}, "is not supported for notifications"),
    ],
)
def test_a_configuration_that_would_tell_nobody_is_refused(
    account: RunningAccount, changed: dict[str, Any], message: str
) -> None:
    bucket = f"refused-{uuid4().hex[:12]}"
    account.client("s3").create_bucket(Bucket=bucket)
    wanted = {"Id": "1", "QueueArn": Queue(account, bucket).arn, "Events": ["s3:ObjectCreated:*"], **changed}
    with pytest.raises(ClientError, match=message) as caught:
        account.client("s3").put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [wanted]}
        )
    assert caught.value.response["Error"]["Code"] == "InvalidArgument"


def test_a_body_with_another_digest_and_a_bucket_of_another_owner_are_refused(account: RunningAccount) -> None:
    s3, bucket = account.client("s3"), f"promised-{uuid4().hex[:12]}"
    s3.create_bucket(Bucket=bucket)
    for promise, code in (
        ({"ContentMD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, "BadDigest"),
        ({"ContentMD5": "abc"}, "InvalidDigest"),
        ({"ChecksumSHA256": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}, "BadDigest"),
        ({"ExpectedBucketOwner": "999999999999"}, "AccessDenied"),
        ({"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}, "NotImplemented"),
    ):
        with pytest.raises(ClientError) as caught:
            s3.put_object(Bucket=bucket, Key="k", Body=b"something", **promise)
        assert caught.value.response["Error"]["Code"] == code
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
