"""What was read from capture files, as columns: predictions and, with their places and reasons, malformed lines.

Runs in the monitoring container. Values in, values out. Columns rather than rows: a million of small objects would cost
a gigabyte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt

from monitoring.captures.line import Classes, MalformedLineError, parse_line
from monitoring.captures.times import microseconds

TEXT_CHARACTERS = 200

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.uint8] | Sequence[str | None]


class Numbering(msgspec.Struct):
    """The number of a file's next line, which is known only when the lines before it have been read."""

    next: int = 1


class Segment(msgspec.Struct, frozen=True):
    """Lines of one file in a buffer: ``buffer[start:end]``, each closed by a newline. One for each file, so cheap."""

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
    inference_id: str | None = None
    package: str | None = None


# The segment of a line, its start and end in the buffer, and its number in the file.
Place = tuple[Segment, int, int, int]


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a buffer: starts and ends (of their newlines), int64 [n], and whose they are."""

    starts: Integers
    ends: Integers
    segments: list[Segment]
    segment: Integers
    """Index into ``segments``."""
    numbers: Integers
    """Number of the line in its file, from 1."""

    @classmethod
    def of(cls, buffer: bytearray, segments: list[Segment]) -> Lines:
        """All lines of the segments; moves the numbering of their files on."""
        ends = _newlines(buffer, _stretches(segments))
        firsts = np.array([segment.start for segment in segments], np.int64)
        owner = np.searchsorted(firsts, ends, side="right") - 1
        counts = np.bincount(owner, minlength=len(segments))
        starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])[: len(ends)]
        # The first line of a segment starts with it; what lies between two segments belongs to none.
        heads = np.cumsum(counts) - counts
        starts[heads[counts > 0]] = firsts[counts > 0]
        before = []
        for segment, count in zip(segments, counts.tolist(), strict=True):
            before.append(segment.numbering.next)
            segment.numbering.next += count
        numbers = np.arange(len(ends)) - heads[owner] + np.array(before, np.int64)[owner]
        return cls(starts, ends, segments, owner, numbers)

    def printable(self, buffer: bytearray, at: Integers) -> npt.NDArray[np.bool_]:
        """Which of the lines (their indices, ascending) hold nothing but printable ASCII, and something."""
        return least_bytes(buffer, self.starts[at], self.ends[at]) >= ord(" ")

    def place(self, at: int) -> Place:
        """Where a line stands in the buffer and in its file."""
        start, end = int(self.starts[at]), int(self.ends[at])
        return self.segments[int(self.segment[at])], start, end, int(self.numbers[at])

    def files(self, at: Integers) -> Integers:
        """The files of lines, as indices."""
        return np.array([segment.file for segment in self.segments], np.int64)[self.segment[at]]

    def offsets(self, at: Integers) -> Integers:
        """The bytes of their files at which lines start."""
        shifts = np.array([segment.offset - segment.start for segment in self.segments], np.int64)
        return self.starts[at] + shifts[self.segment[at]]


def _newlines(buffer: bytearray, stretches: list[tuple[int, int]]) -> Integers:
    # Four times faster than comparing all bytes with numpy.
    found: list[int] = []
    find, add = buffer.find, found.append
    for start, end in stretches:
        at = start - 1
        while (at := find(b"\n", at + 1, end)) >= 0:
            add(at)
    return np.array(found, np.int64)


def _stretches(segments: list[Segment]) -> list[tuple[int, int]]:
    """The segments as starts and ends, those that touch each other as one."""
    result: list[tuple[int, int]] = []
    for segment in segments:
        if result and result[-1][1] == segment.start:
            result[-1] = (result[-1][0], segment.end)
        else:
            result.append((segment.start, segment.end))
    return result


def least_bytes(buffer: bytearray, starts: Integers, ends: Integers) -> npt.NDArray[np.int8]:
    """The least byte of each stretch as int8, so below 0 where one is not ASCII.

    Stretches ascend and do not overlap. Of an empty one it is the byte at which it stands.
    """
    if not len(starts):
        return np.empty(0, np.int8)
    text = np.frombuffer(buffer, np.int8, ends[-1] + 1)
    least: npt.NDArray[np.int8] = np.minimum.reduceat(text, np.column_stack((starts, ends)).ravel())[::2]
    return least


@dataclass(frozen=True, slots=True)
class Part:
    """Predictions as columns of one length. Text is a list, or ASCII of one width as uint8 [n, width]."""

    event_ids: Texts
    inference_ids: Texts
    versions: Sequence[str | None] | str | None
    """One for each, or the same for all."""
    files: Integers
    offsets: Integers
    times_us: Integers
    probabilities: Floats

    def taken(self, at: Integers) -> Part:
        """Those of the predictions."""
        versions = self.versions
        return Part(
            _taken(self.event_ids, at),
            _taken(self.inference_ids, at),
            versions if versions is None or isinstance(versions, str) else [versions[each] for each in at.tolist()],
            self.files[at],
            self.offsets[at],
            self.times_us[at],
            self.probabilities[at],
        )


def _taken(texts: Texts, at: Integers) -> Texts:
    return texts[at] if isinstance(texts, np.ndarray) else [texts[each] for each in at.tolist()]


@dataclass
class Columns:
    """Predictions of any files, and the malformed lines among them."""

    parts: list[Part] = field(default_factory=list)
    malformed: list[Malformed] = field(default_factory=list)
    lines: int = 0
    records: int = 0

    def add(self, part: Part) -> None:
        """Take more predictions."""
        self.parts.append(part)
        self.records += len(part.files)

    @property
    def files(self) -> Integers:
        """The number of each prediction's file, int64 [n]."""
        return np.concatenate([np.empty(0, np.int64), *(part.files for part in self.parts)])

    @property
    def times_us(self) -> Integers:
        """When each was answered, microseconds since 1970, int64 [n]."""
        return np.concatenate([np.empty(0, np.int64), *(part.times_us for part in self.parts)])


def read_slowly(buffer: bytearray, places: list[Place], classes: Classes, columns: Columns) -> None:
    """Add what lines say, however unusual they look."""
    found = []
    for segment, start, end, number in places:
        line, offset = bytes(buffer[start:end]), segment.offset + start - segment.start
        if not line.strip():
            columns.lines -= 1
            continue
        try:
            found.append((segment.file, offset, *parse_line(line, classes)))
        except MalformedLineError as error:
            kind, reason = error.kind, str(error)
            if segment.unterminated and end + 1 == segment.end and kind == "not JSON":
                kind, reason = "truncated", f"the file ends in the middle of the line: {reason}"
            us = None if error.time is None else microseconds(error.time)
            reason = reason.encode("utf-8", "backslashreplace").decode()
            whose = error.inference_id, error.package
            columns.malformed.append(Malformed(segment.file, number, offset, kind, reason, quote(line), us, *whose))
    if found:
        files, offsets, times, predictions = zip(*found, strict=True)
        columns.add(
            Part(
                [prediction.event_id for prediction in predictions],
                [prediction.inference_id for prediction in predictions],
                [prediction.model_version for prediction in predictions],
                np.array(files, np.int64),
                np.array(offsets, np.int64),
                np.array([microseconds(time) for time in times], np.int64),
                np.array([prediction.probabilities for prediction in predictions], np.float64),
            )
        )


def quote(line: bytes) -> str:
    """The first characters of a malformed line."""
    return line[: 4 * TEXT_CHARACTERS].rstrip(b"\r\n").decode("utf-8", "backslashreplace")[:TEXT_CHARACTERS]
