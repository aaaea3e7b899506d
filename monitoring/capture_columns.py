"""What was read from capture files, as columns: predictions and, with their places and reasons, malformed lines.

Runs in the monitoring container. Values in, values out. Columns rather than rows: a million of small objects would cost
a gigabyte.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt

from monitoring.capture_line import Classes, MalformedLineError, Prediction, parse_line
from monitoring.capture_time import microseconds

TEXT_CHARACTERS = 200


@dataclass(slots=True)
class Numbering:
    """The number of a file's next line, which is known only when the lines before it have been read."""

    next: int = 1


@dataclass(frozen=True, slots=True)
class Segment:
    """Lines of one file in a buffer: ``buffer[start:end]``, each closed by a newline."""

    file: int
    start: int
    end: int
    offset: int
    """Byte of the file at which ``start`` stands."""
    numbering: Numbering
    unterminated: bool = False
    """The file ended without the last newline."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line that cannot be used. ``time_us``: when the endpoint answered, where that can be read."""

    file: int
    line: int
    offset: int
    kind: str
    reason: str
    text: str
    time_us: int | None


@dataclass
class Columns:
    """Predictions of any files, in the order in which they were read, and the malformed lines among them."""

    event_ids: list[str] = field(default_factory=list)
    inference_ids: list[str | None] = field(default_factory=list)
    versions: list[str | None] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    times_us: list[npt.NDArray[np.int64]] = field(default_factory=list)
    probabilities: list[npt.NDArray[np.float64]] = field(default_factory=list)
    malformed: list[Malformed] = field(default_factory=list)
    lines: int = 0

    def __len__(self) -> int:
        return len(self.event_ids)


# The segment of a line, its start and end in the buffer, and its number in the file.
Place = tuple[Segment, int, int, int]


def read_slowly(line: bytes, place: Place, classes: Classes, columns: Columns) -> None:
    """Add what one line says, however unusual it looks."""
    segment, start, end, number = place
    if not line.strip():
        columns.lines -= 1
        return
    offset = segment.offset + start - segment.start
    try:
        time, prediction = parse_line(line, classes)
    except MalformedLineError as error:
        kind, reason = error.kind, str(error)
        if segment.unterminated and end + 1 == segment.end and kind == "not JSON":
            kind, reason = "truncated", f"the file ends in the middle of the line: {reason}"
        us = None if error.time is None else microseconds(error.time)
        reason = reason.encode("utf-8", "backslashreplace").decode()
        columns.malformed.append(Malformed(segment.file, number, offset, kind, reason, quote(line), us))
        return
    add(columns, segment.file, offset, time, prediction)


def add(columns: Columns, file: int, offset: int, time: datetime, prediction: Prediction) -> None:
    """Add one prediction."""
    columns.event_ids.append(prediction.event_id)
    columns.inference_ids.append(prediction.inference_id)
    columns.versions.append(prediction.model_version)
    columns.files.append(file)
    columns.offsets.append(offset)
    columns.times_us.append(np.array([microseconds(time)], np.int64))
    columns.probabilities.append(np.array([prediction.probabilities], np.float64))


def quote(line: bytes) -> str:
    """The first characters of a malformed line."""
    return line[: 4 * TEXT_CHARACTERS].rstrip(b"\r\n").decode("utf-8", "backslashreplace")[:TEXT_CHARACTERS]
