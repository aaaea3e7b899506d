"""What S3 refuses to make public: policies for everybody, and access control lists where there are none.

Runs in the server process. Since April 2023 a new bucket blocks public access and has no access control lists, until it
is told otherwise (S3 User Guide, "Blocking public access" and "Controlling ownership of objects"). moto stores both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from moto.s3.exceptions import S3ClientError
from moto.s3.utils import bucket_policy_is_public

if TYPE_CHECKING:
    from moto.s3.models import FakeBucket

ENFORCED = "BucketOwnerEnforced"
_OWNERS_OWN = {"", "bucket-owner-full-control", "private"}
"""What a bucket without lists takes with an object, since it says what holds anyway."""
PUBLIC = {"public-read", "public-read-write", "authenticated-read"}
_EVERYBODY = ("/groups/global/AllUsers", "/groups/global/AuthenticatedUsers")


class NoAclsError(S3ClientError):
    """A list for a bucket that has none."""

    def __init__(self) -> None:
        super().__init__("AccessControlListNotSupported", "The bucket does not allow ACLs")


class BlockedAccessError(S3ClientError):
    """What would be public, where that is blocked."""

    status = 403

    def __init__(self, message: str = "Access Denied") -> None:
        super().__init__("AccessDenied", message)


def check_policy(bucket: FakeBucket, policy: bytes) -> None:
    """Raise BlockedAccessError for a policy that lets everybody in, where the bucket blocks these."""
    block = bucket.public_access_block
    if block is not None and block.block_public_policy and bucket_policy_is_public(policy):
        raise BlockedAccessError(
            f"User: arn:aws:iam::{bucket.account_id}:root is not authorized to perform: s3:PutBucketPolicy on "
            f'resource: "{bucket.arn}" because public policies are prevented by the BlockPublicPolicy setting in S3 '
            "Block Public Access."
        )


def check_list(bucket: FakeBucket, headers: Mapping[str, str], *, is_all_that_is_asked: bool) -> None:
    """Raise NoAclsError or BlockedAccessError for an access control list that the bucket does not take.

    ``is_all_that_is_asked``: of PutBucketAcl and PutObjectAcl, whose list may also be in the body.
    """
    canned = headers.get("x-amz-acl", "")
    grants = [value for name, value in headers.items() if name.lower().startswith("x-amz-grant-")]
    gives_one = bool(grants) or canned not in _OWNERS_OWN
    if str(bucket.ownership_rule) == ENFORCED and (is_all_that_is_asked or gives_one):
        raise NoAclsError
    block = bucket.public_access_block
    is_public = canned in PUBLIC or any(group in value for value in grants for group in _EVERYBODY)
    if is_public and block is not None and block.block_public_acls:
        raise BlockedAccessError
