"""Filter images to the chosen classes and write the dataset folder.

Runs in a SageMaker processing container. Reads the source folder (``cifar-100-python.tar.gz``, the layout it unpacks
to, or pictures as `processing.finding.layouts` finds them) and the images that people labelled; writes PNG files in
``train/ validation/ test/``, one ``.lst`` per split, and ``dataset.json``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from imaging.contact_sheet import MOST_CLASSES, MOST_SHOWN, SHEET_FILE, columns_of, contact_sheet
from imaging.dataset import SPLITS
from imaging.decode import IMAGE_SIZE, SIZES, Pixels
from imaging.png import encode_drawing
from processing.dataset.cifar_source import find_archive, find_batches, read_archive, read_batches
from processing.dataset.dataset_checks import Copy, check_counts, counts, find_copies, leave_out_copies, refuse_copies
from processing.dataset.picture_source import EVERY_CLASS, Reading, read_pictures
from processing.dataset.reviewed_images import NEVER, Reviewed, join, read_reviewed
from processing.dataset.source import ImageSource, LabelledImages
from processing.dataset.splitting import with_every_split
from processing.dataset.writing import write_splits
from processing.finding.layouts import LAYOUTS, find_pictures, what_is_there
from processing.finding.names import check_class_names, class_name
from reporting.documents.dataset import MANIFEST_FILE, Checks, Manifest
from reporting.documents.json import to_text
from reporting.job import MESSAGE_FILE, JobError, run_job

ARCHIVE = "cifar-100-python.tar.gz"
CIFAR_CLASSES = ["bicycle", "motorcycle"]
PARTIAL = ".partial-"
SCRATCH = "pictures"
LISTED = 100
"""Classes whose images are counted one by one in a line of the log."""


def main(argv: list[str] | None = None) -> int:
    """Run the job; the exit status."""
    arguments = _parse(argv)

    def work() -> None:
        check_arguments(arguments)
        wanted = parse_classes(arguments.classes)
        with _partial_folder(arguments.output) as partial:
            (partial / SCRATCH).mkdir()
            reading = Reading(arguments.image_size, partial / SCRATCH, arguments.tolerated)
            source = read_source(arguments.source, wanted, reading)
            reviewed = read_reviewed(arguments.reviewed, arguments.reviewed_until, source.classes, source.image_size)
            manifest = write_dataset(source, partial, arguments, reviewed)
            _move_into_place(partial, arguments.output)
        if any(manifest.checks.reviews.values()):
            print(f"reviewed images: {json.dumps(manifest.checks.reviews)}", flush=True)
        total = sum(sum(split.values()) for split in manifest.counts.values())
        for split, left_out in manifest.checks.copies_left_out.items():
            if left_out:
                print(f"left out of {split}, in another split as well: {', '.join(left_out)}", flush=True)
        print(f"wrote {total} images to {arguments.output}: {in_short(manifest.counts)}", flush=True)

    return run_job("filter_cifar", work, arguments.message_file)


def in_short(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Numbers of images by split and class as JSON; of many classes, by split alone."""
    few = all(len(of_split) <= LISTED for of_split in counts.values())
    return json.dumps(counts if few else {split: sum(of_split.values()) for split, of_split in counts.items()})


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="processing.filter_cifar",
        description=f"Filter images to chosen classes. The source: {ARCHIVE}, what it unpacks to, or {LAYOUTS}.",
    )
    parser.add_argument("--source", type=Path, default=Path("/opt/ml/processing/input/source"))
    parser.add_argument("--output", type=Path, default=Path("/opt/ml/processing/output/dataset"))
    parser.add_argument("--classes", default="", help="names or numbers; all of a folder, of CIFAR-100 two")
    parser.add_argument("--image-size", type=int, default=0, help="pixels a side; 0: 32 for thumbnails, else 224")
    parser.add_argument("--tolerated", type=float, default=0.01, help="share of the pictures that may be unreadable")
    parser.add_argument("--seed", type=int, default=0, help="chooses the validation images")
    parser.add_argument("--validation-fraction", type=float, default=0.1, help="share of the training images")
    parser.add_argument("--reviewed", default="/opt/ml/processing/input/reviewed", help="folder or s3:// of reviews")
    parser.add_argument("--reviewed-until", default=NEVER, help="take the images labelled up to then (ISO 8601)")
    parser.add_argument("--message-file", type=Path, default=MESSAGE_FILE)
    return parser.parse_args(argv)


def parse_classes(text: str) -> list[str]:
    """Class names or numbers from a comma-separated list, all different; none for all. Raises JobError."""
    wanted = [class_name(part) for part in text.split(",") if part.strip()]
    if len(wanted) == 1 and wanted != [EVERY_CLASS]:
        raise JobError(f"expected at least two classes between commas, or {EVERY_CLASS}, got {text!r}")
    return wanted


def read_source(source: Path, wanted: list[str], reading: Reading) -> ImageSource:
    """Read whichever kind of source is there. Raises JobError."""
    found = find_pictures(source)
    if found is not None:
        return read_pictures(found, wanted, reading)
    if reading.size not in (0, IMAGE_SIZE):
        raise JobError(f"images of CIFAR-100 have {IMAGE_SIZE} pixels: leave the image size at 0, got {reading.size}")
    archive = find_archive(source)
    if archive is not None:
        return read_archive(archive, wanted or CIFAR_CLASSES)
    folder = find_batches(source)
    if folder is not None:
        return read_batches(folder, wanted or CIFAR_CLASSES)
    raise JobError(nothing_here(source))


def nothing_here(source: Path) -> str:
    """What to say of a source without images."""
    held = what_is_there(source) if source.is_dir() else ""
    found = f"; {held}" if held else ""
    return f"{source} holds no images: expected {ARCHIVE}, or its files train, test and meta, or {LAYOUTS}{found}"


def write_dataset(source: ImageSource, partial: Path, arguments: argparse.Namespace, reviewed: Reviewed) -> Manifest:
    """Split, check and write into a folder that nobody reads yet; ``dataset.json`` comes last."""
    check_class_names(source.classes)
    check_counts(source)
    splits = with_every_split(source, arguments.validation_fraction, arguments.seed)
    own = len(splits["train"].rows)
    splits["train"] = join(splits["train"], reviewed)
    copies = find_copies(splits)
    known = [copy.position for copy in copies if copy.split == "train" and copy.position >= own]
    splits["train"] = splits["train"].select(~np.isin(np.arange(len(splits["train"].rows)), known))
    copies = [copy for copy in copies if copy.split != "train" or copy.position < own]
    if source.editable:
        refuse_copies(copies, set(source.splits))
    kept = leave_out_copies(splits, copies, source.classes)
    examples = {split: _examples(kept[split], split, source) for split in SPLITS}
    manifest = Manifest(
        classes=source.classes,
        counts={split: counts(kept[split], source.classes) for split in SPLITS},
        source_sha256=source.sha256,
        seed=arguments.seed,
        validation_fraction=arguments.validation_fraction,
        digests=write_splits(kept, source.classes, partial),
        checks=_report(source, kept, copies, _reviews(reviewed, known)),
        image_size=source.image_size,
    )
    sheet = contact_sheet(source.classes, manifest.counts, examples)
    (partial / SHEET_FILE).write_bytes(encode_drawing(np.asarray(sheet)))
    (partial / MANIFEST_FILE).write_text(to_text(manifest, indent=2), encoding="utf-8")
    return manifest


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raises JobError for a number that cannot be."""
    if not 0.0 < arguments.validation_fraction < 1.0:
        raise JobError(f"--validation-fraction must lie between 0 and 1, got {arguments.validation_fraction}")
    if not 0.0 <= arguments.tolerated < 1.0:
        raise JobError(f"--tolerated must lie between 0 and 1, got {arguments.tolerated}")
    if arguments.image_size and arguments.image_size not in SIZES:
        last = SIZES.stop - 1
        raise JobError(f"--image-size must be 0 or lie between {SIZES.start} and {last}, got {arguments.image_size}")


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
        layout=source.layout,
        skipped=source.skipped,
        classes_left_out=source.classes_left_out,
        unreadable=source.unreadable,
        near_copies=sum(
            len(i.groups) - len(np.unique(i.groups)) for i in source.splits.values() if i.groups is not None
        ),
    )


def _examples(images: LabelledImages, split: str, source: ImageSource) -> list[Pixels]:
    """The first images of each class, as many as the contact sheet shows and not much larger than it shows them."""
    columns = columns_of(split, len(source.classes))
    shown = range(min(len(source.classes), MOST_CLASSES))
    positions = (np.flatnonzero(images.labels == label)[:columns] for label in shown)
    return [_small(images.pixels(images.rows[chosen])) for chosen in positions]


def _small(images: Pixels) -> Pixels:
    """Photographs of a thousand classes would be gigabytes."""
    if images.shape[1] <= MOST_SHOWN:
        return images
    shown = (Image.fromarray(image).resize((MOST_SHOWN, MOST_SHOWN), Image.Resampling.BICUBIC) for image in images)
    return np.array([np.asarray(image) for image in shown], dtype=np.uint8)


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
