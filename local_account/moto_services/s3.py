"""Amazon S3 of the account: moto's, with the bytes of objects in files instead of in memory.

Runs in the server process. What is saved of S3 stays small: an object says where its bytes are, see ``object_files``.
Names of buckets and keys, and keys of KMS, are refused whoever gives them.
"""

from __future__ import annotations

import contextvars
import hashlib
import json
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict, cast

import xmltodict  # type: ignore[import-untyped]  # moto reads every body with it
from moto.core.base_backend import BackendDict
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.s3 import models, urls
from moto.s3.exceptions import InvalidBucketName, InvalidContinuationToken, MissingBucket, S3ClientError
from moto.s3.models import FakeAcl, FakeBucket, FakeKey, FakeMultipart, S3Backend, s3_backends
from moto.s3.utils import compute_checksum

from local_account.account import Account
from local_account.base.replacements import answered_by, extends, replace, use_backend
from local_account.base.stored import stored
from local_account.base.wire.s3_names import INVALID_BUCKET, KEY_TOO_LONG, is_bucket, is_key, was_bucket
from local_account.moto_services import s3_access, s3_defaults, s3_notifications
from local_account.moto_services.object_files import FileContent, ObjectFiles, StoredContent
from local_account.moto_services.object_versions import (
    ObjectVersionAnswers,
    can_be_there,
    check_version,
    keeps_older,
    mark_deleted,
    remove_unversioned,
)
from local_account.protocol.kms_keys import KeyUnusableError, usable_key

if TYPE_CHECKING:
    from moto.core.common_types import TYPE_RESPONSE
    from requests.structures import CaseInsensitiveDict
    from werkzeug.wrappers import Request

    from local_account.base.replacements import Handlers

_PLAIN_KEY, _ANY_KEY = "(?P<key_name>.+)", r"(?P<key_name>[\s\S]+)"
# Whether the request at hand asks for a range: then only that part of the file is read.
_ranged: contextvars.ContextVar[bool] = contextvars.ContextVar("ranged", default=False)
# Whether the request at hand wants notifications whose destinations are not looked at.
skips_validation: contextvars.ContextVar[bool] = contextvars.ContextVar("skips_validation", default=False)


# Sub-resources that moto does not know; it would answer with the bucket or the object itself.
_NOT_IMPLEMENTED = {
    "abac",
    "analytics",
    "annotation",
    "intelligent-tiering",
    "metadataAnnotationTable",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "renameObject",
    "requestPayment",
    "session",
    "torrent",
}


def not_implemented(query: str) -> str | None:
    """The sub-resource in a request's query that the account does not implement."""
    names = {part.partition("=")[0] for part in query.split("&")}
    return next(iter(sorted(names & _NOT_IMPLEMENTED)), None)


def install(account: Account) -> None:
    """Put the objects' bytes into files."""
    StoredObject.files = ObjectFiles(account.state_dir / "objects", durable=account.durable)
    StoredBuckets.region = account.region
    StoredBuckets.notifier = s3_notifications.install(account)
    use_backend(s3_backends, StoredBuckets)
    why = "moto holds the bytes of objects in memory, here they are in files"
    replace(models, "FakeKey", StoredObject, why=why, kept_by=("moto.awslambda.models", "moto.s3.responses"))
    _loopback_is_secure()


def stored_buckets(account: Account) -> StoredBuckets:
    """The account's buckets."""
    backend = s3_backends[account.account_id]["aws"]
    assert isinstance(backend, StoredBuckets)  # noqa: S101  # `install` has seen to it
    return backend


def referenced_contents(backends: BackendDict[S3Backend]) -> Iterator[str]:
    """The digest of every content that an object version or an unfinished upload refers to."""
    for account in backends.values():
        for backend in account.values():
            for bucket in backend.buckets.values():
                yield from (key.content_digest for key in _contents(bucket))


def _contents(bucket: FakeBucket) -> Iterator[StoredObject]:
    versions = [version for _, each in bucket.keys.lists() for version in each]
    uploads = [*bucket.multiparts.values(), *filter(None, (getattr(v, "multipart", None) for v in versions))]
    parts = (part for upload in uploads for part in upload.parts.values())
    return (key for key in (*versions, *parts) if isinstance(key, StoredObject))  # a delete marker is none


def collect_garbage() -> None:
    """Remove the contents that nothing refers to."""
    StoredObject.files.collect_garbage(set(referenced_contents(s3_backends)))


class _Statement(TypedDict, total=False):
    Condition: dict[str, dict[str, object]]


def _loopback_is_secure() -> None:
    """Leave out the statements of a bucket policy that are about requests without TLS.

    moto ignores conditions, so that the usual "refuse what comes without TLS" would refuse everything. Traffic on the
    loopback interface of one machine stands for a TLS connection here.
    """

    def get_permission(self: FakeBucket, action: str, resource: str) -> PermissionResult:
        if self.policy is None:
            return PermissionResult.NEUTRAL
        document = json.loads(self.policy)
        statements = document["Statement"]
        statements = statements if isinstance(statements, list) else [statements]
        kept = [statement for statement in statements if not _only_without_tls(statement)]
        return IAMPolicy(json.dumps({**document, "Statement": kept})).is_action_permitted(action, resource)

    replace(
        FakeBucket,
        "get_permission",
        get_permission,
        why="moto leaves conditions out, so that a refusal of requests without TLS refuses every request",
        upstream="101-bucket-policy-secure-transport.md",
    )


def _only_without_tls(statement: _Statement) -> bool:
    return str(statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport", "")).lower() == "false"


@stored
@extends
class StoredObject(FakeKey):
    """An object, or a part of an upload, whose bytes are a slice of a file of `ObjectFiles`."""

    files: ClassVar[ObjectFiles]
    content_digest: str
    content_start: int

    @property
    def response_dict(self) -> dict[str, object]:
        """The headers of its answers: every object is encrypted."""
        return {s3_defaults.ENCRYPTION: "AES256", **super().response_dict}

    @property
    def value(self) -> bytes:
        """The bytes; while a range is answered, what reads only the part that is asked for."""
        content = StoredContent(self.files, self.content_digest, self.content_start, self.contentsize)
        # moto asks for the length and for one slice of it.
        return cast("bytes", content) if _ranged.get() else bytes(content)

    @value.setter
    def value(self, content: bytes | str | FileContent) -> None:
        buffer = self.__dict__.pop("_value_buffer", None)
        if buffer is not None:
            buffer.close()
        self.content_start = 0
        if isinstance(content, FileContent):
            self.content_digest, md5, self.contentsize = self.files.take(content.path)
            self._etag = self._etag or md5
            return
        content = content.encode() if isinstance(content, str) else bytes(content)
        self.content_digest = self.files.write(content)
        self.contentsize = len(content)
        if self._etag is None:
            self._etag = hashlib.md5(content, usedforsecurity=False).hexdigest()

    def content_pieces(self) -> Iterator[bytes]:
        """The bytes, a piece at a time."""
        return self.files.pieces(self.content_digest, self.content_start, self.contentsize)

    @property
    def etag(self) -> str:
        """The ETag in quotes, made when the bytes came."""
        return f'"{self._etag}"'

    def cut_from(self, whole: StoredObject, start: int) -> None:
        """Be a slice of another object, from this byte on: the file of the part's own is garbage."""
        self.content_digest, self.content_start = whole.content_digest, start

    def dispose(self, garbage: bool = False) -> None:  # noqa: ARG002  # moto's signature
        """Nothing to do: the file goes when nothing refers to it any more."""
        self.disposed = True

    def __del__(self) -> None:
        """moto's would warn of an object that was not disposed of."""

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "lock"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.files.path(str(state["content_digest"]))  # raises for anything that is not a digest
        self.__dict__.update(state, lock=threading.Lock())


class ImpossibleBucket(MissingBucket):
    """A bucket that is not there and could not be: S3 says that its name is wrong."""

    code = "InvalidBucketName"

    def __init__(self, bucket: str) -> None:
        super().__init__(bucket)
        self.message = INVALID_BUCKET


@extends
class StoredBuckets(S3Backend):
    """moto's buckets, with joined uploads that take no more room than their bytes and copies that are one object.

    Names of buckets and keys are checked, and keys of KMS are there, whoever gives them.
    """

    region: ClassVar[str]
    notifier: ClassVar[s3_notifications.BucketNotifier]

    @property
    def url_paths(self) -> Handlers:
        """What answers which address; a key may have line breaks, at which moto's patterns stop."""
        paths = {path.replace(_PLAIN_KEY, _ANY_KEY): handler for path, handler in urls.url_paths.items()}
        return answered_by(RangedAnswers, paths)

    def create_bucket(self, bucket_name: str, region_name: str, bucket_namespace: str | None = None) -> FakeBucket:
        """CreateBucket; raises moto's InvalidBucketName."""
        if bucket_name not in self.buckets and not is_bucket(bucket_name):
            raise InvalidBucketName
        made = super().create_bucket(bucket_name, region_name, bucket_namespace)
        s3_defaults.new_bucket(made)
        return made

    def get_bucket(self, bucket_name: str) -> FakeBucket:
        """A bucket; raises moto's MissingBucket."""
        try:
            return super().get_bucket(bucket_name)
        except MissingBucket:
            if was_bucket(bucket_name):
                raise
            raise ImpossibleBucket(bucket_name) from None

    def list_objects_v2(  # noqa: PLR0917  # moto's signature
        self,
        bucket: FakeBucket,
        prefix: str | None,
        delimiter: str | None,
        continuation_token: str | None,
        start_after: str | None,
        max_keys: int,
    ) -> tuple[set[FakeKey | str], bool, str | None]:
        """ListObjectsV2; raises moto's InvalidContinuationToken for one that was not given out here."""
        if continuation_token and continuation_token not in self._pagination_tokens:
            raise InvalidContinuationToken
        return super().list_objects_v2(bucket, prefix, delimiter, continuation_token, start_after, max_keys)

    def put_object(  # noqa: PLR0917  # moto's signature
        self,
        bucket_name: str,
        key_name: str,
        value: bytes | FileContent,
        storage: str | None = None,
        etag: str | None = None,
        multipart: FakeMultipart | None = None,
        encryption: str | None = None,
        kms_key_id: str | None = None,
        bucket_key_enabled: object = None,
        lock_mode: str | None = None,
        lock_legal_status: str | None = None,
        lock_until: str | None = None,
        checksum_value: str | None = None,
        request_method: str | None = "PUT",
        disable_notification: bool | None = False,
    ) -> FakeKey:
        """PutObject; raises moto's S3ClientError for a key of S3 or of KMS that cannot be."""
        _check_key(key_name)
        before = self.get_bucket(bucket_name).keys.getlist(key_name, [])
        kept = super().put_object(
            bucket_name,
            key_name,
            cast("bytes", value),  # what it becomes is `StoredObject.value`'s
            storage,
            etag,
            multipart,
            encryption,
            _usable(self, kms_key_id) or kms_key_id,
            bucket_key_enabled,
            lock_mode,
            lock_legal_status,
            lock_until,
            checksum_value,
            request_method,
            disable_notification or multipart is not None,  # of which S3 tells once, when it is complete
        )
        keeps_older(self.get_bucket(bucket_name), before, kept)
        if multipart is None:
            kept.checksum_type = "FULL_OBJECT"
        return kept

    def put_bucket_policy(self, bucket_name: str, policy: bytes) -> None:
        """PutBucketPolicy; raises BlockedAccessError for one that lets everybody in, where that is blocked."""
        s3_access.check_policy(self.get_bucket(bucket_name), policy)
        super().put_bucket_policy(bucket_name, policy)

    def get_bucket_encryption(self, bucket_name: str) -> dict[str, object] | None:
        """GetBucketEncryption: what holds for every bucket where nobody said otherwise."""
        return super().get_bucket_encryption(bucket_name) or s3_defaults.BUCKET_ENCRYPTION

    def delete_object(
        self, bucket_name: str, key_name: str, version_id: str | None = None, bypass: bool = False
    ) -> tuple[bool, dict[str, object]]:
        """DeleteObject: a version that goes, and a delete marker that comes, are told, too.

        Raises moto's InvalidVersion.
        """
        bucket = self.get_bucket(bucket_name)
        check_version(bucket, version_id)
        if bucket.versioning_status == "Suspended":
            return True, remove_unversioned(bucket, key_name, version_id)
        if bucket.is_versioned and version_id is None and key_name not in bucket.keys:
            return True, mark_deleted(bucket, key_name)
        versions = bucket.keys.getlist(key_name, [])
        gone = next((key for key in versions if version_id and str(key.version_id) == version_id), None)
        done, answered = super().delete_object(bucket_name, key_name, version_id, bypass)
        if not bucket.is_versioned:
            return done, answered
        if gone is not None and len(versions) > 1:  # moto tells only of the last one
            self.notifier.object_changed("s3:ObjectRemoved:Delete", bucket, gone)
        elif version_id is None and done:
            marker = bucket.keys.getlist(key_name)[-1]
            self.notifier.object_changed("s3:ObjectRemoved:DeleteMarkerCreated", bucket, marker)
        return done, answered

    def delete_objects(
        self, bucket_name: str, objects: list[dict[str, Any]], bypass_retention: bool = False
    ) -> tuple[list[tuple[str, str | None, str | None]], list[str]]:
        """DeleteObjects, without the versions that there cannot be, of which the answer tells."""
        bucket = self.get_bucket(bucket_name)
        asked = [each for each in objects if can_be_there(bucket, each.get("VersionId"))]
        return super().delete_objects(bucket_name, asked, bypass_retention)

    def put_bucket_notification_configuration(self, bucket_name: str, notification_config: dict[str, object]) -> None:
        """PutBucketNotificationConfiguration; raises moto's InvalidArgumentError for a destination out of reach."""
        if not skips_validation.get():
            self.notifier.check(bucket_name, s3_notifications.destinations(notification_config))
        super().put_bucket_notification_configuration(bucket_name, notification_config)

    def create_multipart_upload(  # noqa: PLR0917  # moto's signature
        self,
        bucket_name: str,
        key_name: str,
        metadata: CaseInsensitiveDict[str],
        storage_type: str,
        tags: dict[str, str],
        acl: FakeAcl | None,
        sse_encryption: str,
        kms_key_id: str,
    ) -> FakeMultipart:
        """CreateMultipartUpload; raises moto's S3ClientError for a key of S3 or of KMS that cannot be."""
        _check_key(key_name)
        arn = _usable(self, kms_key_id) or kms_key_id
        return super().create_multipart_upload(
            bucket_name, key_name, metadata, storage_type, tags, acl, sse_encryption, arn
        )

    def complete_multipart_upload(
        self, bucket_name: str, multipart_id: str, body: Iterator[tuple[int, str]]
    ) -> FakeKey | None:
        """Once an upload is complete, its parts are slices of the whole."""
        listed = list(body)
        key = super().complete_multipart_upload(bucket_name, multipart_id, iter(listed))
        if isinstance(key, StoredObject) and key.multipart is not None:
            start = 0
            for number, _ in listed:
                part = key.multipart.parts[number]
                if isinstance(part, StoredObject):
                    part.cut_from(key, start)
                start += part.contentsize
        return key

    def copy_object(  # noqa: PLR0917  # moto's signature
        self,
        src_key: FakeKey,
        dest_bucket_name: str,
        dest_key_name: str,
        storage: str | None = None,
        encryption: str | None = None,
        kms_key_id: str | None = None,
        bucket_key_enabled: object = None,
        mdirective: str | None = None,
        metadata: object = None,
        website_redirect_location: str | None = None,
        lock_mode: str | None = None,
        lock_legal_status: str | None = None,
        lock_until: str | None = None,
        provided_version_id: str | None = None,
    ) -> None:
        """A copy is one object, also of one that was uploaded in parts: its checksum is over all of it."""
        super().copy_object(
            src_key,
            dest_bucket_name,
            dest_key_name,
            storage,
            encryption,
            _usable(self, kms_key_id) or kms_key_id,
            bucket_key_enabled,
            mdirective,
            metadata,
            website_redirect_location,
            lock_mode,
            lock_legal_status,
            lock_until,
            provided_version_id,
        )
        if src_key.checksum_type != "COMPOSITE":
            return
        copy = self.get_object(dest_bucket_name, dest_key_name)
        if copy is not None and copy.checksum_algorithm is not None:
            copy.checksum_value = compute_checksum(copy.value, copy.checksum_algorithm).decode()
            copy.checksum_type = "FULL_OBJECT"


def _usable(backend: StoredBuckets, key: str | None) -> str:
    """The ARN of a key of KMS, as S3 tells it; empty for none."""
    try:
        return usable_key(backend.account_id, backend.region, key) if key else ""
    except KeyUnusableError as error:
        raise S3ClientError(error.code, str(error)) from error


def _check_key(name: str) -> None:
    if not is_key(name):
        raise S3ClientError("KeyTooLongError", KEY_TOO_LONG)


@extends
class RangedAnswers(ObjectVersionAnswers):
    """moto's answers; one to a request with ``Range`` reads the range, not the whole object."""

    def key_response(self, request: Request, full_url: str, headers: dict[str, str]) -> TYPE_RESPONSE:
        """What is done with one object."""
        token = _ranged.set(request.method == "GET" and bool(request.headers.get("range")))
        try:
            with s3_notifications.one_request():
                status, answered, content = super().key_response(request, full_url, headers)
        finally:
            _ranged.reset(token)
        if isinstance(content, StoredContent):
            content = bytes(content)
        elif isinstance(content, bytes) and "x-amz-copy-source" in request.headers:
            content = s3_defaults.of_copy(content.decode())
        query = request.query_string.decode("latin-1")
        bucket = s3_backends[self.current_account]["aws"].buckets.get(self.bucket_name)
        if request.method == "GET" and "retention" in request.args and status == 200:
            status, content = s3_defaults.retention(bucket, answered)
            return status, {"content-type": "application/xml"}, content
        return status, s3_defaults.of_object(request.method, query, status, answered, bucket), content

    def bucket_response(self, request: Request, full_url: str, headers: dict[str, str]) -> TYPE_RESPONSE:
        """What is done with a bucket."""
        skips = request.headers.get("x-amz-skip-destination-validation", "").lower() == "true"
        token = skips_validation.set(skips)
        try:
            with s3_notifications.one_request():
                status, answered, content = super().bucket_response(request, full_url, headers)
                text = content.decode() if isinstance(content, bytes) and b"<ListBucketResult" in content[:300] else ""
                return status, answered, s3_defaults.of_list(text) if text else content
        finally:
            skips_validation.reset(token)

    def _acl_from_headers(self, headers: dict[str, str]) -> FakeAcl | None:
        bucket = s3_backends[self.current_account]["aws"].buckets.get(self.bucket_name)
        if bucket is not None and ("acl" in self.querystring or self.parse_key_name()):
            s3_access.check_list(bucket, headers, is_all_that_is_asked="acl" in self.querystring)
        return super()._acl_from_headers(headers)

    def put_object_tagging(self) -> TYPE_RESPONSE:
        """PutObjectTagging."""
        with s3_notifications.changing_tags():
            return super().put_object_tagging()

    def delete_object_tagging(self) -> TYPE_RESPONSE:
        """DeleteObjectTagging."""
        with s3_notifications.changing_tags():
            return super().delete_object_tagging()

    def _notification_config_from_body(self) -> dict[str, object]:
        parsed = xmltodict.parse(self.body)["NotificationConfiguration"]
        return s3_notifications.read_configuration(parsed or {})
