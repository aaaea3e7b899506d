"""S3's versions, parts and conditions on copies, by boto3."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import RunningAccount

UNKNOWN = "Zb5dPmQ0vKcR3nYxT7wL1sHfJ8gUaE2i"


@pytest.fixture(scope="module")
def s3(account: RunningAccount) -> Any:
    return account.client("s3")


@pytest.fixture
def bucket(s3: Any, request: pytest.FixtureRequest) -> str:
    name = f"versions-{abs(hash(request.node.name))}"
    s3.create_bucket(Bucket=name)
    return name


def keep_versions(s3: Any, bucket: str, status: str = "Enabled") -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


def refused(call: Any, **request: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    return {**caught.value.response["Error"], "Status": caught.value.response["ResponseMetadata"]["HTTPStatusCode"]}


def body(s3: Any, **request: Any) -> bytes:
    content: bytes = s3.get_object(**request)["Body"].read()
    return content


def test_an_object_without_versions_outlives_the_removal_of_a_version(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    for call in (s3.delete_object, s3.get_object):
        error = refused(call, Bucket=bucket, Key="k", VersionId=UNKNOWN)
        assert (error["Code"], error["ArgumentValue"]) == ("InvalidArgument", UNKNOWN)
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "VersionId": UNKNOWN}]})
    assert [(each["Code"], each["VersionId"]) for each in answer["Errors"]] == [("NoSuchVersion", UNKNOWN)]
    assert body(s3, Bucket=bucket, Key="k", VersionId="null") == b"kept"


def test_a_delete_marker_is_no_object(s3: Any, bucket: str) -> None:
    keep_versions(s3, bucket)
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"one")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    error = refused(s3.get_object, Bucket=bucket, Key="k", VersionId=marker)
    assert (error["Code"], error["ResourceType"], error["Status"]) == ("MethodNotAllowed", "DeleteMarker", 405)
    assert refused(s3.delete_bucket, Bucket=bucket)["Message"].endswith("delete all versions in the bucket.")
    assert s3.delete_object(Bucket=bucket, Key="k", VersionId=marker)["DeleteMarker"] is True
    assert "DeleteMarker" not in s3.delete_object(Bucket=bucket, Key="k", VersionId=first)
    error = refused(s3.get_object, Bucket=bucket, Key="k", VersionId=first)
    assert (error["Code"], error["Key"], error["VersionId"]) == ("NoSuchVersion", "k", first)
    assert s3.delete_object(Bucket=bucket, Key="never there")["DeleteMarker"] is True


def test_a_bucket_that_no_longer_keeps_versions_has_the_ones_it_kept(s3: Any, bucket: str) -> None:
    keep_versions(s3, bucket)
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"one")["VersionId"]
    keep_versions(s3, bucket, "Suspended")
    s3.put_object(Bucket=bucket, Key="k", Body=b"two")
    s3.put_object(Bucket=bucket, Key="k", Body=b"three")
    assert body(s3, Bucket=bucket, Key="k") == b"three"
    assert body(s3, Bucket=bucket, Key="k", VersionId=first) == b"one"
    gone = s3.delete_object(Bucket=bucket, Key="k")
    assert (gone["VersionId"], gone["DeleteMarker"]) == ("null", True)
    assert refused(s3.get_object, Bucket=bucket, Key="k")["Code"] == "NoSuchKey"
    s3.delete_object(Bucket=bucket, Key="k", VersionId="null")
    assert body(s3, Bucket=bucket, Key="k") == b"one"


def test_the_parts_of_an_object_are_read_one_at_a_time(s3: Any, bucket: str) -> None:
    upload = {
        "Bucket": bucket,
        "Key": "parts",
        "UploadId": s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"],
    }
    contents = [b"a" * 5 * 1024 * 1024, b"end"]
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=content)["ETag"]}
        for number, content in enumerate(contents, 1)
    ]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    second = s3.get_object(Bucket=bucket, Key="parts", PartNumber=2)
    assert (second["Body"].read(), second["PartsCount"]) == (b"end", 2)
    assert second["ContentRange"] == f"bytes {len(contents[0])}-{len(contents[0]) + 2}/{len(contents[0]) + 3}"
    assert s3.head_object(Bucket=bucket, Key="parts", PartNumber=1)["ContentLength"] == len(contents[0])
    error = refused(s3.get_object, Bucket=bucket, Key="parts", PartNumber=3)
    assert (error["Code"], error["Status"], error["ActualPartCount"]) == ("InvalidPartNumber", 416, "2")
    error = refused(s3.get_object, Bucket=bucket, Key="parts", PartNumber=1, Range="bytes=0-1")
    assert error["Code"] == "InvalidRequest"


EARLY, LATE = datetime(2001, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("condition", "failed"),
    [
        ({"CopySourceIfMatch": "{etag}"}, None),
        ({"CopySourceIfMatch": "other"}, "If-Match"),
        ({"CopySourceIfNoneMatch": "{etag}"}, "If-None-Match"),
        ({"CopySourceIfModifiedSince": EARLY}, None),
        ({"CopySourceIfModifiedSince": LATE}, "If-Modified-Since"),
        ({"CopySourceIfUnmodifiedSince": LATE}, None),
        ({"CopySourceIfUnmodifiedSince": EARLY}, "If-Unmodified-Since"),
        ({"CopySourceIfMatch": "{etag}", "CopySourceIfUnmodifiedSince": EARLY}, None),
    ],
)
def test_a_copy_waits_for_its_conditions(s3: Any, bucket: str, condition: dict[str, Any], failed: str | None) -> None:
    etag = s3.put_object(Bucket=bucket, Key="source", Body=b"content")["ETag"]
    given = {name: value if value != "{etag}" else etag for name, value in condition.items()}
    request = {"Bucket": bucket, "Key": "copy", "CopySource": {"Bucket": bucket, "Key": "source"}, **given}
    if failed is None:
        s3.copy_object(**request)
        assert body(s3, Bucket=bucket, Key="copy") == b"content"
        return
    error = refused(s3.copy_object, **request)
    assert (error["Code"], error["Condition"]) == ("PreconditionFailed", f"x-amz-copy-source-{failed}")
    assert refused(s3.get_object, Bucket=bucket, Key="copy")["Code"] == "NoSuchKey"
