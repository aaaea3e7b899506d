"""What must hold for a dataset before anything is trained on it: enough images of each class, none on both sides.

Runs in the filter job. A picture that stands in the training split and in the test split makes the test's figures too
good. In a folder somebody can remove it, so the job stops and names the files. CIFAR-100's archive is as it is, so the
copy is left out of training, and ``dataset.json`` says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imaging.dataset import Labels
from processing.dataset.source import ImageSource, LabelledImages
from reporting.job import JobError

LEAST = {"train": 10, "validation": 1, "test": 5}  # images of each class in a source
KEPT_FIRST = ("test", "validation", "train")  # of an image that stands in two splits, the later one's goes
NAMED = 3


@dataclass(frozen=True)
class Copy:
    """An image whose pixels are exactly an earlier one's; splits and positions in `KEPT_FIRST`'s order."""

    split: str
    position: int
    place: str
    original_split: str
    original_place: str
    same_class: bool

    def __str__(self) -> str:
        if self.place == self.original_place:
            return f"{self.place} is listed twice"
        return f"{self.place} = {self.original_place}"


def check_counts(source: ImageSource) -> None:
    """Raises JobError that names the classes and splits with too few images."""
    refuse_few({split: counts(images, source.classes) for split, images in source.splits.items()})


def refuse_few(numbers: Mapping[str, Mapping[str, int]]) -> None:
    """The same for numbers by split and class. Raises JobError."""
    few = [
        f"the {split} split has {count} images of {name!r}, expected at least {LEAST[split]}"
        for split, of_split in numbers.items()
        for name, count in of_split.items()
        if count < LEAST[split]
    ]
    if few:
        more = f"; and {len(few) - NAMED} more" if len(few) > NAMED else ""
        raise JobError(f"{'; '.join(few[:NAMED])}{more}: add images or leave the class out")


def counts(images: LabelledImages, classes: list[str]) -> dict[str, int]:
    """How many images each class has."""
    return dict(zip(classes, np.bincount(images.labels, minlength=len(classes)).tolist(), strict=True))


def find_copies(splits: dict[str, LabelledImages]) -> list[Copy]:
    """All images whose pixels came before, exactly; near ones are not looked for."""
    order = [(split, splits[split]) for split in KEPT_FIRST]
    prints = np.concatenate([_fingerprints(images) for _, images in order])
    # return_index gives the first of equal ones: numpy then sorts stably
    _, first, group = np.unique(prints, return_index=True, return_inverse=True)
    ends = np.cumsum([len(images.rows) for _, images in order])

    def locate(number: int) -> tuple[str, LabelledImages, int]:
        which = int(np.searchsorted(ends, number, side="right"))
        split, images = order[which]
        return split, images, number - int(ends[which]) + len(images.rows)

    copies = []
    for number in np.flatnonzero(first[group] != np.arange(len(prints))):
        split, images, position = locate(int(number))
        original_split, originals, original = locate(int(first[group[number]]))
        row, original_row = images.rows[[position]], originals.rows[[original]]
        if np.array_equal(images.pixels(row), originals.pixels(original_row)):
            same_class = bool(images.labels[position] == originals.labels[original])
            places = images.place(int(row[0])), originals.place(int(original_row[0]))
            copies.append(Copy(split, position, places[0], original_split, places[1], same_class))
    return copies


def _fingerprints(images: LabelledImages) -> npt.NDArray[np.uint64]:
    """A 64-bit number for each image, equal for equal pixels (and hardly ever otherwise; pixels are compared after)."""
    if images.prints is not None:
        return images.prints(images.rows)
    prints = np.empty(len(images.rows), dtype=np.uint64)
    factors: npt.NDArray[np.uint64] | None = None
    for part in images.parts():
        pixels = images.pixels(images.rows[part])
        words = pixels.ravel(order="K").reshape(len(pixels), -1).view(np.uint64)  # in whichever order they lie
        if factors is None:
            factors = np.random.default_rng(0).integers(1, 2**64, words.shape[1], dtype=np.uint64) | np.uint64(1)
        prints[part] = words @ factors
    return prints


def refuse_copies(copies: list[Copy], splits_of_source: set[str]) -> None:
    """For a source that somebody can edit. Raises JobError that names the files."""

    def origin(split: str) -> str:
        return split if split in splits_of_source else "train"

    across = [c for c in copies if origin(c.split) != origin(c.original_split) or not c.same_class]
    if across:
        more = f", and {len(across) - NAMED} more" if len(across) > NAMED else ""
        raise JobError(
            f"{len(across)} pictures stand in two splits or two classes: {', '.join(map(str, across[:NAMED]))}{more};"
            " remove one of each pair, or the test's figures mean nothing"
        )


def leave_out_copies(
    splits: dict[str, LabelledImages], copies: list[Copy], classes: list[str]
) -> dict[str, LabelledImages]:
    """The splits without the images that another split holds as well. Raises JobError when a class is empty then."""
    kept = {}
    for split, images in splits.items():
        which = np.ones(len(images.rows), dtype=bool)
        which[positions_across(copies, split)] = False
        kept[split] = images.select(which)
        had = counts(images, classes)
        for name, count in counts(kept[split], classes).items():
            if not count:
                why = "stands in another split" if had[name] else "shows nearly what one of another class does"
                raise JobError(f"every image of {name!r} that could be in the {split} split {why}: add other images")
    return kept


def positions_across(copies: list[Copy], split: str) -> Labels:
    """Where the split's copies of another split's images are."""
    return np.array([c.position for c in copies if c.split == split != c.original_split], dtype=np.int64)
