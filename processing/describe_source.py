"""Say what a source of images holds, before anything is decoded: how it is laid out, its classes, what is skipped.

Runs on a laptop, for ``scones data show`` and for the start of a training, as ``python -m processing.describe_source``.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import NotRequired, TypedDict

from processing.dataset.cifar_source import find_archive, find_batches
from processing.dataset.dataset_checks import refuse_few
from processing.dataset.picture_source import chosen_classes, natural_size
from processing.dataset.splitting import refuse_few_to_split
from processing.filter_cifar import nothing_here, parse_classes
from processing.finding.layouts import find_pictures
from processing.finding.names import check_class_names
from processing.finding.pictures import FoundPictures, Slice
from reporting.job import MESSAGE_FILE, JobError, run_job


class SourceDescription(TypedDict):
    """``counts``: pictures by split and class, ``unsplit`` where nobody has said; ``skipped``: files by the reason.

    For an upload, ``files``: paths below the source of what the filter job reads; ``problem``: why they cannot be
    filtered, as far as names and numbers tell, or nothing.
    """

    layout: str
    image_size: int
    classes: list[str]
    counts: dict[str, dict[str, int]]
    skipped: dict[str, int]
    files: NotRequired[list[str]]
    problem: NotRequired[str]


def main(argv: list[str] | None = None) -> int:
    """Print what the folder or list holds; the exit status. ``{}`` for CIFAR-100."""
    parser = argparse.ArgumentParser(prog="processing.describe_source", description="Say what a source holds.")
    parser.add_argument("source", type=Path)
    parser.add_argument("--for-upload", action="store_true", help="name the files, and what would be refused")
    parser.add_argument("--classes", default="", help="names, comma separated, that are to be used; all without")
    parser.add_argument("--message-file", type=Path, default=MESSAGE_FILE)
    arguments = parser.parse_args(argv)
    return run_job(
        "data",
        lambda: print(json.dumps(describe(arguments.source, arguments.classes if arguments.for_upload else None))),
        arguments.message_file,
    )


def describe(source: Path, uploaded: str | None = None) -> SourceDescription | dict[str, str]:
    """What the folder or list holds, with what an upload of these classes, comma separated, has to know.

    Raises JobError where it holds nothing that could be filtered.
    """
    found = find_pictures(source)
    if found is None:
        if find_archive(source) is None and find_batches(source) is None:
            raise JobError(nothing_here(source))
        return {}
    counted = Counter((picture.split or "unsplit", picture.label) for picture in found.pictures)
    counts: dict[str, dict[str, int]] = {}
    for (split, label), count in sorted(counted.items()):
        counts.setdefault(split, {})[label] = count
    description: SourceDescription = {
        "layout": found.layout,
        "image_size": natural_size(found.pictures),
        "classes": found.classes,
        "counts": counts,
        "skipped": dict(found.skipped.most_common()),
    }
    if uploaded is not None:
        description["files"] = _files(found, source if source.is_dir() else source.parent)
        description["problem"] = _problem(found, parse_classes(uploaded))
    return description


def _files(found: FoundPictures, folder: Path) -> list[str]:
    """Those on this machine, by their paths from the folder on."""
    read = [picture.where.path if isinstance(picture.where, Slice) else picture.where for picture in found.pictures]
    paths = {path for path in [*read, found.listed] if isinstance(path, Path)}
    roots = (folder, folder.resolve())
    inside = (path.relative_to(next(root for root in roots if path.is_relative_to(root))) for path in paths)
    return sorted(path.as_posix() for path in inside)


def _problem(found: FoundPictures, wanted: list[str]) -> str:
    """What the filter job would say after it has been sent the pictures."""
    try:
        classes = chosen_classes(found, wanted)
        check_class_names(classes)
        _check_numbers(found, classes)
    except JobError as error:
        return str(error)
    return ""


def _check_numbers(found: FoundPictures, classes: list[str]) -> None:
    counted = Counter((picture.split or "train", picture.label) for picture in found.pictures)
    splits = {split for split, _ in counted}
    numbers = {split: {name: counted[split, name] for name in classes} for split in splits}
    refuse_few(numbers)
    if "test" not in splits:
        refuse_few_to_split(numbers["train"])


if __name__ == "__main__":
    sys.exit(main())
