"""The dataset folder: ``train/ validation/ test/`` with PNG files, a ``.lst`` file per split, ``dataset.json``.

Runs in containers: the filter job writes it, training and evaluation read it. A ``.lst`` row is
``index<TAB>label<TAB>file name inside the split's folder``, as SageMaker's built-in image classification reads it when
that folder is its channel. ``contact_sheet.png`` beside them is for people.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from imaging.decode import IMAGE_SIZE, ImageError, Pixels, decode_image

SPLITS = ("train", "validation", "test")
MANIFEST_FILE = "dataset.json"

Labels = npt.NDArray[np.int64]


class DatasetError(Exception):
    """The dataset folder is incomplete or contradicts itself; the message names the file."""


class Checks(TypedDict):
    """What the filter job looked at and found; whatever is wrong stops it, so that nothing here is an error."""

    images: dict[str, int]
    """In each split: those looked at without `copies_left_out`. The built-in algorithm's pipeline reads it."""
    sizes: dict[str, int]
    """Pictures per size in pixels, the five most frequent; all are scaled to 32x32."""
    modes: dict[str, int]
    copies_within_splits: dict[str, int]
    """Images with exactly the pixels of another one in their split; they stay."""
    copies_left_out: dict[str, list[str]]
    """Images that another split holds as well, and were taken out of this one."""
    reviews: dict[str, int]
    """How many reviewed images were ``added`` to the training split, and for other reasons not."""


class Manifest(TypedDict):
    """``dataset.json``."""

    classes: list[str]
    counts: dict[str, dict[str, int]]
    source_sha256: str
    seed: int
    validation_fraction: float
    digests: dict[str, str]
    """SHA-256 per split of what ``cd SPLIT && LC_ALL=C sha256sum *`` prints: names, contents, and so the labels."""
    checks: Checks


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
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path} is missing: expected a dataset folder written by processing.filter_cifar"
        ) from error
    except ValueError as error:
        raise DatasetError(f"{path} is not valid JSON: {error}") from error
    missing = sorted(Manifest.__required_keys__ - set(document))
    if missing:
        raise DatasetError(f"{path} lacks {', '.join(missing)}")
    manifest: Manifest = document
    return manifest


def read_examples(folder: Path, split: str) -> list[Example]:
    """The rows of ``<split>.lst``, in order. Raises DatasetError for a malformed row or a missing image."""
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
    return examples


def load_split(folder: Path, split: str) -> tuple[Pixels, Labels]:
    """Images uint8 [N, 32, 32, 3], RGB, and labels int64 [N] of one split. Raises DatasetError."""
    examples = read_examples(folder, split)
    images = np.empty((len(examples), IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    for row, example in enumerate(examples):
        try:
            images[row] = decode_image(example.path.read_bytes())
        except ImageError as error:
            raise DatasetError(f"{example.path}: {error}") from error
    labels = np.array([example.label for example in examples], dtype=np.int64)
    classes = len(read_manifest(folder)["classes"])
    if labels.max() >= classes:
        raise DatasetError(f"{folder / split}.lst holds label {labels.max()}, but there are {classes} classes")
    return images, labels
