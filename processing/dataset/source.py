"""What every kind of source gives the filter job: labelled images per split, and how a class is named.

Runs in processing containers; reads and writes nothing itself.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imaging.dataset import Labels
from imaging.decode import IMAGE_SIZE, Pixels
from reporting.job import JobError

CHUNK_IMAGES = 64  # 0.2 MB: stays in the cache, and the allocator keeps it; 3 MB took twice as long in new pages
MAX_DIGITS = 9


@dataclass(frozen=True)
class Written:
    """A PNG file that a source has written already, and its digest."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class LabelledImages:
    """Some images of one source split: labels int64 [N] into the chosen classes, and the row each has in the source.

    ``pixels`` gives uint8 [n, size, size, 3], RGB, for n rows; ``place`` says in words where a row's image is. A source
    that has looked at each image already has ``prints``, uint64 [n], equal for equal pixels, the files it has
    ``written``, and ``groups``, int64 [N], of images that show nearly the same.
    """

    labels: Labels
    rows: Labels
    pixels: Callable[[Labels], Pixels]
    place: Callable[[int], str]
    prints: Callable[[Labels], npt.NDArray[np.uint64]] | None = None
    written: Callable[[int], Written | None] | None = None
    groups: Labels | None = None

    def select(self, which: npt.NDArray[np.bool_]) -> LabelledImages:
        """Those of the images."""
        groups = None if self.groups is None else self.groups[which]
        return replace(self, labels=self.labels[which], rows=self.rows[which], groups=groups)

    def parts(self) -> Iterator[slice]:
        """Where to cut, so that the pixels are never all in memory in this form."""
        for start in range(0, len(self.rows), CHUNK_IMAGES):
            yield slice(start, start + CHUNK_IMAGES)


@dataclass(frozen=True)
class ImageSource:
    """The chosen classes' images per split, the digest of what they were read from, and what they looked like.

    ``editable`` says whether somebody can take an image out of it, as from a folder, or not, as from an archive.
    ``skipped`` counts files that are no pictures by the reason, ``unreadable`` names some that were left out.
    """

    classes: list[str]
    splits: dict[str, LabelledImages]
    sha256: str
    sizes: dict[str, int]
    modes: dict[str, int]
    editable: bool
    image_size: int = IMAGE_SIZE
    layout: str = "CIFAR-100"
    skipped: dict[str, int] = field(default_factory=dict)
    classes_left_out: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def class_number(text: str, names: list[str]) -> int:
    """The position of a class given by name or by number. Raises JobError that suggests the nearest name."""
    if text in names:
        return names.index(text)
    if text.isdecimal() and len(text) <= MAX_DIGITS:
        if int(text) < len(names):
            return int(text)
        raise JobError(f"there is no class number {text}: the source's classes are 0 to {len(names) - 1}")
    nearest = difflib.get_close_matches(text.lower().replace(" ", "_"), names, n=1, cutoff=0.0)
    suggestion = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise JobError(f"there is no class {text!r} among the source's {len(names)} classes{suggestion}")
