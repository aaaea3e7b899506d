"""One picture of a dataset for people: a row per class, some images of each split side by side.

Runs in containers: the filter job writes it as ``contact_sheet.png`` beside ``dataset.json``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from imaging.decode import Pixels

SHEET_FILE = "contact_sheet.png"
COLUMNS = {"train": 12, "validation": 4, "test": 6}
LARGE_CLASSES = 20  # up to this many classes the images are drawn twice as large
MOST_CLASSES = 100
"""That are drawn; a picture of a thousand rows can be neither opened nor looked at."""
SHOWN = 32  # pixels that an image is drawn with; photographs half as much again
MOST_SHOWN = 2 * SHOWN * 3 // 2
"""Of a photograph, where there are few classes."""
NAME_WIDTH = 190  # pixels
HEADER = 34
ROW_GAP = 6
GAP = 18
INK, PALE = "#1b1b1b", "#6b6b6b"

Examples = Mapping[str, Sequence[Pixels]]
"""For each split, the images of each class to show: uint8 [n, size, size, 3], RGB."""


def contact_sheet(classes: Sequence[str], counts: Mapping[str, Mapping[str, int]], examples: Examples) -> Image.Image:
    """Draw the sheet; ``counts`` (split, class) are written beside the names and over the columns.

    Of many classes the first ones are drawn, and the others counted.
    """
    more = len(classes) - MOST_CLASSES
    few = len(classes) <= LARGE_CLASSES
    side = _side(examples) * (2 if few else 1)
    cell = side + 2
    lefts, right = {}, NAME_WIDTH
    for split in COLUMNS:
        columns = columns_of(split, len(classes))
        lefts[split] = right
        right += columns * cell + GAP
    bottom = HEADER + min(len(classes), MOST_CLASSES) * (cell + ROW_GAP)
    sheet = Image.new("RGB", (right, bottom + GAP // 2 + (HEADER if more > 0 else 0)), "white")
    draw = ImageDraw.Draw(sheet)
    for split, left in lefts.items():
        draw.text((left, HEADER - 8), f"{split} ({sum(counts[split].values()):,})", INK, _font(15), anchor="ls")
    if more > 0:
        draw.text((10, bottom + HEADER // 2), f"and {more:,} more classes", PALE, _font(13), anchor="lm")
    for row, name in enumerate(classes[:MOST_CLASSES]):
        top = HEADER + row * (cell + ROW_GAP)
        numbers = " / ".join(f"{counts[split][name]:,}" for split in COLUMNS)
        if few:
            draw.text((10, top + 28), _fitting(draw, name, 16), INK, _font(16), anchor="ls")
            draw.text((10, top + 48), numbers, PALE, _font(13), anchor="ls")
        else:
            draw.text((10, top + 14), _fitting(draw, name, 13), INK, _font(13), anchor="ls")
            draw.text((10, top + 28), numbers, PALE, _font(10), anchor="ls")
        for split, left in lefts.items():
            for column, pixels in enumerate(examples[split][row][: columns_of(split, len(classes))]):
                sheet.paste(_drawn(pixels, side), (left + column * cell, top))
    return sheet


def columns_of(split: str, classes: int) -> int:
    """How many images of each class are shown."""
    return COLUMNS[split] if classes <= LARGE_CLASSES else min(COLUMNS[split], 4)


def _side(examples: Examples) -> int:
    sizes = [len(images[0]) for of_split in examples.values() for images in of_split if len(images)]
    return SHOWN if max(sizes, default=SHOWN) <= SHOWN else SHOWN * 3 // 2


def _drawn(pixels: Pixels, side: int) -> Image.Image:
    how = Image.Resampling.NEAREST if len(pixels) < side else Image.Resampling.BICUBIC
    return Image.fromarray(pixels).resize((side, side), how)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fitting(draw: ImageDraw.ImageDraw, name: str, size: int) -> str:
    font, room = _font(size), NAME_WIDTH - 20
    shown = name
    while draw.textlength(shown, font) > room:
        shown = shown[:-2] + "…"
    return shown
