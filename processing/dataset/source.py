"""What every kind of source gives the filter job: labelled images per split, and how a class is named.

Runs in processing containers; reads and writes nothing itself.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from imaging.dataset import Labels
from imaging.decode import Pixels
from reporting.job import JobError

CHUNK_IMAGES = 64  # 0.2 MB: stays in the cache, and the allocator keeps it; 3 MB took twice as long in new pages
MAX_DIGITS = 9


@dataclass(frozen=True)
class LabelledImages:
    """Some images of one source split: labels int64 [N] into the chosen classes, and the row each has in the source.

    ``pixels`` gives uint8 [n, 32, 32, 3], RGB, for n rows; ``place`` says in words where a row's image is.
    """

    labels: Labels
    rows: Labels
    pixels: Callable[[Labels], Pixels]
    place: Callable[[int], str]

    def select(self, which: npt.NDArray[np.bool_]) -> LabelledImages:
        """Those of the images."""
        return replace(self, labels=self.labels[which], rows=self.rows[which])

    def parts(self) -> Iterator[slice]:
        """Where to cut, so that the pixels are never all in memory in this form."""
        for start in range(0, len(self.rows), CHUNK_IMAGES):
            yield slice(start, start + CHUNK_IMAGES)


@dataclass(frozen=True)
class ImageSource:
    """The chosen classes' images per split, the digest of what they were read from, and what they looked like.

    ``editable`` says whether somebody can take an image out of it, as from a folder, or not, as from an archive.
    """

    classes: list[str]
    splits: dict[str, LabelledImages]
    sha256: str
    sizes: dict[str, int]
    modes: dict[str, int]
    editable: bool


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
