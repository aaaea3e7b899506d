"""Requests whose body is compressed: how much of it is unpacked.

Runs in the server process. botocore compresses metric data from 10 KiB on; what unpacks to more than any service takes
is refused before anybody unpacks it.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from local_account.base.errors import ErrorAnswer, aws_error

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

MAX_UNPACKED_BYTES = 16 * 2**20  # PutMetricData takes 1 MB
_GZIP_WINDOW = 31  # zlib's wbits for gzip


def unpack(content: bytes) -> bytes | None:
    """The unpacked body; None when it is larger than any service takes. Raises zlib.error and EOFError."""
    unpacker = zlib.decompressobj(wbits=_GZIP_WINDOW)
    found = unpacker.decompress(content, MAX_UNPACKED_BYTES + 1)
    if len(found) > MAX_UNPACKED_BYTES:
        return None
    if not unpacker.eof:
        raise EOFError("the compressed body ends in the middle")
    return found


def refusal(environ: WSGIEnvironment, service: str) -> ErrorAnswer | None:
    """Why a compressed request is not taken; S3 keeps what it gets as it is."""
    if environ.get("HTTP_CONTENT_ENCODING") != "gzip" or service == "s3":
        return None
    stream = environ["wsgi.input"]
    content: bytes = stream.read()
    stream.seek(0)
    try:
        if unpack(content) is not None:
            return None
    except (zlib.error, EOFError) as error:
        return aws_error(environ, service, "SerializationException", f"The body cannot be unpacked: {error}", 400)
    message = f"The body unpacks to more than {MAX_UNPACKED_BYTES} bytes"
    return aws_error(environ, service, "RequestEntityTooLargeException", message, 413)
