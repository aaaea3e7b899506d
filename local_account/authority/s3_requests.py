"""Which permissions an operation of S3 needs: its actions are named otherwise than its operations.

Runs in the server process. Source: Amazon S3 User Guide, "Required permissions for Amazon S3 API operations";
operations that are not in the tables have an action of their own name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from local_account.authority.requests import Asked, keys_of

_ACTIONS = {
    "HeadObject": "GetObject",
    "SelectObjectContent": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "ListParts": "ListMultipartUploadParts",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "HeadBucket": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListBuckets": "ListAllMyBuckets",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "GetBucketCors": "GetBucketCORS",
    "PutBucketCors": "PutBucketCORS",
    "DeleteBucketCors": "PutBucketCORS",
    "GetBucketReplication": "GetReplicationConfiguration",
    "PutBucketReplication": "PutReplicationConfiguration",
    "DeleteBucketReplication": "PutReplicationConfiguration",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "PutBucketAccelerateConfiguration": "PutAccelerateConfiguration",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
}
# Of a version that the request names, the action has a name of its own.
_OF_A_VERSION = {"GetObject", "DeleteObject", "GetObjectTagging", "PutObjectTagging", "DeleteObjectTagging"}
_COPIES = {"CopyObject", "UploadPartCopy"}


def s3_demands(request: Asked) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Actions, ARNs and condition keys of their own."""
    given = request.parameters
    bucket = f"arn:aws:s3:::{given.get('Bucket', '')}"
    if request.operation == "ListBuckets":
        yield "s3:ListAllMyBuckets", "*", {}
    elif request.operation == "DeleteObjects":
        for key in keys_of(request):
            yield "s3:DeleteObject", f"{bucket}/{key}", {}
    elif request.operation in _COPIES:
        source = str(given["CopySource"]).lstrip("/")
        path, _, version = source.partition("?versionId=")
        yield "s3:GetObjectVersion" if version else "s3:GetObject", f"arn:aws:s3:::{path}", {}
        yield "s3:PutObject", f"{bucket}/{given['Key']}", _context(given)
    else:
        yield f"s3:{_action(request)}", f"{bucket}/{given['Key']}" if given.get("Key") else bucket, _context(given)


def _action(request: Asked) -> str:
    action = _ACTIONS.get(request.operation, request.operation)
    return f"{action}Version" if action in _OF_A_VERSION and "VersionId" in request.parameters else action


_KEYS = {
    "Prefix": "s3:prefix",
    "Delimiter": "s3:delimiter",
    "MaxKeys": "s3:max-keys",
    "VersionId": "s3:VersionId",
    "ServerSideEncryption": "s3:x-amz-server-side-encryption",
    "SSEKMSKeyId": "s3:x-amz-server-side-encryption-aws-kms-key-id",
}


def _context(given: Mapping[str, object]) -> dict[str, object]:
    return {key: given[name] for name, key in _KEYS.items() if name in given}
