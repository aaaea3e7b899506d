"""Which pictures show nearly the same: taken in one burst, saved again, or scaled.

Runs in the filter job, on a fingerprint of how each picture gets brighter from left to right (Krawetz, "Kind of Like
That", 2013), with 256 bits instead of 64: of 800 different photographs of flowers no two were nearer than 60 bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from imaging.dataset import Labels
from imaging.decode import Pixels

SIDE = 16
NEAR_BITS = 24
"""Copies saved again as JPEG with quality 30 differ by up to 20."""
LEAST_BITS = 24  # set, or not set: a plain picture's fingerprint says nothing
BANDS = 16
NEIGHBOURS = 16

Hashes = npt.NDArray[np.uint8]
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1).astype(np.int64)


def look_hash(pixels: Pixels) -> bytes:
    """The fingerprint of one picture, 32 bytes; ``pixels`` uint8 [height, width, 3]."""
    grey = Image.fromarray(pixels).convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX)
    shades = np.asarray(grey)
    return np.packbits(shades[:, 1:] > shades[:, :-1]).tobytes()


def near_groups(hashes: Hashes) -> Labels:
    """A group's number for each picture, int64 [N]; ``hashes`` uint8 [N, 32]. A picture like no other has its own.

    Two near ones agree in at least one of sixteen bands nearly always; in each, a picture is compared with those that
    come after it in order, so that the time grows with the number of pictures and not with its square.
    """
    count = len(hashes)
    group = np.arange(count)
    set_bits = _BITS[hashes].sum(axis=1)
    telling = np.flatnonzero((set_bits >= LEAST_BITS) & (set_bits <= 8 * hashes.shape[1] - LEAST_BITS))
    for first, second in _candidates(hashes, telling):
        group[_root(group, second)] = _root(group, first)
    return np.array([_root(group, number) for number in range(count)], dtype=np.int64)


def _candidates(hashes: Hashes, telling: Labels) -> list[tuple[int, int]]:
    width = hashes.shape[1] // BANDS
    pairs: set[tuple[int, int]] = set()
    for band in range(BANDS):
        turned = np.roll(hashes[telling], -band * width, axis=1)
        order = telling[np.lexsort(turned.T[::-1])]
        keys = hashes[order, band * width : (band + 1) * width]
        for step in range(1, min(NEIGHBOURS, len(order) - 1) + 1):
            same = (keys[step:] == keys[:-step]).all(axis=1)
            near = _BITS[hashes[order[step:][same]] ^ hashes[order[:-step][same]]].sum(axis=1) <= NEAR_BITS
            pairs.update(zip(order[:-step][same][near].tolist(), order[step:][same][near].tolist(), strict=True))
    return sorted(pairs)


def _root(group: Labels, number: int) -> int:
    while group[number] != number:
        group[number] = group[group[number]]
        number = int(group[number])
    return number
