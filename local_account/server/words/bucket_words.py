"""What S3 refuses of a request's members, in its own words.

Runs in the server process, called by ``service_words``. Authority: the answers of AWS to such requests, the S3 API
reference and the S3 User Guide ("Object tagging").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

from local_account.moto_services.s3_access import ENFORCED, PUBLIC

_ACLS = {
    "private", "public-read", "public-read-write", "authenticated-read", "aws-exec-read", "bucket-owner-read",
    "bucket-owner-full-control", "log-delivery-write",
}  # fmt: skip
_ENCRYPTIONS = {"AES256", "aws:kms", "aws:kms:dsse", "aws:fsx"}
_MALFORMED = "The XML you provided was not well-formed or did not validate against our published schema"


class BucketRefusal(NamedTuple):
    """A code and what it says."""

    code: str
    message: str
    status: int = 400


def bucket_words(operation: str, members: Mapping[str, object]) -> BucketRefusal | None:
    """How S3 refuses a request; None lets it pass."""
    return next((refused for check in (_headers, _lists, _bodies) for refused in check(operation, members)), None)


def _headers(operation: str, members: Mapping[str, object]) -> Iterator[BucketRefusal]:
    if members.get("ServerSideEncryption", "AES256") not in _ENCRYPTIONS:
        yield BucketRefusal("InvalidArgument", "The encryption method specified is not supported")
    if members.get("ACL", "private") not in _ACLS:
        yield BucketRefusal("InvalidArgument", "")
    yield from _new_bucket(operation, members)
    tags = members.get("Tagging")
    keys = [key for key, _ in parse_qsl(tags, keep_blank_values=True)] if isinstance(tags, str) else []
    if len(keys) > len(set(keys)):
        message = (
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag "
            "name duplicates."
        )
        yield BucketRefusal("InvalidArgument", message)
    if operation in {"PutObject", "CompleteMultipartUpload"} and members.get("IfNoneMatch", "*") != "*":
        message = "A header you provided implies functionality that is not implemented"
        yield BucketRefusal("NotImplemented", message, 501)
    source = members.get("CopySource")
    if isinstance(source, str) and not all(source.lstrip("/").partition("/")[::2]):
        yield BucketRefusal("InvalidArgument", "Invalid copy source object key")


def _new_bucket(operation: str, members: Mapping[str, object]) -> Iterator[BucketRefusal]:
    """A bucket that others are to reach: a new one has no lists and blocks public ones, until it is told otherwise."""
    gives_others = members.get("ACL", "private") != "private" or any(name.startswith("Grant") for name in members)
    if operation != "CreateBucket" or not gives_others:
        return
    if members.get("ObjectOwnership", ENFORCED) == ENFORCED:
        message = f"Bucket cannot have ACLs set with ObjectOwnership's {ENFORCED} setting"
        yield BucketRefusal("InvalidBucketAclWithObjectOwnership", message)
    elif str(members.get("ACL", "")) in PUBLIC:
        message = "Bucket cannot have public ACLs set with BlockPublicAccess enabled"
        yield BucketRefusal("InvalidBucketAclWithBlockPublicAccessError", message)


def _lists(operation: str, members: Mapping[str, object]) -> Iterator[BucketRefusal]:
    if not operation.startswith("List"):
        return
    if str(members.get("EncodingType", "url")) not in {"url", ""}:
        yield BucketRefusal("InvalidArgument", "Invalid Encoding Method specified in Request")


def _bodies(operation: str, members: Mapping[str, object]) -> Iterator[BucketRefusal]:
    versioning = members.get("VersioningConfiguration")
    if operation == "PutBucketVersioning" and isinstance(versioning, Mapping):
        if versioning.get("Status", "Enabled") not in {"Enabled", "Suspended"}:
            yield BucketRefusal("MalformedXML", _MALFORMED)
        if "Status" not in versioning:
            message = "The Versioning element must be specified"
            yield BucketRefusal("IllegalVersioningConfigurationException", message)
    upload = members.get("MultipartUpload")
    parts = upload.get("Parts") if isinstance(upload, Mapping) else None
    numbers = [each.get("PartNumber") for each in parts if isinstance(each, Mapping)] if isinstance(parts, list) else []
    given = [number for number in numbers if isinstance(number, int)]
    if given != sorted(given):
        message = "The list of parts was not in ascending order. Parts must be ordered by part number."
        yield BucketRefusal("InvalidPartOrder", message)
    lifecycle = members.get("LifecycleConfiguration")
    rules = lifecycle.get("Rules") if isinstance(lifecycle, Mapping) else None
    for rule in rules if isinstance(rules, list) else ():
        expiration = rule.get("Expiration") if isinstance(rule, Mapping) else None
        days = expiration.get("Days") if isinstance(expiration, Mapping) else None
        if isinstance(days, int) and days < 1:
            yield BucketRefusal("InvalidArgument", "'Days' for Expiration action must be a positive integer")
