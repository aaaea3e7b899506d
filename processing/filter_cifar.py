"""Filter CIFAR-100 to the chosen classes and write the dataset folder.

Runs in a SageMaker processing container. Reads the source folder (``cifar-100-python.tar.gz``, the layout it unpacks
to, or ``<split>/<class>/*`` pictures) and the images that people labelled; writes PNG files in ``train/ validation/
test/``, one ``.lst`` per split, and ``dataset.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from imaging.contact_sheet import COLUMNS, SHEET_FILE, contact_sheet
from imaging.dataset import SPLITS, format_rows
from imaging.decode import Pixels
from imaging.png import encode_drawing, encode_pngs
from processing.dataset.cifar_source import find_archive, find_batches, read_archive, read_batches
from processing.dataset.dataset_checks import Copy, check_counts, counts, find_copies, leave_out_copies, refuse_copies
from processing.dataset.folder_source import is_image_folder, read_image_folder
from processing.dataset.reviewed_images import NEVER, Reviewed, join, read_reviewed
from processing.dataset.source import ImageSource, LabelledImages
from reporting.documents.dataset import MANIFEST_FILE, Checks, Manifest
from reporting.documents.json import to_text
from reporting.job import MESSAGE_FILE, JobError, run_job

ARCHIVE = "cifar-100-python.tar.gz"
CLASS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]*")  # it becomes part of file names and of S3 keys
PARTIAL = ".partial-"
PARALLEL_IMAGES = 8_000
DIGEST_AND_SPACES = 66  # characters before the name in a line of sha256sum
_adopted: list[Callable[[str], str]] = []  # in a writing process, what it does


def main(argv: list[str] | None = None) -> int:
    """Run the job; the exit status."""
    arguments = _parse(argv)

    def work() -> None:
        wanted = parse_classes(arguments.classes)
        source = read_source(arguments.source, wanted)
        reviewed = read_reviewed(arguments.reviewed, arguments.reviewed_until, source.classes)
        manifest = write_dataset(source, arguments.output, arguments.seed, arguments.validation_fraction, reviewed)
        if any(manifest.checks.reviews.values()):
            print(f"reviewed images: {json.dumps(manifest.checks.reviews)}", flush=True)
        total = sum(sum(split.values()) for split in manifest.counts.values())
        for split, left_out in manifest.checks.copies_left_out.items():
            if left_out:
                print(f"left out of {split}, in another split as well: {', '.join(left_out)}", flush=True)
        print(f"wrote {total} images to {arguments.output}: {json.dumps(manifest.counts)}", flush=True)

    return run_job("filter_cifar", work, arguments.message_file)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="processing.filter_cifar", description="Filter CIFAR-100 to chosen classes.")
    parser.add_argument("--source", type=Path, default=Path("/opt/ml/processing/input/source"))
    parser.add_argument("--output", type=Path, default=Path("/opt/ml/processing/output/dataset"))
    parser.add_argument("--classes", default="bicycle,motorcycle", help="names or CIFAR-100 fine label numbers")
    parser.add_argument("--seed", type=int, default=0, help="chooses the validation images")
    parser.add_argument("--validation-fraction", type=float, default=0.1, help="share of the training images")
    parser.add_argument("--reviewed", default="/opt/ml/processing/input/reviewed", help="folder or s3:// of reviews")
    parser.add_argument("--reviewed-until", default=NEVER, help="take the images labelled up to then (ISO 8601)")
    parser.add_argument("--message-file", type=Path, default=MESSAGE_FILE)
    return parser.parse_args(argv)


def parse_classes(text: str) -> list[str]:
    """Class names or numbers from a comma-separated list; at least two, all different. Raises JobError."""
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    if len(wanted) < 2:
        raise JobError(f"expected at least two classes between commas, got {text!r}")
    return wanted


def read_source(source: Path, wanted: list[str]) -> ImageSource:
    """Read whichever kind of source is there. Raises JobError."""
    archive = find_archive(source)
    if archive is not None:
        return read_archive(archive, wanted)
    folder = find_batches(source)
    if folder is not None:
        return read_batches(folder, wanted)
    if is_image_folder(source):
        return read_image_folder(source, wanted)
    raise JobError(
        f"{source} holds no images: expected {ARCHIVE}, or its files train, test and meta, or <split>/<class>/ folders"
    )


def write_dataset(
    source: ImageSource, output: Path, seed: int, validation_fraction: float, reviewed: Reviewed
) -> Manifest:
    """Split, check, write, move into place; ``dataset.json`` comes last, so a folder that has it is complete."""
    _check_arguments(source.classes, validation_fraction)
    check_counts(source)
    splits = dict(source.splits)
    if "validation" not in splits:
        splits["train"], splits["validation"] = split_off(splits["train"], validation_fraction, seed)
    own = len(splits["train"].rows)
    splits["train"] = join(splits["train"], reviewed)
    copies = find_copies(splits)
    known = [copy.position for copy in copies if copy.split == "train" and copy.position >= own]
    splits["train"] = splits["train"].select(~np.isin(np.arange(len(splits["train"].rows)), known))
    copies = [copy for copy in copies if copy.split != "train" or copy.position < own]
    if source.editable:
        refuse_copies(copies, set(source.splits))
    kept = leave_out_copies(splits, copies, source.classes)
    with _partial_folder(output) as partial:
        manifest = Manifest(
            classes=source.classes,
            counts={split: counts(kept[split], source.classes) for split in SPLITS},
            source_sha256=source.sha256,
            seed=seed,
            validation_fraction=validation_fraction,
            digests=_write_splits(kept, source.classes, partial),
            checks=_report(source, kept, copies, _reviews(reviewed, known)),
        )
        sheet = contact_sheet(source.classes, manifest.counts, {s: _examples(kept[s], s, source) for s in SPLITS})
        (partial / SHEET_FILE).write_bytes(encode_drawing(np.asarray(sheet)))
        (partial / MANIFEST_FILE).write_text(to_text(manifest, indent=2), encoding="utf-8")
        _move_into_place(partial, output)
    return manifest


def _check_arguments(classes: list[str], validation_fraction: float) -> None:
    if not 0.0 < validation_fraction < 1.0:
        raise JobError(f"--validation-fraction must lie between 0 and 1, got {validation_fraction}")
    if len(set(classes)) != len(classes):
        raise JobError(f"the same class is named twice: {', '.join(classes)}")
    for name in classes:
        if not CLASS_NAME.fullmatch(name):
            raise JobError(f"class name {name!r} does not suit file names: use letters, digits, space and _ . -")


def split_off(images: LabelledImages, fraction: float, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """Training and validation parts: of each class the same share, at least one image on each side, chosen by seed."""
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(images.labels), dtype=bool)
    for label in np.unique(images.labels):
        members = generator.permutation(np.flatnonzero(images.labels == label))
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        held_out[members[:count]] = True
    return images.select(~held_out), images.select(held_out)


def _reviews(reviewed: Reviewed, known: list[int]) -> dict[str, int]:
    left_out = {"in the dataset already": len(known), **dict(sorted(reviewed.left_out.items()))}
    return {"added": len(reviewed.labels) - len(known), **{why: count for why, count in left_out.items() if count}}


def _report(
    source: ImageSource, kept: dict[str, LabelledImages], copies: list[Copy], reviews: dict[str, int]
) -> Checks:
    return Checks(
        images={split: len(kept[split].rows) for split in SPLITS},
        sizes=source.sizes,
        modes=source.modes,
        copies_within_splits={split: sum(c.split == split == c.original_split for c in copies) for split in SPLITS},
        reviews=reviews,
        copies_left_out={split: [str(c) for c in copies if c.split == split != c.original_split] for split in SPLITS},
    )


def _write_splits(splits: dict[str, LabelledImages], classes: list[str], folder: Path) -> dict[str, str]:
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

    workers = min(os.cpu_count() or 1, len(SPLITS))
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
            for name, png in zip(names[part], encode_pngs(images.pixels(images.rows[part])), strict=True):
                _write_new(name, descriptor, png.data)
                digests.append(f"{hashlib.sha256(png.data).hexdigest()}  {name}\n")
    (folder / f"{split}.lst").write_text(format_rows(zip(labels, names, strict=True)), encoding="utf-8")
    return hashlib.sha256("".join(sorted(digests, key=_name_of)).encode()).hexdigest()


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


def _examples(images: LabelledImages, split: str, source: ImageSource) -> list[Pixels]:
    """The first images of each class, as many as the contact sheet shows."""
    positions = (np.flatnonzero(images.labels == label)[: COLUMNS[split]] for label in range(len(source.classes)))
    return [images.pixels(images.rows[chosen]) for chosen in positions]


@contextmanager
def _partial_folder(output: Path) -> Iterator[Path]:
    """A scratch folder inside the output, which is a mount: only there are renames atomic. Gone afterwards."""
    output.mkdir(parents=True, exist_ok=True)
    for stale in output.glob(f"{PARTIAL}*"):
        shutil.rmtree(stale)
    partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=output))
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _move_into_place(partial: Path, output: Path) -> None:
    (output / MANIFEST_FILE).unlink(missing_ok=True)
    for name in (*SPLITS, *(f"{split}.lst" for split in SPLITS), SHEET_FILE, MANIFEST_FILE):
        target = output / name
        if target.is_dir():
            shutil.rmtree(target)
        (partial / name).replace(target)


if __name__ == "__main__":
    sys.exit(main())
