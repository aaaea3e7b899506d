"""Bucket policies in the stand-in account."""

from __future__ import annotations

import json

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
