"""The dataset folder: ``train/ validation/ test/`` with PNG files, a ``.lst`` file per split, ``dataset.json``.

Runs in containers: the filter job writes it, training and evaluation read it. A ``.lst`` row is
``index<TAB>label<TAB>file name inside the split's folder``, as SageMaker's built-in image classification reads it when
that folder is its channel. ``contact_sheet.png`` beside them is for people.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imaging.decode import ImageError, Pixels, decode_image
from reporting.documents.dataset import MANIFEST_FILE, Manifest
from reporting.documents.json import DocumentError, from_bytes

SPLITS = ("train", "validation", "test")

Labels = npt.NDArray[np.int64]


class DatasetError(Exception):
    """The dataset folder is incomplete or contradicts itself; the message names the file."""


@dataclass(frozen=True)
class Example:
    """One image of a split: its position, its label (an index into the classes) and its PNG file."""

    index: int
    label: int
    path: Path


def format_rows(rows: Iterable[tuple[int, str]]) -> str:
    """The text of a ``.lst`` file for (label, file name) pairs."""
    return "".join(f"{index}\t{label}\t{name}\n" for index, (label, name) in enumerate(rows))


def read_manifest(folder: Path) -> Manifest:
    """``dataset.json`` of a dataset folder. Raises DatasetError."""
    path = folder / MANIFEST_FILE
    try:
        return from_bytes(path.read_bytes(), Manifest)
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path} is missing: expected a dataset folder written by processing.filter_cifar"
        ) from error
    except DocumentError as error:
        raise DatasetError(f"{path} is not what processing.filter_cifar writes: {error}") from error


def read_examples(folder: Path, split: str, classes: int | None = None) -> list[Example]:
    """The rows of ``<split>.lst``, in order. Raises DatasetError for a malformed row, no image, no such class."""
    path = folder / f"{split}.lst"
    if not path.is_file():
        raise DatasetError(f"{path} is missing: the dataset folder must hold one .lst file per split")
    examples = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) != 3 or not (fields[0].isdecimal() and fields[1].isdecimal()):
            raise DatasetError(f"{path} line {number}: expected index, label, file name between tabs, got {line!r}")
        image = folder / split / fields[2]
        if not image.is_file():
            raise DatasetError(f"{path} line {number} names {image}, which does not exist")
        examples.append(Example(int(fields[0]), int(fields[1]), image))
    if not examples:
        raise DatasetError(f"{path} is empty: the {split} split has no image")
    highest = max(example.label for example in examples)
    if classes is not None and highest >= classes:
        raise DatasetError(f"{path} holds label {highest}, but there are {classes} classes")
    return examples


def read_image(example: Example, size: int) -> Pixels:
    """One image, uint8 [size, size, 3], RGB. Raises DatasetError."""
    try:
        return decode_image(example.path.read_bytes(), size)
    except ImageError as error:
        raise DatasetError(f"{example.path}: {error}") from error


def load_split(folder: Path, split: str) -> tuple[Pixels, Labels]:
    """Images uint8 [N, size, size, 3], RGB, and labels int64 [N] of one split. Raises DatasetError."""
    manifest = read_manifest(folder)
    size, examples = manifest.image_size, read_examples(folder, split, len(manifest.classes))
    images = np.empty((len(examples), size, size, 3), dtype=np.uint8)
    for row, example in enumerate(examples):
        images[row] = read_image(example, size)
    return images, np.array([example.label for example in examples], dtype=np.int64)
