"""What S3 takes as the name of a bucket and as a key.

Runs in the server process. Sources: S3 User Guide, "General purpose bucket naming rules" and "Naming Amazon S3
objects". Keys that differ in case only are two objects, on every file system: contents lie under their digests.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from local_account.base.errors import ErrorAnswer, aws_error

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

MAX_KEY_BYTES = 1024
INVALID_BUCKET = "The specified bucket is not valid."
KEY_TOO_LONG = "Your key is too long"
_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]")
_OLD_BUCKET = re.compile(r"[\w.-]{3,255}", re.ASCII)
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def is_bucket(name: str) -> bool:
    """Whether a new bucket may have this name."""
    reserved = name.startswith(_PREFIXES) or name.endswith(_SUFFIXES)
    return bool(_BUCKET.fullmatch(name)) and not _ADDRESS.fullmatch(name) and not reserved


def was_bucket(name: str) -> bool:
    """Whether a bucket may ever have got this name: until 2018 some were longer, or had capitals."""
    return bool(_OLD_BUCKET.fullmatch(name)) and ".." not in name


def is_key(key: str) -> bool:
    """Whether an object may have this key."""
    return len(key.encode("utf-8", "surrogatepass")) <= MAX_KEY_BYTES


def refusal(environ: WSGIEnvironment) -> ErrorAnswer | None:
    """Why a request names no object, also as the source of a copy."""
    path = str(environ["PATH_INFO"]).encode("latin-1").decode("utf-8", "replace").lstrip("/")
    in_host = str(environ.get("HTTP_HOST", "")).partition(":")[0].endswith(".localhost")
    source = unquote(str(environ.get("HTTP_X_AMZ_COPY_SOURCE", ""))).lstrip("/").partition("?")[0]
    keys = (path if in_host else path.partition("/")[2], source.partition("/")[2])
    if all(is_key(key) for key in keys):
        return None
    return aws_error(environ, "s3", "KeyTooLongError", KEY_TOO_LONG)
