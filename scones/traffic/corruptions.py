"""What can go wrong with a camera, for demonstrations and tests of the monitoring: images in, worse images out.

Runs on a laptop. Strengths are such that a good classifier loses some points of accuracy, not all of it (the common
corruptions of Hendrycks and Dietterich, ICLR 2019, at their milder severities).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

Corruption = Callable[[Image.Image, random.Random], Image.Image]


def darkened(image: Image.Image, _chooser: random.Random) -> Image.Image:
    """Half of the light."""
    return ImageEnhance.Brightness(image).enhance(0.5)


def blurred(image: Image.Image, _chooser: random.Random) -> Image.Image:
    """Out of focus: a Gaussian of a thirty-second of the width."""
    return image.filter(ImageFilter.GaussianBlur(image.width / 32))


def noisy(image: Image.Image, chooser: random.Random) -> Image.Image:
    """Sensor noise with a standard deviation of 20 of 255, each pixel and channel on its own."""
    values = image.tobytes()
    noise = (chooser.gauss(0.0, 20.0) for _ in values)
    changed = bytes(min(255, max(0, round(value + more))) for value, more in zip(values, noise, strict=True))
    return Image.frombytes(image.mode, image.size, changed)


def rotated(image: Image.Image, chooser: random.Random) -> Image.Image:
    """A camera that hangs askew by 20 to 30 degrees to the right; what it did not see is black."""
    return image.rotate(-chooser.uniform(20.0, 30.0), resample=Image.Resampling.BILINEAR)


CORRUPTIONS: dict[str, Corruption] = {
    "darkened": darkened,
    "blurred": blurred,
    "noisy": noisy,
    "rotated": rotated,
}


def new_vehicle(chooser: random.Random, size: int = 32) -> Image.Image:
    """A drawn lorry: something that the classifier was never shown."""
    scale = 4
    image = Image.new("RGB", (size * scale, size * scale), _colour(chooser, 140, 255))
    draw = ImageDraw.Draw(image)
    unit = size * scale / 32
    paint, ink = _colour(chooser, 60, 220), _colour(chooser, 0, 60)
    top = chooser.uniform(7.0, 11.0)
    draw.rectangle(_box(unit, 2, top, 21, 23), fill=paint)
    draw.rectangle(_box(unit, 22, top + 4, 30, 23), fill=ink)
    draw.rectangle(_box(unit, 25, top + 6, 29, top + 9), fill=(200, 220, 240))
    for left in (5, 13, 23):
        draw.ellipse(_box(unit, left, 20, left + 5, 25), fill=ink)
    return image.resize((size, size), Image.Resampling.LANCZOS)


def _colour(chooser: random.Random, least: int, most: int) -> tuple[int, int, int]:
    return chooser.randint(least, most), chooser.randint(least, most), chooser.randint(least, most)


def _box(unit: float, left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
    return left * unit, top * unit, right * unit, bottom * unit
