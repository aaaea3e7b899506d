"""What S3 tells of its objects: the records of notifications and the events for EventBridge.

Runs in the server process. Sources: S3 User Guide, "Event message structure" and "EventBridge event message structure".
The bucket's owner, who asked and from where are always this account and this machine.
"""

from __future__ import annotations

import base64
import itertools
import secrets
import string
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote_plus

_ID_LETTERS = string.ascii_uppercase + string.digits
_numbers = itertools.count()
_DETAIL_TYPES = {
    "ObjectCreated": "Object Created",
    "ObjectRemoved": "Object Deleted",
    "ObjectTagging:Put": "Object Tags Added",
    "ObjectTagging:Delete": "Object Tags Deleted",
    "ObjectAcl:Put": "Object ACL Updated",
    "ObjectRestore:Post": "Object Restore Initiated",
    "ObjectRestore:Completed": "Object Restore Completed",
    "ObjectRestore:Delete": "Object Restore Expired",
}
_REASONS = {
    "ObjectCreated:Put": "PutObject",
    "ObjectCreated:Post": "POST Object",
    "ObjectCreated:Copy": "CopyObject",
    "ObjectCreated:CompleteMultipartUpload": "CompleteMultipartUpload",
    "ObjectRemoved:Delete": "DeleteObject",
    "ObjectRemoved:DeleteMarkerCreated": "DeleteObject",
}
_DELETIONS = {
    "ObjectRemoved:Delete": "Permanently Deleted",
    "ObjectRemoved:DeleteMarkerCreated": "Delete Marker Created",
}
EMPTY_ETAG = "d41d8cd98f00b204e9800998ecf8427e"
ObjectMembers = dict[str, object]


@dataclass(frozen=True)
class ObjectEvent:
    """Something that became of an object; ``name`` is S3's without ``s3:``, such as ``ObjectCreated:Put``."""

    name: str
    bucket: str
    key: str
    size: int = 0
    etag: str = ""
    version_id: str = ""
    """Empty in a bucket without versions."""
    storage_class: str = ""
    expires: str = ""
    """When a restored copy goes, ISO 8601."""
    at: float = field(default_factory=time.time)
    request_id: str = field(default_factory=lambda: "".join(secrets.choice(_ID_LETTERS) for _ in range(16)))
    host_id: str = field(default_factory=lambda: base64.b64encode(secrets.token_bytes(56)).decode())
    sequencer: str = field(default_factory=lambda: f"{time.time_ns():016X}{next(_numbers) % 256:02X}")
    """Grows with each event, so that those of one key can be put in order."""

    @property
    def family(self) -> str:
        """What stands before the colon, such as ``ObjectCreated``."""
        return self.name.partition(":")[0]

    @property
    def bucket_arn(self) -> str:
        """The ARN of the bucket."""
        return f"arn:aws:s3:::{self.bucket}"

    def detail_type(self) -> str:
        """How EventBridge calls it."""
        return _DETAIL_TYPES.get(self.name) or _DETAIL_TYPES[self.family]

    def detail(self, account_id: str) -> Mapping[str, object]:
        """The detail of the event for EventBridge."""
        known: dict[str, object] = {
            "version": "0",
            "bucket": {"name": self.bucket},
            "object": self._members(self.key, "etag", "version-id"),
            "request-id": self.request_id,
            "requester": account_id,
            "source-ip-address": "127.0.0.1",
        }
        if self.name in _REASONS:
            known["reason"] = _REASONS[self.name]
        if self.name in _DELETIONS:
            known["deletion-type"] = _DELETIONS[self.name]
        if self.family == "ObjectRestore":
            known["source-storage-class"] = self.storage_class
        if self.expires:
            known["restore-expiry-time"] = self.expires
        return known

    def record(self, configuration_id: str, region: str, account_id: str) -> Mapping[str, object]:
        """The record for one notification of the bucket's configuration; its key is encoded as in an address."""
        found: dict[str, object] = {
            "eventVersion": "2.3" if self.family in {"ObjectTagging", "ObjectAcl"} else "2.1",
            "eventSource": "aws:s3",
            "awsRegion": region,
            "eventTime": datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            "eventName": self.name,
            "userIdentity": {"principalId": f"AWS:{account_id}"},
            "requestParameters": {"sourceIPAddress": "127.0.0.1"},
            "responseElements": {"x-amz-request-id": self.request_id, "x-amz-id-2": self.host_id},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": configuration_id,
                "bucket": {
                    "name": self.bucket,
                    "ownerIdentity": {"principalId": account_id},
                    "arn": self.bucket_arn,
                },
                "object": self._members(quote_plus(self.key, safe="/"), "eTag", "versionId"),
            },
        }
        if self.expires:
            restored = {"lifecycleRestorationExpiryTime": self.expires, "lifecycleRestoreStorageClass": "GLACIER"}
            found["glacierEventData"] = {"restoreEventData": restored}
        return found

    def _members(self, key: str, etag_name: str, version_name: str) -> ObjectMembers:
        """The object's own members: what is there of them depends on the event."""
        members: ObjectMembers = {"key": key}
        if self.family in {"ObjectCreated", "ObjectRestore"}:
            members["size"] = self.size
        if self.etag and self.name != "ObjectRemoved:Delete":
            members[etag_name] = self.etag
        if self.version_id:
            members[version_name] = self.version_id
        if self.family in {"ObjectCreated", "ObjectRemoved"}:
            members["sequencer"] = self.sequencer
        return members


def trial_message(bucket: str) -> Mapping[str, str]:
    """What a queue and a topic get when notifications to them begin."""
    ids = ObjectEvent("", bucket, "")
    return {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "Bucket": bucket,
        "RequestId": ids.request_id,
        "HostId": ids.host_id,
    }
