"""An image's bytes from S3, small enough for the endpoint.

Runs in Lambda. Scaling needs Pillow, which comes from a layer and is imported only for an image beyond the endpoint's
limit; nothing of the standard library can scale a JPEG.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from botocore.exceptions import ClientError, ParamValidationError

from lambdas.inference.body import WorkflowFault

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from types_boto3_s3 import S3Client

# What a SageMaker real-time endpoint accepts (InvokeEndpoint, Body).
ENDPOINT_LIMIT_BYTES = 6_291_456
# Read and decoded, the largest images need 500 MiB of the function's memory.
SOURCE_LIMIT_BYTES = 64 * 1024 * 1024
SOURCE_LIMIT_PIXELS = 80_000_000
# 240,000 bytes as base64: with the rest of the body below the 262,144 bytes of a Step Functions state.
INLINE_LIMIT_BYTES = 180_000
# Far above the 32 pixels of the model, and nearly always below the inline limit at once.
SCALED_SIDE_PIXELS = 1024
SCALED_QUALITY = 90

_MISSING = {"NoSuchKey", "NoSuchBucket", "404", "InvalidBucketName", "KeyTooLongError"}
_REFUSED = {"AccessDenied", "403", "InvalidObjectState", "AllAccessDisabled", "KMS.DisabledException"}
_MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


class ImageNotFound(WorkflowFault):
    """There is no such bucket or object."""


class ImageNotReadable(WorkflowFault):
    """The object is there, but the function may not read it, or it lies in an archive."""


class ImageEmpty(WorkflowFault):
    """The object has no bytes."""


class ImageTooLarge(WorkflowFault):
    """The image is too large even to be scaled down."""


class InvalidImage(WorkflowFault):
    """The bytes are no image that the model accepts; trying again does not help."""


def read_image(s3: S3Client, bucket: str, key: str) -> bytes:
    """The object's bytes, scaled down if the endpoint would refuse them; sizes are checked before reading."""
    uri = f"s3://{bucket}/{key}"
    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        raise _named(error, uri, key) from error
    except ParamValidationError as error:  # what no bucket can be called
        raise ImageNotFound(f"{uri} does not exist: {error}") from error
    size = answer["ContentLength"]
    if size == 0:
        raise ImageEmpty(f"{uri} is empty; expected a PNG or JPEG image")
    if size > SOURCE_LIMIT_BYTES:
        raise ImageTooLarge(f"{uri} has {size} bytes; {SOURCE_LIMIT_BYTES} at most can be scaled down")
    data = answer["Body"].read()
    return data if size <= ENDPOINT_LIMIT_BYTES else scaled_down(data, uri)


def _named(error: ClientError, uri: str, key: str) -> Exception:
    code = error.response["Error"]["Code"]
    if code in _MISSING:
        hint = f" (keys are not URL-encoded: did you mean {unquote_plus(key)!r}?)" if "%" in key else ""
        return ImageNotFound(f"{uri} does not exist{hint}")
    if code in _REFUSED:
        return ImageNotReadable(f"{uri} may not be read ({code}): {error.response['Error'].get('Message', '')}")
    return error


def scaled_down(data: bytes, uri: str) -> bytes:
    """The image as a JPEG that fits into a state: upright, laid on white, its shape kept."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > SOURCE_LIMIT_PIXELS:
                raise ImageTooLarge(f"{uri} has {image.width} x {image.height} pixels; {SOURCE_LIMIT_PIXELS} at most")
            small = _scaled(image)
    except WorkflowFault:
        raise
    except Exception as error:  # Pillow's decoders raise whatever their parser meets in a broken file
        raise InvalidImage(f"{uri} has {len(data)} bytes and cannot be scaled down: {error}") from error
    while len(scaled := _jpeg(small)) > INLINE_LIMIT_BYTES:
        small = small.resize((max(1, small.width * 3 // 4), max(1, small.height * 3 // 4)))
    return scaled


def _scaled(image: Picture) -> Picture:
    from PIL import Image, ImageOps

    side = (SCALED_SIDE_PIXELS, SCALED_SIDE_PIXELS)
    image.draft("RGB", side)  # a JPEG is decoded at a fraction of its size
    if image.mode.startswith("I"):  # 16-bit grey: convert() would clip to white instead of scaling
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    clear = image.has_transparency_data
    small = image.convert("RGBA").convert("RGBa") if clear else image.convert("RGB")
    small.thumbnail(side, Image.Resampling.BOX)
    small.info["exif"] = image.info.get("exif", b"")
    if clear:
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small.convert("RGBA")).convert("RGB")
    try:
        return ImageOps.exif_transpose(small)
    except Exception:  # the picture is whole without orientation data that cannot be read
        return small


def _jpeg(image: Picture) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=SCALED_QUALITY)
    return buffer.getvalue()


def content_type(image: bytes) -> str:
    """Read from the first bytes, because object names and metadata are often wrong."""
    return next((kind for magic, kind in _MAGIC.items() if image.startswith(magic)), "application/x-image")
