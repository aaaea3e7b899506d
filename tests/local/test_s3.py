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
