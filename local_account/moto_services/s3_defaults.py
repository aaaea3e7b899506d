"""What S3 says of every bucket and object, and moto only where somebody set it: encryption, checksums, who owns.

Runs in the server process. Since January 2023 S3 encrypts each object (SSE-S3), since April 2023 a new bucket blocks
public access and has no access control lists (S3 User Guide, "Default encryption FAQ" and "Default settings for new
buckets FAQ"). `s3_access` holds requests to them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from moto.s3.models import PublicAccessBlock

from local_account.moto_services.s3_access import ENFORCED

if TYPE_CHECKING:
    from moto.s3.models import FakeBucket

BUCKET_ENCRYPTION: dict[str, object] = {
    "Rule": {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": "false"}
}
ENCRYPTION = "x-amz-server-side-encryption"
_CHECKSUM = re.compile(r"x-amz-checksum-(crc32c?|crc64nvme|sha1|sha256)", re.IGNORECASE)
# Addresses of what belongs to an object, and is not encrypted as it is.
_BESIDE = {"acl", "tagging", "retention", "legal-hold", "torrent", "restore", "attributes", "select"}
_LISTED = re.compile(r"<Contents>.*?</Contents>", re.DOTALL)
_ALGORITHM = re.compile(r"(<ChecksumAlgorithm>[^<]*</ChecksumAlgorithm>)(?!\s*<ChecksumType>)")
_COPIED = re.compile(
    r"(<Checksum(?:CRC32C?|CRC64NVME|SHA1|SHA256)>[^<]*</Checksum\w+>)(?=.*</CopyObjectResult>)", re.DOTALL
)
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'


def new_bucket(bucket: FakeBucket) -> None:
    """Give a bucket what each new one has."""
    bucket.public_access_block = PublicAccessBlock(True, True, True, True)
    bucket.ownership_rule = ENFORCED  # type: ignore[assignment]  # as moto keeps that of the request


def of_object(
    method: str, query: str, status: int, headers: dict[str, str], bucket: FakeBucket | None
) -> dict[str, str]:
    """The headers of an answer about an object of a bucket, with its encryption and the kind of its checksum."""
    asked = parse_qs(query, keep_blank_values=True)
    is_whole = not asked.keys() & _BESIDE and not (method in {"GET", "DELETE"} and "uploadId" in asked)
    if status not in {200, 206} or method == "DELETE" or not is_whole:
        return headers
    headers = {name: value for name, value in headers.items() if (name.lower(), value) != ("x-amz-version-id", "null")}
    known = {name.lower() for name in headers}
    added = {} if ENCRYPTION in known else {ENCRYPTION: _default_of(bucket)}
    if "uploadId" not in asked and any(map(_CHECKSUM.fullmatch, known)) and "x-amz-checksum-type" not in known:
        added["x-amz-checksum-type"] = "FULL_OBJECT"
    return {**headers, **added}


def _default_of(bucket: FakeBucket | None) -> str:
    rule = bucket.encryption["Rule"] if bucket is not None and bucket.encryption else BUCKET_ENCRYPTION["Rule"]
    return str(rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"])  # type: ignore[index]


def of_list(content: str) -> str:
    """A list of objects, with the kinds of their checksums; those of parts are what they are."""
    return _LISTED.sub(_listed, content)


def _listed(match: re.Match[str]) -> str:
    item = match[0]
    is_whole = not re.search(r"<ETag>[^<]*-\d+[^<]*</ETag>", item)
    return _ALGORITHM.sub(r"\1<ChecksumType>FULL_OBJECT</ChecksumType>", item) if is_whole else item


def of_copy(content: str) -> str:
    """The result of a copy, with the kind of its checksum."""
    return _COPIED.sub(r"\1<ChecksumType>FULL_OBJECT</ChecksumType>", content)


def retention(bucket: FakeBucket | None, headers: dict[str, str]) -> tuple[int, str]:
    """GetObjectRetention of an object with these headers, which moto answers with the object: a status and XML."""
    mode, until = headers.get("x-amz-object-lock-mode"), headers.get("x-amz-object-lock-retain-until-date")
    if bucket is None or not bucket.object_lock_enabled:
        return 400, _error("InvalidRequest", "Bucket is missing Object Lock Configuration")
    if not mode or not until:
        message = "The specified object does not have a ObjectLock configuration"
        return 404, _error("NoSuchObjectLockConfiguration", message)
    told = f"<Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate>"
    return 200, f'{_XML}<Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{told}</Retention>'


def _error(code: str, message: str) -> str:
    return f"{_XML}<Error><Code>{code}</Code><Message>{message}</Message></Error>"
