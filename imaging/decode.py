"""Turn the bytes of any picture into the square RGB array that the model takes, or refuse them with a clear reason.

Runs in containers: training data, evaluation and live requests all pass through here, so that no two of them differ.

| what comes | what becomes of it |
| --- | --- |
| grey, 1-bit, palette, CMYK | converted to RGB |
| 16 bits a channel | scaled to 8: the high byte |
| transparency of any kind | laid on white, as a browser or a product page shows it |
| EXIF orientation | applied; EXIF data that cannot be read are ignored, the picture is whole without them |
| another size | scaled with a bicubic filter |
| another shape | half of what the longer side has too much is cut off, the rest is squeezed: see `_frame` |
| animated GIF, PNG or WebP | refused: which frame is meant? (of several pictures in a JPEG, the first) |
| more pixels than MAX_PIXELS, a side over MAX_SIDE | refused before decoding |
| empty, truncated, damaged, another format, no width or height | refused |
"""

from __future__ import annotations

import io
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

IMAGE_SIZE = 32  # pixels per side where nothing says otherwise; CIFAR's size
SIZES = range(16, 1025)  # that a dataset and its model may have
MAX_PIXELS = 40_000_000  # a 40-megapixel photograph needs 160 MB once decoded; larger ones are refused before decoding
MAX_SIDE = 20_000  # pixels; Pillow keeps a pointer for each row: 40 million rows of one pixel took 900 MB
LARGE_PIXELS = 2_000_000  # pictures that unpack to more are decoded one at a time, whatever the number of threads
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
ANIMATED_FORMATS = {"PNG", "WEBP", "GIF"}
ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Pixels = npt.NDArray[np.uint8]

# One thread and not a lock: the allocator keeps what a thread has freed for that thread.
_large_pictures = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-picture")


class ImageError(ValueError):
    """The bytes are not a picture this project reads; the message says why."""


def decode_image(data: bytes, size: int = IMAGE_SIZE) -> Pixels:
    """Decode, scale, flatten onto white and turn upright: uint8 [size, size, 3], RGB.

    Raises ImageError for empty, foreign, animated, truncated or oversized input.
    """
    if not data:
        raise ImageError("the image is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            _refuse(picture)
            if _unpacked_pixels(picture, size) <= LARGE_PIXELS:
                return _decode(picture, size)
        return _large_pictures.submit(_open_and_decode, data, size).result()
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{len(data)} bytes starting with {data[:8]!r} are not an image with any pixels;"
            f" expected one of {', '.join(FORMATS)}"
        ) from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ImageError(f"the image declares more than {MAX_PIXELS:,} pixels") from error
    # Pillow's decoders raise whatever their parser meets in a broken file: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        raise ImageError(f"the image is truncated or damaged: {error}") from error


def _refuse(picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"the image has {width} x {height} pixels, more than the {MAX_PIXELS:,} accepted")
    if max(width, height) > MAX_SIDE:
        raise ImageError(f"the image has {width} x {height} pixels, a side may have at most {MAX_SIDE:,}")
    if picture.format in ANIMATED_FORMATS and getattr(picture, "is_animated", False):
        raise ImageError(f"the {picture.format} is animated; send one of its frames as a still image")


def _unpacked_pixels(picture: Image.Image, size: int) -> int:
    """How many pixels are in memory while it is decoded: of a JPEG, a part of its own, unless it is progressive."""
    whole = picture.width * picture.height
    picture.draft("RGB", (size, size))
    return whole if picture.info.get("progressive") else picture.width * picture.height


def _open_and_decode(data: bytes, size: int) -> Pixels:
    with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        return _decode(picture, size)


def _decode(picture: Image.Image, size: int) -> Pixels:
    picture.draft("RGB", (size, size))
    picture.load()
    # Turned last, when it is small: framing and scaling treat both sides alike.
    turn = ORIENTATIONS.get(_orientation(picture))
    upright = _scale_to_rgb(picture, size)
    return np.asarray(upright if turn is None else upright.transpose(turn), dtype=np.uint8)


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    # A camera's or an editor's broken EXIF block raises whatever the parser meets.
    except Exception:
        return 1


def _scale_to_rgb(picture: Image.Image, size: int) -> Image.Image:
    if picture.mode.startswith("I"):  # 16-bit grey: convert() would clip to white instead of scaling
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if not picture.has_transparency_data:
        return _scale(picture.convert("RGB"), size)
    layer = picture.convert("RGBA")
    if layer.size != (size, size):
        # Premultiplied, or the colours below transparent pixels would bleed into their neighbours.
        layer = _scale(layer.convert("RGBa"), size).convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def _scale(picture: Image.Image, size: int) -> Image.Image:
    square = (size, size)
    if picture.size == square:
        return picture
    return picture.resize(square, Image.Resampling.BICUBIC, box=_frame(*picture.size), reducing_gap=3.0)


def _frame(width: int, height: int) -> tuple[float, float, float, float]:
    """The part of a picture that is squeezed into the square: its shape is the square root of the picture's.

    Nobody knows whether a wide photograph's subject fills it or stands in the middle. Cropping to a square loses wheels
    in the first case, squeezing all of it distorts the second; half of each loses least in the worse case
    (``python -m benchmarks.model.framing``).
    """
    side = math.sqrt(width * height)
    seen_width, seen_height = min(side, width), min(side, height)
    left, top = (width - seen_width) / 2, (height - seen_height) / 2
    return (left, top, left + seen_width, top + seen_height)


def encode_png(pixels: Pixels) -> bytes:
    """PNG bytes of a uint8 [height, width, 3] RGB array; the same array gives the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
