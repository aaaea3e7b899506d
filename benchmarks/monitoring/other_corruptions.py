"""Eight ways in which pictures become worse, none of which the baseline job measures an estimate's error on.

Used by `benchmarks.monitoring.estimate`. Images in, worse images out.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageFilter


def salt(image: Image.Image, share: float, chance: np.random.Generator) -> Image.Image:
    """Pixels that are black or white."""
    values = np.asarray(image).copy()
    hit = chance.random(values.shape[:2]) < share
    values[hit] = chance.choice([0, 255], hit.sum())[:, None]
    return Image.fromarray(values)


def motion(image: Image.Image, share: float, _chance: np.random.Generator) -> Image.Image:
    """A camera that moves sideways."""
    steps = range(-round(image.width * share), round(image.width * share) + 1)
    moved = [np.asarray(ImageChops.offset(image, step, 0), np.float64) for step in steps]
    return Image.fromarray(np.mean(moved, axis=0).astype(np.uint8))


def gamma(image: Image.Image, power: float, _chance: np.random.Generator) -> Image.Image:
    """Shadows that close."""
    return Image.fromarray((255.0 * (np.asarray(image) / 255.0) ** power).astype(np.uint8))


def cast(image: Image.Image, amount: float, _chance: np.random.Generator) -> Image.Image:
    """A lamp of another colour."""
    return Image.fromarray(np.clip(np.asarray(image) * [1 + amount, 1.0, 1 - amount], 0, 255).astype(np.uint8))


def covered(image: Image.Image, share: float, chance: np.random.Generator) -> Image.Image:
    """Something in front of the lens, of one colour."""
    values = np.asarray(image).copy()
    side = round(image.width * share)
    top, left = chance.integers(0, image.width - side, 2)
    values[top : top + side, left : left + side] = chance.integers(0, 255, 3)
    return Image.fromarray(values)


def fog(image: Image.Image, share: float, _chance: np.random.Generator) -> Image.Image:
    """White over all of it, thicker above."""
    height = np.linspace(1.0, 0.4, image.height)[:, None, None] * share
    return Image.fromarray((np.asarray(image) * (1 - height) + 235 * height).astype(np.uint8))


def far(image: Image.Image, share: float, _chance: np.random.Generator) -> Image.Image:
    """A camera that hangs further away: the picture in the middle of its own blurred copy."""
    side = round(image.width * share)
    around = image.filter(ImageFilter.GaussianBlur(image.width / 8))
    around.paste(image.resize((side, side), Image.Resampling.LANCZOS), ((image.width - side) // 2,) * 2)
    return around


def squeezed(image: Image.Image, quality: float, _chance: np.random.Generator) -> Image.Image:
    """Stored as WebP at half of the size, as messengers do."""
    out = io.BytesIO()
    image.resize((image.width // 2, image.height // 2)).save(out, "WEBP", quality=int(quality))
    return Image.open(out).convert("RGB").resize(image.size, Image.Resampling.BICUBIC)


Worse = Callable[[Image.Image, float, np.random.Generator], Image.Image]
# Strengths of the mildest, the middle and the strongest.
OTHER_KINDS: dict[str, tuple[Worse, tuple[float, float, float]]] = {
    "salt and pepper": (salt, (0.01, 0.04, 0.12)),
    "motion": (motion, (0.03, 0.07, 0.15)),
    "gamma": (gamma, (1.3, 2.0, 3.5)),
    "colour cast": (cast, (0.1, 0.25, 0.5)),
    "covered": (covered, (0.25, 0.4, 0.6)),
    "fog": (fog, (0.2, 0.45, 0.75)),
    "far away": (far, (0.85, 0.65, 0.45)),
    "squeezed": (squeezed, (80, 30, 5)),
}
