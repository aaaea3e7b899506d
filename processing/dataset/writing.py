"""Write a dataset's PNG files and lists, or move the files that the source has written already.

Runs in the filter job.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from imaging.dataset import SPLITS, format_rows
from imaging.decode import IMAGE_SIZE, Pixels
from imaging.png import encode_picture, encode_pngs
from processing.dataset.source import LabelledImages
from processing.machine import cores

PARALLEL_IMAGES = 8_000
DIGEST_AND_SPACES = 66  # characters before the name in a line of sha256sum
_adopted: list[Callable[[str], str]] = []  # in a writing process, what it does


def write_splits(splits: dict[str, LabelledImages], classes: list[str], folder: Path) -> dict[str, str]:
    """Write the PNG files and the lists; the digests that go into ``dataset.json``.

    Many files in a process per split, which sees the images without a copy; a few here, before one would start. A
    process per core costs half as much again: two that create files in one folder wait for its lock in a loop. Threads
    took longer than one alone: creating files is short work between long waits for the interpreter's lock.
    """

    def write(split: str) -> str:
        return _write_split(splits[split], classes, folder, split)

    if sum(len(images.rows) for images in splits.values()) < PARALLEL_IMAGES or sys.platform != "linux":
        return {split: write(split) for split in SPLITS}
    # Imported here: importing these takes longer than writing the images of a few classes.
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    workers = min(cores(), len(SPLITS))
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, fork, initializer=_adopt, initargs=(write,)) as pool:
        return dict(zip(SPLITS, pool.map(_write_adopted, SPLITS), strict=True))


def _adopt(write: Callable[[str], str]) -> None:
    _adopted.append(write)


def _write_adopted(split: str) -> str:
    return _adopted[0](split)


def _write_split(images: LabelledImages, classes: list[str], folder: Path, split: str) -> str:
    (folder / split).mkdir()
    labels = images.labels.tolist()
    names = [f"{classes[label]}_{row:05d}.png" for label, row in zip(labels, images.rows.tolist(), strict=True)]
    digests = []
    with _opened_folder(folder / split) as descriptor:
        for part in images.parts():
            for name, digest in zip(names[part], _put(images, part, names[part], descriptor), strict=True):
                digests.append(f"{digest}  {name}\n")
    (folder / f"{split}.lst").write_text(format_rows(zip(labels, names, strict=True)), encoding="utf-8")
    return hashlib.sha256("".join(sorted(digests, key=_name_of)).encode()).hexdigest()


def _put(images: LabelledImages, part: slice, names: list[str], folder: int) -> list[str]:
    """Write a part's PNG files, or move those that are written already; their SHA-256."""
    rows = images.rows[part]
    done = [images.written(row) if images.written else None for row in rows.tolist()]
    if not any(done):
        files = _encoded(images.pixels(rows))
        for name, png in zip(names, files, strict=True):
            _write_new(name, folder, png)
        return [hashlib.sha256(png).hexdigest() for png in files]
    digests = []
    for at, (name, written) in enumerate(zip(names, done, strict=True)):
        if written is None:
            (png,) = _encoded(images.pixels(rows[at : at + 1]))
            _write_new(name, folder, png)
            digests.append(hashlib.sha256(png).hexdigest())
        else:
            os.rename(written.path, name, dst_dir_fd=folder)
            digests.append(written.sha256)
    return digests


def _encoded(pixels: Pixels) -> list[memoryview]:
    if pixels.shape[1] <= IMAGE_SIZE:
        return [png.data for png in encode_pngs(pixels)]
    return [memoryview(encode_picture(image)) for image in pixels]


def _name_of(line: str) -> str:
    return line[DIGEST_AND_SPACES:]


@contextmanager
def _opened_folder(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write_new(name: str, folder: int, content: memoryview) -> None:
    """Write a file that is not there yet; without the objects of `open`, which cost more than the file."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=folder)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
