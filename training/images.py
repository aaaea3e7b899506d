"""The images of a split as training takes them: thumbnails in memory, photographs read from their files when asked for.

Runs in the training container. A hundred thousand photographs would be 15 GB; decoding one takes a fiftieth of what a
network takes to look at it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imaging.dataset import Example, load_split, read_examples, read_image, read_manifest
from reporting.documents.dataset import Manifest

LARGEST_THUMBNAIL = 64  # pixels


@dataclass(frozen=True)
class StoredImages:
    """Photographs in files: what is asked for by index becomes uint8 [N, size, size, 3]. Many threads may ask."""

    examples: list[Example]
    size: int

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, which: Tensor | slice) -> Tensor:
        rows = range(len(self))[which] if isinstance(which, slice) else which.tolist()
        found = np.empty((len(rows), self.size, self.size, 3), dtype=np.uint8)
        for at, row in enumerate(rows):
            found[at] = read_image(self.examples[row], self.size)
        return torch.from_numpy(found)


Images = Tensor | StoredImages
"""uint8 [N, size, size, 3]."""
Split = tuple[Images, Tensor]  # images and labels int64 [N]


def open_split(folder: Path, split: str) -> Split:
    """The images and labels of a split. Raises DatasetError."""
    manifest = read_manifest(folder)
    if manifest.image_size <= LARGEST_THUMBNAIL:
        images, labels = load_split(folder, split)
        return torch.from_numpy(images), torch.from_numpy(labels)
    examples = read_examples(folder, split, len(manifest.classes))
    return StoredImages(examples, manifest.image_size), torch.tensor([example.label for example in examples])


def chunks(images: Images, size: int) -> Iterator[Tensor]:
    """All images in their order, so many at once."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


def whole(images: Images) -> Tensor:
    """All at once, for networks that keep small copies of them."""
    return images[:]


def fingerprint(images: Images, manifest: Manifest) -> Iterator[bytes]:
    """What a checkpoint is told apart by: the pixels, or the digests of the files that hold them."""
    if isinstance(images, Tensor):
        yield images.contiguous().numpy().tobytes()
    else:
        yield repr(sorted(manifest.digests.items())).encode()
