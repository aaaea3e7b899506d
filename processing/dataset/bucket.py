"""Objects in S3 that a job reads by itself, because a list or a label names them.

Runs in the filter job. The account and its address come from the environment, as everywhere with boto3.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from reporting.job import JobError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

SCHEME = "s3://"


def split_address(address: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``. Raises JobError."""
    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    if not address.startswith(SCHEME) or not bucket:
        raise JobError(f"expected an address such as s3://BUCKET/KEY, got {address[:200]!r}")
    return bucket, key


@functools.cache
def s3_client() -> S3Client:
    """One for the job: clients may be shared between threads."""
    import boto3  # most sources do not need it, and it takes a third of a second to import

    client: S3Client = boto3.client("s3")
    return client


def read_object(address: str, most_bytes: int) -> bytes:
    """An object's content. Raises JobError when it cannot be read or is larger than ``most_bytes``."""
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, key = split_address(address)
    try:
        content = s3_client().get_object(Bucket=bucket, Key=key)["Body"].read(most_bytes + 1)
    except (ClientError, BotoCoreError) as error:
        raise JobError(f"{address} cannot be read: {error}") from error
    if len(content) > most_bytes:
        raise JobError(f"{address} has more than {most_bytes:,} bytes")
    return content
