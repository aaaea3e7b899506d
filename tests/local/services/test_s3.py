"""Policies, versions and refusals of S3 in the stand-in account."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import RunningAccount


def test_a_policy_that_asks_for_tls_lets_loopback_through_and_a_plain_deny_does_not(account: RunningAccount) -> None:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="tls-only")
    s3.put_object(Bucket="tls-only", Key="open", Body=b"1")
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::tls-only/*"}
    tls = {**statement, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    s3.put_bucket_policy(Bucket="tls-only", Policy=json.dumps({"Version": "2012-10-17", "Statement": [tls]}))
    assert s3.get_object(Bucket="tls-only", Key="open")["Body"].read() == b"1"
    assert json.loads(s3.get_bucket_policy(Bucket="tls-only")["Policy"])["Statement"] == [tls]
    s3.put_bucket_policy(Bucket="tls-only", Policy=json.dumps({"Version": "2012-10-17", "Statement": [tls, statement]}))
    with pytest.raises(ClientError, match="403"):
        s3.head_object(Bucket="tls-only", Key="open")


def test_every_version_of_an_object_is_listed(account: RunningAccount) -> None:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="versions")
    s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    for body in (b"one", b"two"):
        s3.put_object(Bucket="versions", Key="it", Body=body)
    s3.delete_object(Bucket="versions", Key="it")
    listed = s3.list_object_versions(Bucket="versions")
    bodies = [
        s3.get_object(Bucket="versions", Key="it", VersionId=v["VersionId"])["Body"].read() for v in listed["Versions"]
    ]
    assert bodies == [b"two", b"one"]
    assert len(listed["DeleteMarkers"]) == 1


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        (
            "put_object",
            {"Key": "a", "ServerSideEncryption": "WRONG"},
            "The encryption method specified is not supported",
        ),
        ("list_objects_v2", {"ContinuationToken": "bad"}, "The continuation token provided is incorrect"),
        ("list_objects_v2", {"EncodingType": "bad"}, "Invalid Encoding Method specified in Request"),
        ("copy_object", {"Key": "a", "CopySource": "bad"}, "Invalid copy source object key"),
        ("put_bucket_versioning", {"VersioningConfiguration": {}}, "The Versioning element must be specified"),
        ("get_object_retention", {"Key": "there"}, "Bucket is missing Object Lock Configuration"),
    ],
)
def test_s3_refuses_in_its_own_words(
    account: RunningAccount, method: str, options: dict[str, object], expected: str
) -> None:
    s3, name = account.client("s3"), "refusing-words"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="there", Body=b"x")
    with pytest.raises(ClientError, match=expected):
        getattr(s3, method)(Bucket=name, **options)


FOR_ALL = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::shut/*"}],
}


def test_a_new_bucket_cannot_be_made_public_until_it_is_told_otherwise(account: RunningAccount) -> None:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="shut")

    def code(call: Callable[..., object], **arguments: object) -> str:
        try:
            call(Bucket="shut", **arguments)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return ""

    everybody = 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'
    assert code(s3.put_bucket_policy, Policy=json.dumps(FOR_ALL)) == "AccessDenied"
    for call, more in (
        (s3.put_object, {"Key": "k", "Body": b"x", "ACL": "public-read"}),
        (s3.put_object, {"Key": "k", "Body": b"x", "GrantRead": everybody}),
        (s3.put_bucket_acl, {"ACL": "private"}),
    ):
        assert code(call, **more) == "AccessControlListNotSupported"
    assert code(s3.put_object, Key="k", Body=b"x", ACL="bucket-owner-full-control") == ""
    assert code(s3.put_object_acl, Key="k", ACL="public-read") == "AccessControlListNotSupported"
    s3.put_bucket_ownership_controls(
        Bucket="shut", OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    )  # fmt: skip
    assert code(s3.put_object, Key="k", Body=b"x", ACL="public-read") == "AccessDenied"
    assert code(s3.put_object_acl, Key="k", GrantRead=everybody) == "AccessDenied"
    assert code(s3.put_object_acl, Key="k", ACL="private") == ""
    s3.delete_public_access_block(Bucket="shut")
    assert code(s3.put_object_acl, Key="k", ACL="public-read") == ""
    assert code(s3.put_bucket_policy, Policy=json.dumps(FOR_ALL)) == ""


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"ACL": "public-read"}, "InvalidBucketAclWithObjectOwnership"),
        ({"ACL": "public-read", "ObjectOwnership": "ObjectWriter"}, "InvalidBucketAclWithBlockPublicAccessError"),
        ({"ACL": "private"}, ""),
        ({"ACL": "log-delivery-write", "ObjectOwnership": "ObjectWriter"}, ""),
    ],
)
def test_a_bucket_that_others_are_to_reach_is_not_made(
    account: RunningAccount, request_: dict[str, str], code: str
) -> None:
    s3, name = account.client("s3"), f"acl-{uuid.uuid4().hex[:8]}"
    try:
        s3.create_bucket(Bucket=name, **request_)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code
    assert (name in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]) is (code == "")
