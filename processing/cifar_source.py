"""Read labelled images from CIFAR-100's official python layout: an archive, or the folder it unpacks to.

Runs in the filter job. The batches are pickles, so they pass through an unpickler that knows numpy's array constructors
and nothing else. Labels are CIFAR's ``fine_labels``: file names lie (some ``bike_s_*`` are motorcycles).
"""

from __future__ import annotations

import difflib
import hashlib
import io
import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imaging.dataset import Labels
from imaging.decode import IMAGE_SIZE, Pixels
from processing.archive import extract_archive, sha256_file
from processing.job import JobError

FOLDER = "cifar-100-python"
BATCHES = ("train", "test")
ROW_BYTES = 3 * IMAGE_SIZE * IMAGE_SIZE

# What CIFAR's pickles (numpy 1) and re-saved ones (numpy 2) name; nothing here can run code.
ALLOWED_GLOBALS = {
    (module, name)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
    for name in ("_reconstruct", "_frombuffer")
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}


class _NumpyOnlyUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED_GLOBALS:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not allowed")
        return super().find_class(module, name)


@dataclass(frozen=True)
class LabelledImages:
    """Images uint8 [N, 32, 32, 3], RGB; labels int64 [N] into the chosen classes; the row each had in its source."""

    images: Pixels
    labels: Labels
    rows: Labels


@dataclass(frozen=True)
class Source:
    """The chosen classes' images per split, and the digest of what they were read from."""

    classes: list[str]
    splits: dict[str, LabelledImages]
    sha256: str


def find_archive(source: Path) -> Path | None:
    """The archive at or below ``source``; None when there is none. Raises JobError when there are several."""
    if source.is_file():
        return source
    archives = sorted(source.rglob("*.tar.gz"))
    if len(archives) > 1:
        raise JobError(f"{source} holds {len(archives)} archives, expected one: {', '.join(p.name for p in archives)}")
    return archives[0] if archives else None


def find_batches(source: Path) -> Path | None:
    """The folder with CIFAR's ``train``, ``test`` and ``meta`` files, or None."""
    for folder in (source, source / FOLDER):
        if all((folder / name).is_file() for name in (*BATCHES, "meta")):
            return folder
    return None


def read_archive(archive: Path, wanted: list[str]) -> Source:
    """Images of the wanted classes from ``cifar-100-python.tar.gz``. Raises JobError."""
    with tempfile.TemporaryDirectory() as scratch:
        extract_archive(archive, Path(scratch))
        folder = find_batches(Path(scratch))
        if folder is None:
            found = ", ".join(sorted(str(p.relative_to(scratch)) for p in Path(scratch).rglob("*"))[:5])
            raise JobError(
                f"{archive} is not CIFAR-100: expected {FOLDER}/train, test and meta, found {found or 'nothing'}"
            )
        return read_batches(folder, wanted, sha256_file(archive))


def read_batches(folder: Path, wanted: list[str], digest: str | None = None) -> Source:
    """Images of the wanted classes from the unpacked layout. Raises JobError."""
    names = _class_names(folder / "meta")
    numbers = [class_number(text, names) for text in wanted]
    if digest is None:
        parts = "".join(f"{name} {sha256_file(folder / name)}\n" for name in (*BATCHES, "meta"))
        digest = hashlib.sha256(parts.encode()).hexdigest()
    splits = {split: _filter(_read_batch(folder / split, len(names)), numbers) for split in BATCHES}
    return Source([names[number] for number in numbers], splits, digest)


def class_number(text: str, names: list[str]) -> int:
    """The fine label of a class given by name or by number. Raises JobError that suggests the nearest name."""
    if text.isdecimal():
        if int(text) < len(names):
            return int(text)
        raise JobError(f"there is no class number {text}: CIFAR-100's classes are 0 to {len(names) - 1}")
    if text in names:
        return names.index(text)
    nearest = difflib.get_close_matches(text.lower().replace(" ", "_"), names, n=1, cutoff=0.0)
    raise JobError(f"there is no class {text!r} among the source's {len(names)} classes; did you mean {nearest[0]!r}?")


def _load(path: Path) -> dict[bytes, Any]:
    try:
        document = _NumpyOnlyUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    # A damaged pickle raises nearly anything: UnpicklingError, EOFError, KeyError, ValueError, UnicodeDecodeError, ...
    except Exception as error:
        raise JobError(f"{path.name} is not a CIFAR-100 file: {error}; fetch the archive again") from error
    if not isinstance(document, dict):
        raise JobError(f"{path.name} is not a CIFAR-100 file: expected a dictionary, got {type(document).__name__}")
    return document


def _class_names(meta: Path) -> list[str]:
    names = _load(meta).get(b"fine_label_names")
    if not isinstance(names, list) or not names or not all(isinstance(name, bytes) for name in names):
        raise JobError("meta lacks fine_label_names: this is not CIFAR-100 (CIFAR-10 has another layout)")
    return [name.decode("utf-8") for name in names]


def _read_batch(path: Path, classes: int) -> tuple[Pixels, Labels]:
    """Planar rows uint8 [N, 3072] and fine labels int64 [N], both checked."""
    document = _load(path)
    data, labels = document.get(b"data"), document.get(b"fine_labels")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != ROW_BYTES:
        raise JobError(f"{path.name}: expected data as uint8 [N, {ROW_BYTES}], got {getattr(data, 'shape', None)}")
    if not isinstance(labels, list) or len(labels) != len(data):
        raise JobError(f"{path.name}: expected {len(data)} fine_labels, one per image")
    if not all(isinstance(label, int) and 0 <= label < classes for label in labels):
        raise JobError(f"{path.name}: fine_labels must be whole numbers from 0 to {classes - 1}")
    return data, np.array(labels, dtype=np.int64)


def _filter(batch: tuple[Pixels, Labels], numbers: list[int]) -> LabelledImages:
    data, fine = batch
    position = np.full(max(int(fine.max(initial=0)), *numbers) + 1, -1, dtype=np.int64)
    position[numbers] = np.arange(len(numbers))
    rows = np.flatnonzero(position[fine] >= 0)
    images = data[rows].reshape(-1, 3, IMAGE_SIZE, IMAGE_SIZE).transpose(0, 2, 3, 1)
    return LabelledImages(np.ascontiguousarray(images), position[fine[rows]], rows)
