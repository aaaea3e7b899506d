"""Read labelled images from a folder ``<split>/<class>/*``: any pictures, sorted into folders by their class.

Runs in the filter job, as the second kind of source beside CIFAR-100's own layout. Every file is decoded before
anything is written, and all that cannot be used are named at once.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from imaging.dataset import SPLITS
from imaging.decode import FORMATS, IMAGE_SIZE, ImageError, Pixels, decode_image
from processing.dataset.source import ImageSource, LabelledImages, class_number
from reporting.job import JobError

MIN_SIDE = 16  # pixels: scaled up to 32, a smaller picture is mostly interpolation
MODES = ("RGB", "RGBA", "L", "LA", "P", "PA", "CMYK", "YCbCr")  # 8 bits a channel; others lose most of their range
NAMED = 5
LINE = 160  # characters of a reason


@dataclass(frozen=True)
class _Picture:
    digest: str
    pixels: Pixels
    size: str
    mode: str


def is_image_folder(source: Path) -> bool:
    """Whether the folder has at least ``train/<class>/`` and ``test/<class>/``."""
    return all((source / split).is_dir() and _class_folders(source / split) for split in ("train", "test"))


def read_image_folder(source: Path, wanted: list[str]) -> ImageSource:
    """Images of the wanted classes, scaled to 32 x 32; ``validation/`` is used if it is there. Raises JobError."""
    names = _class_folders(source / "train")
    classes = [names[class_number(text, names)] for text in wanted]
    files = {
        split: [(label, path) for label, name in enumerate(classes) for path in _files(source / split / name)]
        for split in SPLITS
        if (source / split).is_dir()
    }
    paths = [path for split in files.values() for _, path in split]
    from concurrent.futures import ThreadPoolExecutor  # not needed, and not cheap, where the source is an archive

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow's decoders release the GIL
        looked = dict(zip(paths, pool.map(_look, paths), strict=True))
    _refuse_faults([(path, fault) for path, fault in looked.items() if isinstance(fault, str)])
    pictures = {path: picture for path, picture in looked.items() if isinstance(picture, _Picture)}
    digest = hashlib.sha256()
    for path, picture in pictures.items():
        digest.update(f"{path.relative_to(source).as_posix()} {picture.digest}\n".encode())
    return ImageSource(
        classes,
        {split: _labelled(chosen, pictures, source) for split, chosen in files.items()},
        digest.hexdigest(),
        dict(Counter(picture.size for picture in pictures.values()).most_common(NAMED)),
        dict(Counter(picture.mode for picture in pictures.values())),
        editable=True,
    )


def _class_folders(split: Path) -> list[str]:
    return sorted(path.name for path in split.iterdir() if path.is_dir())


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _look(path: Path) -> _Picture | str:
    """The picture, or in words why it cannot be used."""
    data = path.read_bytes()
    try:
        pixels = decode_image(data)
    except ImageError as error:
        return str(error)[:LINE]
    with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        (width, height), mode = picture.size, picture.mode
    if min(width, height) < MIN_SIDE:
        return f"it has {width} x {height} pixels, expected at least {MIN_SIDE} on each side"
    if mode not in MODES:
        return f"its mode is {mode}, expected 8 bits a channel ({', '.join(MODES)})"
    return _Picture(hashlib.sha256(data).hexdigest(), pixels, f"{width}x{height}", mode)


def _refuse_faults(faults: list[tuple[Path, str]]) -> None:
    if not faults:
        return
    named = "; ".join(f"{path}: {reason}" for path, reason in faults[:NAMED])
    more = f"; and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
    files = "1 picture" if len(faults) == 1 else f"{len(faults)} pictures"
    raise JobError(f"{files} cannot be used, remove or replace: {named}{more}")


def _labelled(files: list[tuple[int, Path]], pictures: dict[Path, _Picture], source: Path) -> LabelledImages:
    images = np.empty((len(files), IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    for row, (_, path) in enumerate(files):
        images[row] = pictures[path].pixels
    labels = np.array([label for label, _ in files], dtype=np.int64)
    places = [path.relative_to(source).as_posix() for _, path in files]
    return LabelledImages(labels, np.arange(len(files)), images.__getitem__, places.__getitem__)
