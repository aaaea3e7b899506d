"""The quarantine: capture lines that cannot be used, as JSON lines that say where each stands and why.

Runs in the monitoring container. A row has ``file``, ``line`` (from 1), ``offset`` (byte), ``kind`` (what the report
counts), ``reason``, ``text`` (the line's first 200 characters), ``time_us`` (when the endpoint answered, in
microseconds since 1970, or null where that cannot be read), ``lines`` (1, or how many lines of the file the row
stands for: a file of nothing but malformed lines has the first `LISTED` of them listed and the others counted), and
where only the answer cannot be used, ``inference_id`` and ``package`` (the model package that gave it), or null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

LISTED = 1000
"""Malformed lines of one file that are listed one by one."""
SMOKE_TEST = "smoke-test"
"""So begin the inference ids of what a deployment tests the endpoint with."""


class QuarantinedLine(msgspec.Struct, frozen=True):
    """A malformed line, or the rest of a file's."""

    file: str
    line: int
    offset: int
    kind: str
    reason: str
    text: str
    time_us: int | None = None
    lines: int = 1
    inference_id: str | None = None
    package: str | None = None

    @property
    def of_smoke_test(self) -> bool:
        """Whether a deployment sent the request to test the endpoint."""
        return (self.inference_id or "").startswith(SMOKE_TEST)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(QuarantinedLine).decode


def limited(rows: Iterable[QuarantinedLine]) -> Iterator[QuarantinedLine]:
    """The rows of one file, at most `LISTED` of them and a row for each kind and origin of the rest."""
    rest: dict[tuple[str, bool, str | None], list[QuarantinedLine]] = {}
    for number, row in enumerate(rows):
        if number < LISTED:
            yield row
        else:
            rest.setdefault((row.kind, row.of_smoke_test, row.package), []).append(row)
    for left in rest.values():
        reason = f"and {len(left)} more lines of this file, not listed, the first: {left[0].reason}"
        yield msgspec.structs.replace(left[0], reason=reason, lines=len(left))


def counts(rows: Iterable[QuarantinedLine]) -> dict[str, int]:
    """How many lines of each kind, the most frequent first."""
    found: Counter[str] = Counter()
    for row in rows:
        found[row.kind] += row.lines
    return dict(found.most_common())


def encode(rows: Iterable[QuarantinedLine]) -> bytes:
    """JSON lines."""
    return b"".join(_encode(row) + b"\n" for row in rows)


def read(path: Path) -> list[QuarantinedLine]:
    """The rows of a quarantine file; none where there is no such file."""
    if not path.exists():
        return []
    return [_decode(line) for line in path.read_bytes().splitlines()]
