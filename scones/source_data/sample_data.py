"""Drawn vehicles for when no photographs can be had: ``--sample``. Labelled as drawn in every output.

Runs on a laptop. Writes ``<split>/<class>/*.png``, 32x32 RGB, a layout that the filter step reads like any other.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

ORIGIN = "drawn vehicles - not photographs"
"""How outputs call these images; goes into a model package's metadata, which refuses commas."""

SPLITS = {"train": 200, "test": 50}
_SIZE = 128  # drawn large and scaled down, which smooths the edges


def write(folder: Path, classes: tuple[str, ...] = ("bicycle", "motorcycle"), seed: int = 0) -> Path:
    """Draw the images below ``folder``; the same seed draws the same ones. Only bicycles and motorcycles are known."""
    chooser = random.Random(seed)  # noqa: S311 - pictures, not secrets
    for split, count in SPLITS.items():
        for name in classes:
            target = folder / split / name
            target.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                _vehicle(name == "motorcycle", chooser).save(target / f"drawn_{name}_{index:04d}.png")
    return folder


def _vehicle(motor: bool, chooser: random.Random) -> Image.Image:
    from PIL import Image, ImageDraw  # heavy, and nobody but `--sample` draws

    background = tuple(chooser.randint(120, 255) for _ in range(3))
    ink = tuple(chooser.randint(0, 110) for _ in range(3))
    image = Image.new("RGB", (_SIZE, _SIZE), background)
    draw = ImageDraw.Draw(image)
    x, y = chooser.randint(-8, 8), chooser.randint(-8, 8)
    radius = chooser.randint(18, 24)
    left, right, ground = 32 + x, 96 + x, 84 + y
    for centre in (left, right):
        box = (centre - radius, ground - radius, centre + radius, ground + radius)
        draw.ellipse(box, outline=ink, width=10 if motor else 3)
    seat, head = (52 + x, 44 + y), (88 + x, 40 + y)
    crank = (62 + x, ground)
    if motor:
        draw.polygon([seat, head, (right - 14, ground - 6), (left + 8, ground - 4)], fill=ink)
        draw.ellipse((crank[0] - 12, ground - 20, crank[0] + 14, ground + 4), fill=background, outline=ink, width=4)
    else:
        for start, end in ((seat, crank), (crank, head), (seat, head), (seat, (left, ground)), ((left, ground), crank)):
            draw.line((start, end), fill=ink, width=3)
    draw.line((head, (right, ground)), fill=ink, width=7 if motor else 3)
    draw.line(((head[0] - 8, head[1] - 10), (head[0] + 6, head[1] - 12)), fill=ink, width=5 if motor else 3)
    if chooser.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image.rotate(chooser.uniform(-8, 8), fillcolor=background).resize((32, 32), Image.Resampling.LANCZOS)
