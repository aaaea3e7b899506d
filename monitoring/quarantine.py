"""The quarantine: capture lines that cannot be used, as JSON lines that say where each stands and why.

Runs in the monitoring container. A row has ``file``, ``line`` (from 1), ``offset`` (byte), ``kind`` (what the report
counts), ``reason``, ``text`` (the line's first 200 characters), ``time_us`` (when the endpoint answered, in
microseconds since 1970, or null where that cannot be read) and ``lines`` (1, or how many lines of the file the row
stands for: a file of nothing but malformed lines has the first `LISTED` of them listed and the others counted).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

LISTED = 1000
"""Malformed lines of one file that are listed one by one."""


class Row(msgspec.Struct, frozen=True):
    """A malformed line, or the rest of a file's."""

    file: str
    line: int
    offset: int
    kind: str
    reason: str
    text: str
    time_us: int | None = None
    lines: int = 1


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Row).decode


def limited(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows of one file, at most `LISTED` of them and a row for each kind of the rest."""
    rest: dict[str, list[Row]] = {}
    for number, row in enumerate(rows):
        if number < LISTED:
            yield row
        else:
            rest.setdefault(row.kind, []).append(row)
    for kind, left in rest.items():
        first = left[0]
        reason = f"and {len(left)} more lines of this file, not listed, the first: {first.reason}"
        yield Row(first.file, first.line, first.offset, kind, reason, first.text, first.time_us, len(left))


def counts(rows: Iterable[Row]) -> dict[str, int]:
    """How many lines of each kind, the most frequent first."""
    found: Counter[str] = Counter()
    for row in rows:
        found[row.kind] += row.lines
    return dict(found.most_common())


def encode(rows: Iterable[Row]) -> bytes:
    """JSON lines."""
    return b"".join(_encode(row) + b"\n" for row in rows)


def read(path: Path) -> list[Row]:
    """The rows of a quarantine file; none where there is no such file."""
    if not path.exists():
        return []
    return [_decode(line) for line in path.read_bytes().splitlines()]
