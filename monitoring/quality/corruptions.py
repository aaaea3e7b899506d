"""Eight ways in which pictures become worse, each in three severities: what a model's own error is measured on.

Runs in the baseline job. Images in, worse images out; the same images give the same. After the common corruptions of
Hendrycks and Dietterich (ICLR 2019), whose strengths depend on the size of the picture as these do.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter

Pixels = npt.NDArray[np.uint8]
Damage = Callable[[Image.Image, float], Image.Image]
SEVERITIES = 3


def corrupted(pixels: Pixels, kind: str, severity: int) -> Pixels:
    """Worse copies of images, uint8 [N, H, W, 3], RGB; severity from 1 to SEVERITIES."""
    damage, strengths = KINDS[kind]
    worse = [damage(Image.fromarray(each), strengths[severity - 1]) for each in pixels]
    return np.stack([np.asarray(each, np.uint8) for each in worse])


def _noise(image: Image.Image, deviation: float) -> Image.Image:
    values = np.asarray(image, np.float64)
    noise = np.random.default_rng(int(values.sum())).normal(0.0, deviation, values.shape)
    return Image.fromarray(np.clip(values + noise, 0, 255).round().astype(np.uint8))


def _blur(image: Image.Image, share: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(image.width * share))


def _light(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


def _contrast(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(factor)


def _coarse(image: Image.Image, share: float) -> Image.Image:
    small = image.resize([max(1, round(side * share)) for side in image.size], Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.NEAREST)


def _jpeg(image: Image.Image, quality: float) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=int(quality))
    return Image.open(out).convert("RGB")


def _turned(image: Image.Image, degrees: float) -> Image.Image:
    return image.rotate(-degrees, resample=Image.Resampling.BILINEAR)


# Strengths of the mildest, the middle and the strongest.
KINDS: dict[str, tuple[Damage, tuple[float, float, float]]] = {
    "noise": (_noise, (8.0, 20.0, 40.0)),
    "blur": (_blur, (1 / 64, 1 / 32, 1 / 16)),
    "darkness": (_light, (0.7, 0.45, 0.25)),
    "glare": (_light, (1.3, 1.7, 2.4)),
    "haze": (_contrast, (0.7, 0.45, 0.25)),
    "coarse pixels": (_coarse, (0.75, 0.5, 0.3)),
    "compression": (_jpeg, (50, 20, 8)),
    "a turn": (_turned, (10.0, 25.0, 90.0)),
}
