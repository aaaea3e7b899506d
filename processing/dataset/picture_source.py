"""Read labelled pictures of any size: each is decoded once, looked at, and written as the dataset will hold it.

Runs in the filter job, as the second kind of source beside CIFAR-100's own layout. Only some hundred bytes of a
picture stay in memory. What cannot be read is named; more than a tolerated share of it stops the job.
"""

from __future__ import annotations

import hashlib
import io
import itertools
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from imaging.dataset import SPLITS, Labels
from imaging.decode import FORMATS, IMAGE_SIZE, ImageError, Pixels, decode_image
from imaging.png import encode_picture
from processing.dataset.near_copies import look_hash, near_groups
from processing.dataset.source import ImageSource, LabelledImages, Written, class_number
from processing.finding.pictures import NAMED, FoundPictures, Picture, some
from processing.machine import cores, keep_freed_memory
from reporting.job import JobError

MIN_SIDE = 16  # pixels: a smaller picture is mostly interpolation
MODES = ("RGB", "RGBA", "L", "LA", "P", "PA", "CMYK", "YCbCr")  # 8 bits a channel; others lose most of their range
LINE = 160  # characters of a reason
THUMBNAIL = 64
"""Pixels of the longer side up to which pictures are thumbnails, which CIFAR's size is enough for."""
PHOTOGRAPH_SIZE = 224
"""What the networks that photographs are recognised with were trained at."""
SAMPLED = 64
AT_ONCE = 16  # pictures that a thread takes from the queue
EVERY_CLASS = "all"


@dataclass(frozen=True)
class Look:
    """What stays of a picture: digests of its file and its PNG, a fingerprint of its pixels, its size and mode."""

    file_sha256: str
    png_sha256: str
    look: bytes
    size: str
    mode: str


@dataclass(frozen=True)
class Reading:
    """How pictures are read: ``size`` 0 is chosen by what they are, ``tolerated`` is a share of them."""

    size: int
    scratch: Path
    tolerated: float = 0.0


def natural_size(pictures: list[Picture]) -> int:
    """CIFAR's size where all are thumbnails, else a photograph's; some are looked at."""
    step = max(1, len(pictures) // SAMPLED)
    return IMAGE_SIZE if all(map(_is_thumbnail, pictures[::step])) else PHOTOGRAPH_SIZE


def _is_thumbnail(picture: Picture) -> bool:
    try:
        with Image.open(io.BytesIO(picture.read()), formats=FORMATS) as opened:
            return max(opened.size) <= THUMBNAIL
    except Exception:  # whatever a broken file raises: it is named when it is read
        return True


def chosen_classes(found: FoundPictures, wanted: list[str]) -> list[str]:
    """The classes by name or number, all there are where none or ``all`` is asked for. Raises JobError."""
    names = found.classes
    chosen = names if wanted in ([], [EVERY_CLASS]) else [names[class_number(text, names)] for text in wanted]
    if len(chosen) < 2:
        skipped = ", ".join(f"{count:,} {reason}" for reason, count in found.skipped.most_common(NAMED))
        raise JobError(
            f"expected at least two classes, found {', '.join(names) or 'none'}"
            + (f"; skipped by name: {skipped}" if skipped else "")
        )
    return chosen


def read_pictures(found: FoundPictures, wanted: list[str], reading: Reading) -> ImageSource:
    """Images of the wanted classes, scaled to the size; without splits, all are training images. Raises JobError."""
    classes = chosen_classes(found, wanted)
    pictures = [picture for name in classes for picture in found.pictures if picture.label == name]
    size = reading.size or natural_size(pictures)
    looks: list[Look | str] = look_at_all(pictures, size, reading.scratch)
    unreadable = [f"{p.place}: {look}" for p, look in zip(pictures, looks, strict=True) if isinstance(look, str)]
    if len(unreadable) > reading.tolerated * len(pictures):
        raise JobError(
            f"{len(unreadable)} pictures cannot be used, remove or replace them, or tolerate a share of"
            f" {len(unreadable) / len(pictures):.3f}: {'; '.join(unreadable[:NAMED])}"
            + (f"; and {len(unreadable) - NAMED} more" if len(unreadable) > NAMED else "")
        )
    known = {number: look for number, look in enumerate(looks) if isinstance(look, Look)}
    if unreadable:
        print(f"left out, because they cannot be read: {some(unreadable)}", flush=True)
    return _source(found, classes, _Store(pictures, known, reading.scratch, size), unreadable)


def look_at_all(pictures: list[Picture], size: int, scratch: Path) -> list[Look | str]:
    """What is known of each, whose PNG is written as ``<number>.png``; or in words why it cannot be used."""
    keep_freed_memory()

    def look_at(start: int) -> list[Look | str]:
        numbers = range(start, min(start + AT_ONCE, len(pictures)))
        return [_look(pictures[number], number, size, scratch) for number in numbers]

    with ThreadPoolExecutor(cores()) as pool:  # Pillow's decoders release the interpreter's lock
        return list(itertools.chain.from_iterable(pool.map(look_at, range(0, len(pictures), AT_ONCE))))


def _look(picture: Picture, number: int, size: int, scratch: Path) -> Look | str:
    """What is known of the picture, whose PNG is written; or in words why it cannot be used."""
    try:
        data = picture.read()
        pixels = decode_image(data, size)
    except (ImageError, JobError) as error:
        return str(error).removeprefix(picture.place).strip()[:LINE]
    with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
        (width, height), mode = opened.size, opened.mode
    if min(width, height) < MIN_SIDE:
        return f"it has {width} x {height} pixels, expected at least {MIN_SIDE} on each side"
    if mode not in MODES:
        return f"its mode is {mode}, expected 8 bits a channel ({', '.join(MODES)})"
    png = encode_picture(pixels)
    (scratch / f"{number}.png").write_bytes(png)
    return Look(
        hashlib.sha256(data).hexdigest(),
        hashlib.sha256(png).hexdigest(),
        look_hash(pixels),
        f"{width}x{height}",
        mode,
    )


def exact_print(pixels: Pixels) -> int:
    """64 bits that are equal for equal pixels: of the digest of their PNG file, which is there anyway."""
    return _first_bits(hashlib.sha256(encode_picture(pixels)).hexdigest())


def _first_bits(sha256: str) -> int:
    return int(sha256[:16], 16)


@dataclass(frozen=True)
class _Store:
    """The pictures of a source, and their PNG files by their numbers; ``looks`` lacks those that cannot be used."""

    pictures: list[Picture]
    looks: dict[int, Look]
    folder: Path
    size: int

    def pixels(self, rows: Labels) -> Pixels:
        """uint8 [n, size, size, 3]."""
        images = np.empty((len(rows), self.size, self.size, 3), dtype=np.uint8)
        for at, row in enumerate(rows.tolist()):
            images[at] = decode_image((self.folder / f"{row}.png").read_bytes(), self.size)
        return images


def _source(found: FoundPictures, classes: list[str], store: _Store, unreadable: list[str]) -> ImageSource:
    known, pictures = store.looks, store.pictures
    rows = np.fromiter(known, np.int64, len(known))
    groups = near_groups(np.array([list(look.look) for look in known.values()], np.uint8).reshape(len(known), -1))
    prints = np.zeros(len(pictures), np.uint64)
    prints[rows] = [_first_bits(look.png_sha256) for look in known.values()]
    digest = hashlib.sha256()
    for number, look in known.items():
        digest.update(f"{pictures[number].place} {look.file_sha256}\n".encode())
    position = {name: label for label, name in enumerate(classes)}
    splits = {}
    for split in SPLITS:
        of_split = np.array([(pictures[row].split or "train") == split for row in rows.tolist()], dtype=bool)
        if of_split.any():
            splits[split] = LabelledImages(
                np.array([position[pictures[row].label] for row in rows[of_split].tolist()], dtype=np.int64),
                rows[of_split],
                store.pixels,
                lambda row: pictures[row].place,
                prints=lambda chosen: prints[chosen],
                written=lambda row: Written(store.folder / f"{row}.png", known[row].png_sha256),
                groups=groups[of_split],
            )
    if "train" not in splits:
        raise JobError(f"none of the {len(pictures)} pictures is for training")
    return ImageSource(
        classes,
        splits,
        digest.hexdigest(),
        dict(Counter(look.size for look in known.values()).most_common(NAMED)),
        dict(Counter(look.mode for look in known.values())),
        editable=True,
        image_size=store.size,
        layout=found.layout,
        skipped=dict(found.skipped),
        classes_left_out=[name for name in found.classes if name not in position],
        unreadable=unreadable[:SAMPLED],
    )
