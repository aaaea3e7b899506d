"""Read labelled images from a folder ``<split>/<class>/*``: any pictures, sorted into folders by their class.

Runs in the filter job, as the second kind of source beside CIFAR-100's own layout.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from imaging.dataset import SPLITS
from imaging.decode import IMAGE_SIZE, ImageError, decode_image
from processing.archive import sha256_file
from processing.cifar_source import LabelledImages, Source, class_number
from processing.job import JobError


def is_image_folder(source: Path) -> bool:
    """Whether the folder has at least ``train/<class>/`` and ``test/<class>/``."""
    return all((source / split).is_dir() and _class_folders(source / split) for split in ("train", "test"))


def read_image_folder(source: Path, wanted: list[str]) -> Source:
    """Images of the wanted classes, scaled to 32 x 32; ``validation/`` is used if it is there. Raises JobError."""
    names = _class_folders(source / "train")
    classes = [names[class_number(text, names)] for text in wanted]
    digest = hashlib.sha256()
    splits = {}
    for split in (name for name in SPLITS if (source / name).is_dir()):
        files = [(label, path) for label, name in enumerate(classes) for path in _files(source / split / name)]
        for _, path in files:
            digest.update(f"{path.relative_to(source).as_posix()} {sha256_file(path)}\n".encode())
        splits[split] = _read(files)
    return Source(classes, splits, digest.hexdigest())


def _class_folders(split: Path) -> list[str]:
    return sorted(path.name for path in split.iterdir() if path.is_dir())


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _read(files: list[tuple[int, Path]]) -> LabelledImages:
    images = np.empty((len(files), IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    for row, (_, path) in enumerate(files):
        try:
            images[row] = decode_image(path.read_bytes())
        except ImageError as error:
            raise JobError(f"{path}: {error}; remove or replace this file") from error
    labels = np.array([label for label, _ in files], dtype=np.int64)
    return LabelledImages(images, labels, np.arange(len(files)))
