"""First function of the inference workflow: an S3 object becomes base64 text in the workflow's body.

Runs in Lambda. Reads the object that the input names; writes nothing. An image too large for a state (Step Functions
allows 262,144 bytes) is not copied: its body carries the S3 reference alone, and `classify_image` reads it there.
"""

from __future__ import annotations

import base64
import functools
import json
from typing import Any, TypedDict
from urllib.parse import unquote_plus

import boto3
from botocore.exceptions import ClientError

# 240,000 bytes as base64: with the rest of the body below the 262,144 bytes of a Step Functions state.
MAX_INLINE_IMAGE_BYTES = 180_000
# What a SageMaker real-time endpoint accepts (InvokeEndpoint, Body).
MAX_IMAGE_BYTES = 6_291_456


class Body(TypedDict):
    """What travels between the three functions."""

    s3_bucket: str
    s3_key: str
    image_data: str
    inferences: list[float]


class InvalidInput(Exception):  # noqa: N818  # the name is an error name in the workflow
    """The workflow's input does not name an image."""


class ImageNotFound(Exception):  # noqa: N818  # the name is an error name in the workflow
    """There is no such bucket or object, or it may not be read."""


class ImageEmpty(Exception):  # noqa: N818  # the name is an error name in the workflow
    """The object has no bytes."""


class ImageTooLarge(Exception):  # noqa: N818  # the name is an error name in the workflow
    """The endpoint would refuse an image of this size."""


@functools.cache
def s3_client() -> Any:
    return boto3.client("s3")


def handler(event: dict[str, Any], _context: object) -> Body:
    return serialize(event, s3_client())


def serialize(event: dict[str, Any], s3: Any) -> Body:
    """The workflow's body for the image that ``event`` names."""
    bucket, key = image_location(event)
    data = read_image(s3, bucket, key)
    inline = data if len(data) <= MAX_INLINE_IMAGE_BYTES else b""
    return {
        "s3_bucket": bucket,
        "s3_key": key,
        "image_data": base64.b64encode(inline).decode("ascii"),
        "inferences": [],
    }


def image_location(event: dict[str, Any]) -> tuple[str, str]:
    """Bucket and key from ``{"s3_bucket", "s3_key"}``, or from a ``body`` that holds them (object or JSON text)."""
    content = event.get("body", event)
    if isinstance(content, str):
        try:
            content = json.loads(content)
        except json.JSONDecodeError as error:
            raise InvalidInput(f"body must be a JSON object, got text that is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise InvalidInput(f"expected an object with s3_bucket and s3_key, got {type(content).__name__}")
    for name in ("s3_bucket", "s3_key"):
        if not isinstance(content.get(name), str) or not content[name]:
            raise InvalidInput(f"expected text in {name}, got {content.get(name)!r}")
    return content["s3_bucket"], content["s3_key"]


def read_image(s3: Any, bucket: str, key: str) -> bytes:
    """The object's bytes; its size is checked before they are read."""
    uri = f"s3://{bucket}/{key}"
    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        # Without s3:ListBucket a missing key is answered with AccessDenied.
        if error.response["Error"]["Code"] in {"NoSuchKey", "NoSuchBucket", "404", "AccessDenied", "403"}:
            hint = f" (keys are not URL-encoded: did you mean {unquote_plus(key)!r}?)" if "%" in key else ""
            raise ImageNotFound(f"{uri} does not exist or may not be read{hint}") from error
        raise
    if answer["ContentLength"] > MAX_IMAGE_BYTES:
        raise ImageTooLarge(f"{uri} has {answer['ContentLength']} bytes; an endpoint accepts {MAX_IMAGE_BYTES} at most")
    data: bytes = answer["Body"].read()
    if not data:
        raise ImageEmpty(f"{uri} is empty; expected a PNG or JPEG image")
    return data
