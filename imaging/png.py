"""The PNG files that the filter job writes: many small pictures at once, photographs, and one large drawing.

Runs in containers. The small ones' pixels are stored, not compressed: 32 x 32 photographs would shrink by a fifth, and
compressing them costs many times everything else that is done to them (``python -m benchmarks.model.filter`` prints
what the job takes). All files have one layout then, so that one array operation fills in the pixels of all and only
checksums are left.
"""

from __future__ import annotations

import struct

import numpy as np
from isal import isal_zlib

from imaging.decode import Pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
ZLIB_HEADER = b"\x78\x01"
UP = 2  # the filter of a line (PNG, 9.2)
MAX_STORED = 0xFFFF  # bytes in one stored block of deflate (RFC 1951, 3.2.4)


def encode_pngs(images: Pixels) -> Pixels:
    """PNG files of a uint8 [N, height, width, 3] RGB array, one per row of the answer: uint8 [N, bytes].

    The same pixels give the same bytes. Raises ValueError for pictures of more than 64 KiB.
    """
    count, height, width, channels = images.shape
    size = height * (1 + width * channels)  # each line starts with its filter: none
    if size > MAX_STORED:
        raise ValueError(f"expected pictures of at most {MAX_STORED:,} bytes, got {size:,}")
    stored = ZLIB_HEADER + struct.pack("<BHH", 1, size, size ^ MAX_STORED)
    before = SIGNATURE + _header(height, width)
    data_at = len(before) + 4  # where the kind of the chunk with the pixels stands, after its length
    before += struct.pack(">I", len(stored) + size + 4) + b"IDAT" + stored
    end = len(before) + size
    files = np.zeros((count, end + 8 + 12), dtype=np.uint8)
    files[:, : len(before)] = np.frombuffer(before, dtype=np.uint8)
    lines = files[:, len(before) : end].reshape(count, height, -1)
    pixels = lines[:, :, 1:].reshape(images.shape)
    for channel in range(channels):  # four times as fast as all at once when they come as planes, as CIFAR's do
        pixels[..., channel] = images[..., channel]
    files[:, end + 8 :] = np.frombuffer(_chunk(b"IEND", b""), dtype=np.uint8)
    flat, starts = files.reshape(-1).data, range(0, files.size, files.shape[1])  # an array per file costs as much again
    files[:, end : end + 4] = _big_endian([isal_zlib.adler32(flat[at + len(before) : at + end]) for at in starts])
    files[:, end + 4 : end + 8] = _big_endian([isal_zlib.crc32(flat[at + data_at : at + end + 4]) for at in starts])
    return files


def encode_picture(image: Pixels) -> bytes:
    """The PNG file of one uint8 [height, width, 3] RGB array: stored where it is small, else compressed."""
    height, width, channels = image.shape
    if height * (1 + width * channels) <= MAX_STORED:
        return bytes(encode_pngs(image[np.newaxis])[0].data)
    # Each line but the first as its difference to the one above: a quarter smaller, and no slower.
    flat = image.reshape(height, -1)
    lines = np.empty((height, 1 + flat.shape[1]), dtype=np.uint8)
    lines[:, 0] = UP
    lines[0, 0] = 0
    lines[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=lines[1:, 1:])
    return SIGNATURE + _header(height, width) + _chunk(b"IDAT", isal_zlib.compress(lines, 1)) + _chunk(b"IEND", b"")


def encode_drawing(drawing: Pixels) -> bytes:
    """The PNG file of a uint8 [height, width, 3] RGB array; a tenth of what Pillow takes for one of about this size."""
    height, width, _ = drawing.shape
    lines = np.zeros((height, 1 + 3 * width), dtype=np.uint8)
    lines[:, 1:] = drawing.reshape(height, -1)
    return SIGNATURE + _header(height, width) + _chunk(b"IDAT", isal_zlib.compress(lines)) + _chunk(b"IEND", b"")


def _header(height: int, width: int) -> bytes:
    return _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def _big_endian(numbers: list[int]) -> Pixels:
    return np.array(numbers, dtype=">u4").view(np.uint8).reshape(-1, 4)


def _chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", isal_zlib.crc32(body))
