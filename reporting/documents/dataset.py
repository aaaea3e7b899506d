"""``dataset.json``: what a dataset folder holds and how it was made.

The filter job writes it; training, evaluation and baseline read it, and so does ``scones data``.
"""

from __future__ import annotations

import msgspec

MANIFEST_FILE = "dataset.json"


class Checks(msgspec.Struct, frozen=True, kw_only=True):
    """What the filter job looked at and found; whatever is wrong stops it, so that nothing here is an error.

    - ``images``: in each split, those looked at without ``copies_left_out``; the built-in algorithm's pipeline reads
      it.
    - ``sizes``: pictures per size in pixels, the five most frequent; all are scaled to the dataset's.
    - ``modes``: pictures per colour mode, such as ``RGB``.
    - ``copies_within_splits``: images with exactly the pixels of another one in their split; they stay.
    - ``reviews``: how many reviewed images were ``added`` to the training split, and for other reasons not.
    - ``copies_left_out``: images that another split holds as well, and were taken out of this one.
    - ``layout``: how the pictures lay, such as ``class folders``; ``skipped``: files that are no pictures, by name.
    - ``classes_left_out``: those of the source that were not asked for; ``unreadable``: some that were left out.
    - ``near_copies``: pictures that show nearly what another one does; they were kept on one side.
    """

    images: dict[str, int] = {}
    sizes: dict[str, int] = {}
    modes: dict[str, int] = {}
    copies_within_splits: dict[str, int] = {}
    reviews: dict[str, int] = {}
    copies_left_out: dict[str, list[str]] = {}
    layout: str = "CIFAR-100"
    skipped: dict[str, int] = {}
    classes_left_out: list[str] = []
    unreadable: list[str] = []
    near_copies: int = 0


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """``dataset.json``.

    - ``classes``: their names, in the order of the labels.
    - ``counts``: images by split and class.
    - ``source_sha256``: of what the images were read from.
    - ``seed``, ``validation_fraction``: what chose the validation images, a share from 0 to 1.
    - ``digests``: SHA-256 per split of what ``cd SPLIT && LC_ALL=C sha256sum *`` prints: names, contents, and so the
      labels.
    - ``image_size``: pixels of each side of every image; 32 where an older version wrote the file.
    """

    classes: list[str]
    counts: dict[str, dict[str, int]]
    source_sha256: str
    seed: int
    validation_fraction: float
    digests: dict[str, str]
    checks: Checks
    image_size: int = 32
