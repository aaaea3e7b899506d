"""What S3 takes as the name of a bucket and as a key.

Runs in the server process. Sources: S3 User Guide, "General purpose bucket naming rules" and "Naming Amazon S3
objects". Keys that differ in case only are two objects, on every file system: contents lie under their digests.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from local_account.base.errors import ErrorAnswer, aws_error

MAX_KEY_BYTES = 1024
INVALID_BUCKET = "The specified bucket is not valid."
KEY_TOO_LONG = "Your key is too long"
_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def is_bucket(name: str) -> bool:
    """Whether a new bucket may have this name."""
    reserved = name.startswith(_PREFIXES) or name.endswith(_SUFFIXES)
    return bool(_BUCKET.fullmatch(name)) and not _ADDRESS.fullmatch(name) and not reserved


def is_key(key: str) -> bool:
    """Whether an object may have this key."""
    return len(key.encode("utf-8", "surrogatepass")) <= MAX_KEY_BYTES


def refusal(environ: dict[str, Any]) -> ErrorAnswer | None:
    """Why a request names no object, also as the source of a copy."""
    path = str(environ["PATH_INFO"]).encode("latin-1").decode("utf-8", "replace").lstrip("/")
    in_host = str(environ.get("HTTP_HOST", "")).partition(":")[0].endswith(".localhost")
    source = unquote(str(environ.get("HTTP_X_AMZ_COPY_SOURCE", ""))).lstrip("/").partition("?")[0]
    keys = (path if in_host else path.partition("/")[2], source.partition("/")[2])
    if all(is_key(key) for key in keys):
        return None
    return aws_error(environ, "s3", "KeyTooLongError", KEY_TOO_LONG)


def install_rules() -> None:
    """Have moto's S3 refuse names, whoever gives them."""
    from moto.moto_server.utilities import RegexConverter
    from moto.s3.exceptions import InvalidBucketName, MissingBucket, S3ClientError
    from moto.s3.models import S3Backend

    class InvalidMissingBucket(MissingBucket):  # type: ignore[misc]  # moto carries no types
        """A bucket that is not there and could not be: S3 says that its name is wrong."""

        code = "InvalidBucketName"

        def __init__(self, bucket: str) -> None:
            super().__init__(bucket)
            self.message = INVALID_BUCKET

    create, get = S3Backend.create_bucket, S3Backend.get_bucket
    put, begin = S3Backend.put_object, S3Backend.create_multipart_upload

    def create_bucket(self: Any, bucket_name: str, *rest: Any, **named: Any) -> Any:
        if bucket_name not in self.buckets and not is_bucket(bucket_name):
            raise InvalidBucketName
        return create(self, bucket_name, *rest, **named)

    def get_bucket(self: Any, bucket_name: str) -> Any:
        try:
            return get(self, bucket_name)
        except MissingBucket:
            if is_bucket(bucket_name):
                raise
            raise InvalidMissingBucket(bucket_name) from None

    def checked(original: Any) -> Any:
        def method(self: Any, bucket_name: str, key_name: str, *rest: Any, **named: Any) -> Any:
            if not is_key(key_name):
                raise S3ClientError("KeyTooLongError", KEY_TOO_LONG)
            return original(self, bucket_name, key_name, *rest, **named)

        return method

    S3Backend.create_bucket, S3Backend.get_bucket = create_bucket, get_bucket
    S3Backend.put_object, S3Backend.create_multipart_upload = checked(put), checked(begin)
    original_converter = RegexConverter.__init__

    def converter(self: Any, url_map: Any, *items: Any) -> None:
        original_converter(self, url_map, *items)
        if self.regex == ".+":  # a key may have line breaks, at which a plain "." stops
            self.regex = r"[\s\S]+"

    RegexConverter.__init__ = converter
