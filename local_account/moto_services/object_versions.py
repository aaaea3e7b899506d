"""Versions and parts of objects as S3 reads and removes them, and the conditions on what is copied.

Runs in the server process. moto removes an object whatever version is named where a bucket keeps none, forgets the
versions of a bucket that no longer keeps new ones, and answers the whole object for one of its parts. Authority: S3 API
Reference, GetObject, DeleteObject and CopyObject; S3 User Guide, "Working with delete markers".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import xmltodict  # type: ignore[import-untyped]  # moto reads every body with it
from moto.core.utils import str_to_rfc_1123_datetime
from moto.s3.exceptions import (
    InvalidVersion,
    MethodNotAllowed,
    MissingVersion,
    PreconditionFailed,
    S3ClientError,
)
from moto.s3.models import FakeBucket, FakeDeleteMarker, FakeKey
from moto.s3.responses import S3Response

from local_account.base.arns import object_place
from local_account.base.replacements import extends
from local_account.base.stored import stored

if TYPE_CHECKING:
    from moto.core.common_types import TYPE_RESPONSE

_VERSION = re.compile(r"null|[\w.-]{32,}")
"""What a version's id can look like; anything else is no id."""
_PLAIN = "null"
"""The version of what was put while the bucket kept none."""
_NO_VERSION = "The specified version does not exist."
_SOURCE = "x-amz-copy-source-"


class PartError(ValueError):
    """A part that an object does not have."""

    def __init__(self, wanted: int, number: int) -> None:
        super().__init__("The requested partnumber is not satisfiable")
        self.wanted, self.number = wanted, number

    @property
    def answer(self) -> TYPE_RESPONSE:
        """What S3 answers; botocore's model, from which moto writes errors, does not know this one."""
        told = {
            "Code": "InvalidPartNumber",
            "Message": str(self),
            "PartNumberRequested": self.wanted,
            "ActualPartCount": self.number,
        }
        return 416, {"content-type": "application/xml"}, str(xmltodict.unparse({"Error": told}))


class VersionedBucketError(S3ClientError):
    """A bucket that holds versions, and cannot be removed."""

    code = "BucketNotEmpty"

    def __init__(self, name: str) -> None:
        message = "The bucket you tried to delete is not empty. You must delete all versions in the bucket."
        super().__init__("BucketNotEmpty", message)
        self.bucket_name = name


@stored
@dataclass
class AbsentObject:
    """What a delete marker of a key stands on where there never was an object."""

    name: str


def check_version(bucket: FakeBucket, version: str | None) -> None:
    """Raises moto's InvalidVersion for what cannot be the id of a version in this bucket."""
    kept = bucket.versioning_status is not None
    if version is not None and version != _PLAIN and not (kept and _VERSION.fullmatch(version)):
        raise InvalidVersion(version)


def keeps_older(bucket: FakeBucket, before: list[FakeKey], key: FakeKey) -> None:
    """Put the versions back that a bucket kept before it stopped to keep new ones."""
    if bucket.versioning_status == "Suspended":
        bucket.keys.setlist(key.name, [*(each for each in before if str(each.version_id) != _PLAIN), key])


def _marker_of(key: FakeKey | AbsentObject) -> FakeDeleteMarker:
    return FakeDeleteMarker(key=key)  # type: ignore[arg-type]  # moto reads no more of it than its name


def remove_unversioned(bucket: FakeBucket, key_name: str, version: str | None) -> dict[str, object]:
    """DeleteObject in a bucket that no longer keeps new versions; what the answer tells."""
    older = [each for each in bucket.keys.getlist(key_name, []) if str(each.version_id) != (version or _PLAIN)]
    told: dict[str, object] = {"version-id": version or _PLAIN}
    if version is None:
        marker = _marker_of(older[-1] if older else AbsentObject(key_name))
        marker._version_id = _PLAIN
        older, told = [*older, marker], {**told, "delete-marker": "true"}
    if older:
        bucket.keys.setlist(key_name, older)
    elif key_name in bucket.keys:
        bucket.keys.pop(key_name)
    return told


def mark_deleted(bucket: FakeBucket, key_name: str) -> dict[str, object]:
    """Put a delete marker where there never was an object; what the answer tells."""
    marker = _marker_of(AbsentObject(key_name))
    bucket.keys[key_name] = marker
    return {"version-id": marker.version_id, "delete-marker": "true"}


def is_marker(bucket: FakeBucket, key_name: str, version: str | None) -> bool:
    """Whether a version is a delete marker."""
    found = (each for each in bucket.keys.getlist(key_name, []) if str(each.version_id) == version)
    return isinstance(next(found, None), FakeDeleteMarker)


@extends
class ObjectVersionAnswers(S3Response):
    """moto's answers about versions and parts of objects, as S3 gives them."""

    def _get_key(self, validate_storage_class: bool = True) -> tuple[FakeKey, bool]:
        version = self.querystring.get("versionId", [None])[0]
        name, bucket = self.parse_key_name(), self.backend.get_bucket(self.bucket_name)
        check_version(bucket, version)
        if is_marker(bucket, name, version):
            raise MethodNotAllowed(method="GET", resource_type="DeleteMarker")
        try:
            return super()._get_key(validate_storage_class)
        except MissingVersion:
            raise MissingVersion(key=name, version_id=version) from None

    def get_object(self) -> TYPE_RESPONSE:
        """GetObject, or one part of it; raises moto's S3ClientError."""
        number = self._get_int_param("partNumber")
        if not number:
            return super().get_object()
        if self.headers.get("range"):
            raise S3ClientError("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
        key, not_modified = self._get_key()
        try:
            start, size = part_of(key, number)
        except PartError as error:
            return error.answer
        status, headers, body = super().get_object()
        if not_modified:
            return status, headers, body
        return 206, {**headers, **_of_part(key, start, size)}, body[start : start + size]

    def head_object(
        self, bucket_name: str, query: dict[str, Any], key_name: str, headers: dict[str, Any]
    ) -> TYPE_RESPONSE:
        """HeadObject, or one part of it."""
        number = query.get("partNumber", [None])[0]
        plain = {name: value for name, value in query.items() if name != "partNumber"}
        status, answered, body = super().head_object(bucket_name, plain, key_name, headers)
        key = self.backend.get_object(bucket_name, key_name, query.get("versionId", [None])[0])
        if not number or status != 200 or key is None:
            return status, answered, body
        try:
            start, size = part_of(key, int(number))
        except PartError as error:
            return error.answer[0], {}, ""
        return 206, {**answered, **_of_part(key, start, size)}, body

    def delete_object(self) -> TYPE_RESPONSE:
        """DeleteObject; raises moto's InvalidVersion for what is no version's id."""
        version, name = self._get_param("versionId"), self.parse_key_name()
        bucket = self.backend.get_bucket(self.bucket_name)
        check_version(bucket, version)
        marker = is_marker(bucket, name, version)
        status, headers, body = super().delete_object()
        return status, headers | ({"x-amz-delete-marker": "true"} if marker else {}), body

    def _bucket_response_delete_keys(self, bucket_name: str, authenticated: bool = True) -> TYPE_RESPONSE:
        """DeleteObjects; versions that are not there are told one by one."""
        listed = xmltodict.parse(self.body, force_list=("Object",))["Delete"].get("Object", [])
        bucket = self.backend.get_bucket(bucket_name)
        missing = [each for each in listed if not can_be_there(bucket, each.get("VersionId"))]
        status, headers, content = super()._bucket_response_delete_keys(bucket_name, authenticated)
        if not missing or status != 200:
            return status, headers, content
        text = content.decode() if isinstance(content, bytes) else str(content)
        open_tag = re.sub(r"(<DeleteResult[^>]*)/>", r"\1></DeleteResult>", text)
        return status, headers, open_tag.replace("</DeleteResult>", f"{_missing(missing)}</DeleteResult>")

    def delete_bucket(self) -> TYPE_RESPONSE:
        """DeleteBucket; raises moto's S3ClientError for one that holds something."""
        bucket = self.backend.get_bucket(self.bucket_name)
        if bucket.versioning_status is not None and bucket.keys:
            raise VersionedBucketError(self.bucket_name)
        return super().delete_bucket()

    def copy_object(self) -> TYPE_RESPONSE:
        """CopyObject; raises moto's PreconditionFailed where the source is not as the request expects."""
        source = self.headers["x-amz-copy-source"]
        parts = urlsplit(source.decode() if isinstance(source, bytes) else source)
        place = object_place(unquote(parts.path).lstrip("/"))
        version = parse_qs(parts.query).get("versionId", [None])[0]
        key = self.backend.get_object(place.bucket, place.key, version_id=version)
        if key is not None:
            self.check_source(key)
        return super().copy_object()

    def check_source(self, key: FakeKey) -> None:
        """Raises moto's PreconditionFailed for the first condition on the source that does not hold.

        An ETag that matches outweighs a later change, and one that does not an earlier one (CopyObject).
        """
        given = {
            name: str(self.headers[f"{_SOURCE}{name.lower()}"])
            for name in ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")
            if self.headers.get(f"{_SOURCE}{name.lower()}")
        }
        changed = key.last_modified.replace(microsecond=0)
        tests: dict[str, Callable[[str], bool]] = {
            "If-Match": lambda tag: tag.strip('"') == key.etag.strip('"'),
            "If-None-Match": lambda tag: tag.strip('"') != key.etag.strip('"'),
            "If-Modified-Since": lambda date: "If-None-Match" in given or changed > _moment(date),
            "If-Unmodified-Since": lambda date: "If-Match" in given or changed <= _moment(date),
        }
        for name, value in given.items():
            if not tests[name](value):
                raise PreconditionFailed(f"{_SOURCE}{name}")


def _moment(text: str) -> datetime:
    return str_to_rfc_1123_datetime(text)


def can_be_there(bucket: FakeBucket, version: str | None) -> bool:
    """Whether there can be such a version: in a bucket without versions there is only the plain one."""
    return version in {None, _PLAIN} or bucket.versioning_status is not None


def _missing(versions: list[dict[str, str]]) -> str:
    errors = (
        {"Key": each["Key"], "VersionId": each["VersionId"], "Code": "NoSuchVersion", "Message": _NO_VERSION}
        for each in versions
    )
    return "".join(xmltodict.unparse({"Error": error}, full_document=False) for error in errors)


def part_of(key: FakeKey, number: int) -> tuple[int, int]:
    """The first byte and the length of a part, which an object that was put at once has one of; raises PartError."""
    parts = getattr(key.multipart, "partlist", None) or [None]
    if not 1 <= number <= len(parts):
        raise PartError(number, len(parts))
    if key.multipart is None:
        return 0, key.size
    sizes = [key.multipart.parts[each].size for each in parts]
    return sum(sizes[: number - 1]), sizes[number - 1]


def _of_part(key: FakeKey, start: int, size: int) -> dict[str, str]:
    number = len(getattr(key.multipart, "partlist", None) or [])
    return {
        "content-length": str(size),
        "content-range": f"bytes {start}-{start + size - 1}/{key.size}",
        **({"x-amz-mp-parts-count": str(number)} if number else {}),
    }
