"""Filter CIFAR-100 to the chosen classes and write the dataset folder.

Runs in a SageMaker processing container. Reads the source folder (``cifar-100-python.tar.gz``, the layout it unpacks
to, or ``<split>/<class>/*`` pictures); writes PNG files in ``train/ validation/ test/``, one ``.lst`` per split, and
``dataset.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from imaging.dataset import MANIFEST_FILE, SPLITS, Manifest, format_rows
from imaging.decode import Pixels, encode_png
from processing.cifar_source import LabelledImages, Source, find_archive, find_batches, read_archive, read_batches
from processing.folder_source import is_image_folder, read_image_folder
from processing.job import MESSAGE_FILE, JobError, run_job

ARCHIVE = "cifar-100-python.tar.gz"
CLASS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]*")  # it becomes part of file names and of S3 keys
PARTIAL = ".partial-"


def main(argv: list[str] | None = None) -> int:
    """Run the job; the exit status."""
    arguments = _parse(argv)

    def work() -> None:
        wanted = parse_classes(arguments.classes)
        source = read_source(arguments.source, wanted)
        manifest = write_dataset(source, arguments.output, arguments.seed, arguments.validation_fraction)
        total = sum(sum(counts.values()) for counts in manifest["counts"].values())
        print(f"wrote {total} images to {arguments.output}: {json.dumps(manifest['counts'])}", flush=True)

    return run_job("filter_cifar", work, arguments.message_file)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="processing.filter_cifar", description="Filter CIFAR-100 to chosen classes.")
    parser.add_argument("--source", type=Path, default=Path("/opt/ml/processing/input/source"))
    parser.add_argument("--output", type=Path, default=Path("/opt/ml/processing/output/dataset"))
    parser.add_argument("--classes", default="bicycle,motorcycle", help="names or CIFAR-100 fine label numbers")
    parser.add_argument("--seed", type=int, default=0, help="chooses the validation images")
    parser.add_argument("--validation-fraction", type=float, default=0.1, help="share of the training images")
    parser.add_argument("--message-file", type=Path, default=MESSAGE_FILE)
    return parser.parse_args(argv)


def parse_classes(text: str) -> list[str]:
    """Class names or numbers from a comma-separated list; at least two, all different. Raises JobError."""
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    if len(wanted) < 2:
        raise JobError(f"expected at least two classes between commas, got {text!r}")
    return wanted


def read_source(source: Path, wanted: list[str]) -> Source:
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


def write_dataset(source: Source, output: Path, seed: int, validation_fraction: float) -> Manifest:
    """Split, write and move into place; ``dataset.json`` comes last, so a folder that has it is complete."""
    _check(source, validation_fraction)
    splits = dict(source.splits)
    if "validation" not in splits:
        splits["train"], splits["validation"] = split_off(splits["train"], validation_fraction, seed)
    manifest = Manifest(
        classes=source.classes,
        counts={split: _counts(splits[split], source.classes) for split in SPLITS},
        source_sha256=source.sha256,
        seed=seed,
        validation_fraction=validation_fraction,
    )
    with _partial_folder(output) as partial:
        for split in SPLITS:
            _write_split(splits[split], source.classes, partial, split)
        (partial / MANIFEST_FILE).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        _move_into_place(partial, output)
    return manifest


def _check(source: Source, validation_fraction: float) -> None:
    if not 0.0 < validation_fraction < 1.0:
        raise JobError(f"--validation-fraction must lie between 0 and 1, got {validation_fraction}")
    if len(set(source.classes)) != len(source.classes):
        raise JobError(f"the same class is named twice: {', '.join(source.classes)}")
    for name in source.classes:
        if not CLASS_NAME.fullmatch(name):
            raise JobError(f"class name {name!r} does not suit file names: use letters, digits, space and _ . -")
    for split, images in source.splits.items():
        least = 2 if split == "train" else 1
        for name, count in _counts(images, source.classes).items():
            if count < least:
                raise JobError(f"the {split} split has {count} images of {name!r}, expected at least {least}")


def _counts(images: LabelledImages, classes: list[str]) -> dict[str, int]:
    return dict(zip(classes, np.bincount(images.labels, minlength=len(classes)).tolist(), strict=True))


def split_off(images: LabelledImages, fraction: float, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """Training and validation parts: of each class the same share, at least one image on each side, chosen by seed."""
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(images.labels), dtype=bool)
    for label in np.unique(images.labels):
        members = generator.permutation(np.flatnonzero(images.labels == label))
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        held_out[members[:count]] = True
    return _select(images, ~held_out), _select(images, held_out)


def _select(images: LabelledImages, mask: np.ndarray) -> LabelledImages:
    return LabelledImages(images.images[mask], images.labels[mask], images.rows[mask])


def _write_split(images: LabelledImages, classes: list[str], folder: Path, split: str) -> None:
    (folder / split).mkdir()
    names = [f"{classes[label]}_{row:05d}.png" for label, row in zip(images.labels, images.rows, strict=True)]

    def write(job: tuple[str, Pixels]) -> None:
        name, pixels = job
        (folder / split / name).write_bytes(encode_png(pixels))

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # zlib releases the GIL
        list(pool.map(write, zip(names, images.images, strict=True)))
    (folder / f"{split}.lst").write_text(format_rows(zip(images.labels.tolist(), names, strict=True)), encoding="utf-8")


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
    for name in (*SPLITS, *(f"{split}.lst" for split in SPLITS), MANIFEST_FILE):
        target = output / name
        if target.is_dir():
            shutil.rmtree(target)
        (partial / name).replace(target)


if __name__ == "__main__":
    sys.exit(main())
