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
from typing import TypedDict

from processing.dataset.layouts import find_pictures
from processing.dataset.picture_source import natural_size
from reporting.job import MESSAGE_FILE, run_job


class SourceDescription(TypedDict):
    """``counts``: pictures by split and class, ``unsplit`` where nobody has said; ``skipped``: files by the reason."""

    layout: str
    image_size: int
    classes: list[str]
    counts: dict[str, dict[str, int]]
    skipped: dict[str, int]


def main(argv: list[str] | None = None) -> int:
    """Print what the folder or list holds; the exit status. ``{}`` for what is laid out as CIFAR-100 is."""
    parser = argparse.ArgumentParser(prog="processing.describe_source", description="Say what a source holds.")
    parser.add_argument("source", type=Path)
    parser.add_argument("--message-file", type=Path, default=MESSAGE_FILE)
    arguments = parser.parse_args(argv)
    return run_job(
        "data", lambda: print(json.dumps(describe(arguments.source), ensure_ascii=False)), arguments.message_file
    )


def describe(source: Path) -> SourceDescription | dict[str, str]:
    """What the folder or list holds. Raises JobError."""
    found = find_pictures(source)
    if found is None:
        return {}
    counted = Counter((picture.split or "unsplit", picture.label) for picture in found.pictures)
    counts: dict[str, dict[str, int]] = {}
    for (split, label), count in sorted(counted.items()):
        counts.setdefault(split, {})[label] = count
    return {
        "layout": found.layout,
        "image_size": natural_size(found.pictures),
        "classes": found.classes,
        "counts": counts,
        "skipped": dict(found.skipped.most_common()),
    }


if __name__ == "__main__":
    sys.exit(main())
