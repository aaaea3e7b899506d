"""Read labelled images from CIFAR-100's official python layout: an archive, or the folder it unpacks to.

Runs in the filter job. The batches are pickles, which `processing.dataset.plain_pickle` reads without unpickling.
Labels are CIFAR's ``fine_labels``: file names lie (some ``bike_s_*`` are motorcycles).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from imaging.dataset import Labels
from imaging.decode import IMAGE_SIZE, Pixels
from processing.dataset.archive import MAX_BYTES, read_members
from processing.dataset.plain_pickle import Buffer, PickledArray, PickleError, read_pickle
from processing.dataset.source import ImageSource, LabelledImages, class_number
from reporting.job import JobError

FOLDER = "cifar-100-python"
BATCHES = ("train", "test")
META = "meta"
ROW_BYTES = 3 * IMAGE_SIZE * IMAGE_SIZE


def find_archive(source: Path) -> Path | None:
    """The archive at or below ``source``; None when there is none. Raises JobError when there are several."""
    if source.is_file():
        return source
    archives = sorted(source.rglob("*.tar.gz"))
    archives = [path for path in archives if path.name == f"{FOLDER}.tar.gz"] or archives
    if len(archives) > 1:
        raise JobError(f"{source} holds {len(archives)} archives, expected one: {', '.join(p.name for p in archives)}")
    return archives[0] if archives else None


def find_batches(source: Path) -> Path | None:
    """The folder with CIFAR's ``train``, ``test`` and ``meta`` files, or None."""
    for folder in (source, source / FOLDER):
        if all((folder / name).is_file() for name in (*BATCHES, META)):
            return folder
    return None


def read_archive(archive: Path, wanted: list[str]) -> ImageSource:
    """Images of the wanted classes from ``cifar-100-python.tar.gz``. Raises JobError."""
    files, digest = read_members(archive, {*BATCHES, META})
    missing = [name for name in (*BATCHES, META) if name not in files]
    if missing:
        raise JobError(
            f"{archive} is not CIFAR-100: expected {FOLDER}/train, test and meta, but {', '.join(missing)} is not"
            " there; if it holds pictures, unpack it first"
        )
    return _read(files, wanted, digest)


def read_batches(folder: Path, wanted: list[str]) -> ImageSource:
    """Images of the wanted classes from the unpacked layout. Raises JobError."""
    files = {}
    for name in (*BATCHES, META):
        if (folder / name).stat().st_size > MAX_BYTES:
            raise JobError(f"{folder / name} has more than {MAX_BYTES:,} bytes: this is not CIFAR-100")
        files[name] = (folder / name).read_bytes()
    parts = "".join(f"{name} {hashlib.sha256(content).hexdigest()}\n" for name, content in files.items())
    return _read(files, wanted, hashlib.sha256(parts.encode()).hexdigest())


def _read(files: Mapping[str, Buffer], wanted: list[str], digest: str) -> ImageSource:
    names = _class_names(files[META])
    numbers = [class_number(text, names) for text in wanted]
    splits = {split: _filter(split, *_read_batch(split, files[split], len(names)), numbers) for split in BATCHES}
    total = sum(len(split.rows) for split in splits.values())
    size = f"{IMAGE_SIZE}x{IMAGE_SIZE}"
    return ImageSource(
        [names[number] for number in numbers], splits, digest, {size: total}, {"RGB": total}, editable=False
    )


def _load(name: str, content: Buffer) -> dict[object, object]:
    try:
        document = read_pickle(content)
    except PickleError as error:
        raise JobError(f"{name} is not a CIFAR-100 file: {error}; fetch the archive again") from error
    if not isinstance(document, dict):
        raise JobError(f"{name} is not a CIFAR-100 file: expected a dictionary, got {type(document).__name__}")
    return document


def _class_names(content: Buffer) -> list[str]:
    names = _load(META, content).get(b"fine_label_names")
    if not isinstance(names, list) or not names or not all(isinstance(name, bytes) for name in names):
        raise JobError("meta lacks fine_label_names: this is not CIFAR-100 (CIFAR-10 has another layout)")
    return [name.decode("utf-8", "replace") for name in names]


def _read_batch(name: str, content: Buffer, classes: int) -> tuple[Pixels, Labels]:
    """Planar rows uint8 [N, 3072] and fine labels int64 [N], both checked."""
    document = _load(name, content)
    held, labels = document.get(b"data"), document.get(b"fine_labels")
    data = held.pixels if isinstance(held, PickledArray) else None
    if data is None or data.ndim != 2 or data.shape[1] != ROW_BYTES:
        raise JobError(f"{name}: expected data as uint8 [N, {ROW_BYTES}], got {getattr(data, 'shape', None)}")
    if not isinstance(labels, list) or len(labels) != len(data):
        raise JobError(f"{name}: expected {len(data)} fine_labels, one per image")
    if not all(type(label) is int and 0 <= label < classes for label in labels):
        raise JobError(f"{name}: fine_labels must be whole numbers from 0 to {classes - 1}")
    return data, np.array(labels, dtype=np.int64)


def _filter(split: str, data: Pixels, fine: Labels, numbers: list[int]) -> LabelledImages:
    position = np.full(max(int(fine.max(initial=0)), *numbers) + 1, -1, dtype=np.int64)
    position[numbers] = np.arange(len(numbers))
    rows = np.flatnonzero(position[fine] >= 0)

    def pixels(chosen: Labels) -> Pixels:
        return data[chosen].reshape(-1, 3, IMAGE_SIZE, IMAGE_SIZE).transpose(0, 2, 3, 1)

    return LabelledImages(position[fine[rows]], rows, pixels, lambda row: f"row {row} of {split}")
