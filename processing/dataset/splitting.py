"""Take test and validation images out of the training images: of each class the same share, chosen by the seed.

Runs in the filter job. Pictures that show nearly the same are kept on one side, or the figures would flatter the model.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from imaging.dataset import Labels
from processing.dataset.dataset_checks import counts
from processing.dataset.source import ImageSource, LabelledImages
from processing.finding.pictures import some
from reporting.job import JobError

TEST_SHARE = 0.2
"""Of a source that has no test images of its own."""
FEWEST = 15
"""Images of a class that has to be split three ways."""

Flags = npt.NDArray[np.bool_]


def with_every_split(source: ImageSource, validation_fraction: float, seed: int) -> dict[str, LabelledImages]:
    """The source's splits, and what it lacks of them split off its training images. Raises JobError."""
    splits = dict(source.splits)
    if "test" not in splits:
        refuse_few_to_split(counts(splits["train"], source.classes))
        splits["train"], splits["test"] = split_off(splits["train"], TEST_SHARE, seed)
    if "validation" not in splits:
        splits["train"], splits["validation"] = split_off(splits["train"], validation_fraction, seed)
    return splits


def refuse_few_to_split(numbers: Mapping[str, int]) -> None:
    """Raises JobError that names classes with too few pictures."""
    few = [f"{name!r} has {count}" for name, count in numbers.items() if count < FEWEST]
    if few:
        raise JobError(
            f"each class needs {FEWEST} pictures to be split into training, validation and test: {some(few)};"
            " add pictures or leave the class out"
        )


def split_off(images: LabelledImages, fraction: float, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """Two parts: of each class the same share, at least one image on each side, chosen by the seed.

    What shows nearly the same as an image of another class stays in the first part.
    """
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(images.labels), dtype=bool)
    across = _across_classes(images)
    for label in np.unique(images.labels):
        members = np.flatnonzero(images.labels == label)
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        free = members[~across[members]]
        if images.groups is None or len(np.unique(images.groups[free])) == len(free):
            held_out[generator.permutation(free)[:count]] = True
        else:
            held_out[_whole_groups(free, images.groups, count, generator)] = True
    return images.select(~held_out), images.select(held_out)


def _whole_groups(members: Labels, groups: Labels, count: int, generator: np.random.Generator) -> Labels:
    """About ``count`` of a class's images, no group of them cut: groups at random, those that still fit."""
    order = members[np.argsort(groups[members], kind="stable")]
    of_group = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    if len(of_group) == 1:
        return generator.permutation(members)[:count]
    chosen: list[Labels] = []
    taken = 0
    for number in generator.permutation(len(of_group)):
        if taken + len(of_group[number]) <= count:
            chosen.append(of_group[number])
            taken += len(of_group[number])
    return np.concatenate(chosen or [min(of_group, key=len)])


def _across_classes(images: LabelledImages) -> Flags:
    """Which images show nearly the same as one of another class."""
    if images.groups is None:
        return np.zeros(len(images.labels), dtype=bool)
    _, group = np.unique(images.groups, return_inverse=True)
    least, most = np.full(len(group), np.iinfo(np.int64).max), np.full(len(group), -1)
    np.minimum.at(least, group, images.labels)
    np.maximum.at(most, group, images.labels)
    flags: Flags = least[group] != most[group]
    return flags
