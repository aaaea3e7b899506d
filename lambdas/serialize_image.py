"""First function of the inference workflow: an S3 object becomes base64 text in the workflow's body.

Runs in Lambda. Reads the object that the input names; writes nothing. An image too large for a state (Step Functions
allows 262,144 bytes) is not copied: its body carries the S3 reference alone, and `classify_image` reads it there. One
too large for the endpoint is scaled down.
"""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

import boto3

from lambdas.inference.body import InvalidBody, WorkflowEvent, WorkflowFault, name_of, unwrapped
from lambdas.inference.images import INLINE_LIMIT_BYTES, InvalidImage, read_image
from lambdas.inference.telemetry import observed

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

ON_LOW_CONFIDENCE = ("fail", "review")


class SerializedImage(TypedDict):
    """What the next function gets: ``image_data`` is base64, or empty for an image too large for a state."""

    s3_bucket: str
    s3_key: str
    image_data: str
    inferences: list[float]


class InvalidInput(WorkflowFault):
    """The workflow's input does not name an image."""


@functools.cache
def s3_client() -> S3Client:
    """Return the function's client, made once."""
    return boto3.client("s3")


@observed
def handler(event: WorkflowEvent, _context: object) -> SerializedImage:
    """Answer the body with the image of the S3 object that the input names."""
    return serialize(event, s3_client)


def serialize(event: WorkflowEvent, s3: Callable[[], S3Client]) -> SerializedImage:
    """The workflow's body for the image that ``event`` names or holds; ``s3`` returns a client."""
    try:
        content = unwrapped(event)
    except InvalidBody as error:
        raise InvalidInput(str(error)) from error
    _check_choice(event, name_of(content))
    if content.get("image_data"):
        return _body(content.get("s3_bucket") or "", content.get("s3_key") or "", _checked(content["image_data"]))
    for name, value in (("s3_bucket", content.get("s3_bucket")), ("s3_key", content.get("s3_key"))):
        if not isinstance(value, str) or not value:
            raise InvalidInput(f"{name_of(content)}: expected text in {name}, got {value!r}")
    data = read_image(s3(), content["s3_bucket"], content["s3_key"])
    inline = data if len(data) <= INLINE_LIMIT_BYTES else b""
    return _body(content["s3_bucket"], content["s3_key"], base64.b64encode(inline).decode("ascii"))


def _body(bucket: str, key: str, image_data: str) -> SerializedImage:
    return {"s3_bucket": bucket, "s3_key": key, "image_data": image_data, "inferences": []}


def _checked(image_data: str) -> str:
    try:
        base64.b64decode(image_data, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise InvalidImage(f"image_data must be base64: {error}") from error
    return str(image_data)


def _check_choice(event: WorkflowEvent, subject: str) -> None:
    """The execution's input may say what becomes of low confidence; the state machine reads it there."""
    given = event.get("body", event)
    choice = given.get("on_low_confidence", "fail") if isinstance(given, dict) else "fail"
    if choice not in ON_LOW_CONFIDENCE:
        allowed = " or ".join(ON_LOW_CONFIDENCE)
        raise InvalidInput(f"{subject}: on_low_confidence must be {allowed}, got {choice!r}")
