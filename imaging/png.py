"""Many small pictures as PNG files at once: what the filter job writes.

Runs in containers. The pixels are stored, not compressed: 32 x 32 photographs would shrink by a fifth, and compressing
them costs many times everything else that is done to them (``python benchmarks/filter.py`` prints what the job takes).
Live requests bring PNG files of any kind; they are read by `imaging.decode`.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from imaging.decode import Pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
STORED = 0  # zlib's level


def encode_pngs(images: Pixels) -> list[bytes]:
    """PNG bytes of each image of a uint8 [N, height, width, 3] RGB array; the same pixels give the same bytes."""
    count, height, width, channels = images.shape
    lines = np.zeros((count, height, 1 + width * channels), dtype=np.uint8)  # each line starts with its filter: none
    lines[:, :, 1:] = images.reshape(count, height, width * channels)
    eight_bit_rgb = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    head, tail = SIGNATURE + _chunk(b"IHDR", eight_bit_rgb), _chunk(b"IEND", b"")
    return [b"".join((head, _chunk(b"IDAT", zlib.compress(image, STORED)), tail)) for image in lines]


def _chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
