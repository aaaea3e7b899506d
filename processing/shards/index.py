"""What an instance says of the pictures that it filtered: a line for each, and one at the end that makes it whole.

Runs in processing containers: `processing.shards.part` writes ``<host>.jsonl``, `processing.shards.merge` reads all.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from reporting.job import JobError

SUFFIX = ".jsonl"


class ShardedPicture(msgspec.Struct, frozen=True, array_like=True, tag="picture"):
    """One picture that the dataset holds: its class, split and file, what it was, and fingerprints in hexadecimal."""

    label: str
    split: str
    place: str
    file_sha256: str
    png_sha256: str
    look: str
    size: str
    mode: str

    @property
    def name(self) -> str:
        """Of its file; equal pictures of one class have one."""
        return f"{self.label}_{self.png_sha256[:16]}.png"


class End(msgspec.Struct, frozen=True, array_like=True, tag="end"):
    """How many lines came before, and what all of them have in common; without it, a part is not whole."""

    pictures: int
    layout: str
    image_size: int
    unreadable: int
    named: list[str]
    """Some of the unreadable."""
    skipped: dict[str, int]
    classes_left_out: list[str]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ShardedPicture | End)


def line(of: ShardedPicture | End) -> bytes:
    """A line of the file."""
    return _encoder.encode(of) + b"\n"


def read(path: Path) -> Iterator[ShardedPicture | End]:
    """The lines of one instance; the last is its `End`. Raises JobError for a file that is not whole."""
    count, ended = 0, False
    with path.open("rb") as file:
        for text in file:
            try:
                found = _decoder.decode(text)
            except msgspec.MsgspecError as error:
                raise JobError(f"{path.name} line {count + 1} is not what an instance writes: {error}") from error
            ended = isinstance(found, End)
            if isinstance(found, End) and found.pictures != count:
                raise JobError(
                    f"{path.name} has {count} pictures, its instance wrote {found.pictures}: run the step again"
                )
            count += 1
            yield found
    if not ended:
        raise JobError(f"{path.name} has no end: its instance was stopped; run the step again")
