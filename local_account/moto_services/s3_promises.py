"""What a client expects of S3 with a request: whose bucket it is, and what its body's digests are.

Runs in the server process, before moto, which looks at neither. Sources: S3 API Reference, "Error responses"; S3 User
Guide, "Checking object integrity". Digests of bodies in signed pieces (``aws-chunked``) and of the kinds CRC32C and
CRC64NVME, which Python's standard library does not compute, are taken as the client says them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from local_account.base.errors import ErrorAnswer, aws_error

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

_OWNERS = ("HTTP_X_AMZ_EXPECTED_BUCKET_OWNER", "HTTP_X_AMZ_SOURCE_EXPECTED_BUCKET_OWNER")
_DIGESTS: dict[str, tuple[str, int, Callable[[bytes], bytes]]] = {
    "HTTP_CONTENT_MD5": ("Content-MD5", 16, lambda body: hashlib.md5(body, usedforsecurity=False).digest()),
    "HTTP_X_AMZ_CHECKSUM_CRC32": ("CRC32", 4, lambda body: zlib.crc32(body).to_bytes(4, "big")),
    "HTTP_X_AMZ_CHECKSUM_SHA1": ("SHA1", 20, lambda body: hashlib.sha1(body, usedforsecurity=False).digest()),
    "HTTP_X_AMZ_CHECKSUM_SHA256": ("SHA256", 32, lambda body: hashlib.sha256(body).digest()),
}
"""By header: what S3 calls the digest, its length in bytes, and how it is computed."""


def refusal(environ: WSGIEnvironment, account_id: str) -> ErrorAnswer | None:
    """S3's error for a bucket that is expected to be another account's, or for a body with another digest."""
    if any(environ.get(name, account_id) != account_id for name in _OWNERS):
        return aws_error(environ, "s3", "AccessDenied", "Access Denied", 403)
    given = [name for name in _DIGESTS if name in environ]
    if not given or environ["REQUEST_METHOD"] not in {"PUT", "POST"} or _in_pieces(environ) or _of_parts(environ):
        return None
    stream = environ["wsgi.input"]
    body = stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    stream.seek(0)
    return next((error for name in given if (error := _mismatch(environ, name, body))), None)


def _in_pieces(environ: WSGIEnvironment) -> bool:
    encoded = "aws-chunked" in environ.get("HTTP_CONTENT_ENCODING", "")
    return encoded or environ.get("HTTP_X_AMZ_CONTENT_SHA256", "").startswith("STREAMING-")


def _of_parts(environ: WSGIEnvironment) -> bool:
    """Whether the checksum is that of an upload's parts, not of this body."""
    return environ["REQUEST_METHOD"] == "POST" and "uploadId" in environ.get("QUERY_STRING", "")


def _mismatch(environ: WSGIEnvironment, header: str, body: bytes) -> ErrorAnswer | None:
    name, length, compute = _DIGESTS[header]
    expected = _decoded(str(environ[header]))
    if expected is None or len(expected) != length:
        if header == "HTTP_CONTENT_MD5":
            return aws_error(environ, "s3", "InvalidDigest", "The Content-MD5 you specified was invalid.")
        message = f"Value for x-amz-checksum-{name.lower()} header is invalid."
        return aws_error(environ, "s3", "InvalidRequest", message)
    if compute(body) == expected:
        return None
    what = "what we received" if header == "HTTP_CONTENT_MD5" else "the calculated checksum"
    return aws_error(environ, "s3", "BadDigest", f"The {name} you specified did not match {what}.")


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
