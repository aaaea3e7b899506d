"""Turn the bytes of any picture into the 32 x 32 RGB array that the model takes, or refuse them with a clear reason.

Runs in containers: training data, evaluation and live requests all pass through here, so that no two of them differ.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

IMAGE_SIZE = 32  # pixels per side; CIFAR's size
MAX_PIXELS = 40_000_000  # a 40-megapixel photograph needs 160 MB once decoded; larger ones are refused before decoding
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")

Pixels = npt.NDArray[np.uint8]


class ImageError(ValueError):
    """The bytes are not a picture this project reads; the message says why."""


def decode_image(data: bytes) -> Pixels:
    """Decode, turn upright by EXIF, flatten onto white, and scale to uint8 [32, 32, 3], RGB.

    Raises ImageError for empty, foreign, truncated or oversized input.
    """
    if not data:
        raise ImageError("the image is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            _refuse_oversized(picture)
            picture.draft("RGB", (IMAGE_SIZE, IMAGE_SIZE))
            return np.asarray(_scale(_to_rgb(ImageOps.exif_transpose(picture))), dtype=np.uint8)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{len(data)} bytes starting with {data[:8]!r} are not an image; expected one of {', '.join(FORMATS)}"
        ) from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ImageError(f"the image declares more than {MAX_PIXELS:,} pixels") from error
    # Pillow's decoders raise whatever their parser meets in a broken file: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        raise ImageError(f"the image is truncated or damaged: {error}") from error


def _refuse_oversized(picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"the image has {width} x {height} pixels, more than the {MAX_PIXELS:,} accepted")


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16-bit grey: convert() would clip to white instead of scaling
        picture = Image.fromarray((np.asarray(picture, dtype=np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        picture = Image.alpha_composite(white, layer)
    return picture.convert("RGB")


def _scale(picture: Image.Image) -> Image.Image:
    size = (IMAGE_SIZE, IMAGE_SIZE)
    if picture.size == size:
        return picture
    return picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def encode_png(pixels: Pixels) -> bytes:
    """PNG bytes of a uint8 [height, width, 3] RGB array; the same array gives the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
