"""Captured images as small pictures for a page: decoded and encoded anew, never passed through.

Runs in the monitoring container. Bytes in, text out.
"""

from __future__ import annotations

import base64
import io
import warnings

from PIL import Image, UnidentifiedImageError

THUMBNAIL_PIXELS = 128
# As PNG, a photograph of this size is a few kilobytes; larger ones would make up half of the page.
LOSSLESS_PIXELS = 64
IMAGE_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
# A captured request holds at most 6 MB; a small file that decodes to more pixels than this is an attack or a mistake.
IMAGE_PIXELS = 25_000_000


def thumbnail(data: bytes | None) -> str | None:
    """A data URI of the picture, at most 128 pixels wide and high, or None where the bytes are not a picture."""
    if data is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=IMAGE_FORMATS) as image:
                if image.width * image.height > IMAGE_PIXELS:
                    return None
                image.draft("RGB", (2 * THUMBNAIL_PIXELS, 2 * THUMBNAIL_PIXELS))
                picture = image.convert("RGBA" if image.has_transparency_data else "RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, Warning, Image.DecompressionBombError):
        return None
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    kind = "PNG" if max(picture.size) <= LOSSLESS_PIXELS else "WEBP"
    out = io.BytesIO()
    picture.save(out, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"
