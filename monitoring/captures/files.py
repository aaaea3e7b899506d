"""Read capture files through one buffer whatever their number and size.

Runs in the monitoring container. Reads the files that `monitoring.captures.folders` finds. The buffer holds many
files of one record as well as a part of a large one, so both cost what their bytes cost.
"""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from monitoring.captures.columns import Columns, Malformed, Numbering, Segment, quote
from monitoring.captures.line import Classes
from monitoring.captures.tail import Parser

NEWLINE = ord("\n")
BUFFER_BYTES = 8 << 20
# SageMaker takes requests of up to 25 MB; base64 makes 34 MB of them.
MAX_LINE_BYTES = 64 << 20
# The end of a file holds its last record's eventId and time: with the size, that tells whether it is still the same.
TAIL_BYTES = 512


def tail_digest(path: Path, size: int) -> int:
    """A checksum of a file's end."""
    with path.open("rb") as source:
        source.seek(max(0, size - TAIL_BYTES))
        return zlib.crc32(source.read(TAIL_BYTES))


def line_at(path: Path, offset: int) -> bytes:
    """The line at a byte of a capture file. Raises OSError."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as source:
        source.seek(offset)
        return source.readline()


def _digest(descriptor: int, size: int) -> int:
    return zlib.crc32(os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES)))


def printable(path: str) -> str:
    """The path as tables and reports name it; the same unless its bytes are not UTF-8."""
    if path.isascii():
        return path
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@dataclass
class Reader:
    """Reads files one after the other; ``columns`` names each by its index in ``files``."""

    root: Path
    classes: Classes
    buffer_bytes: int = BUFFER_BYTES
    files: list[str] = field(default_factory=list)
    columns: Columns = field(default_factory=Columns)
    _parser: Parser = field(init=False)
    _buffer: bytearray = field(init=False)
    _used: int = 0
    _segments: list[Segment] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._parser = Parser(self.classes)
        self._buffer = bytearray(self.buffer_bytes)

    def read(self, path: str) -> tuple[int, int] | None:
        """Read a file: its size and `tail_digest` as read, or None when it is gone meanwhile.

        What was read is in ``columns`` only after `flush`.
        """
        try:
            descriptor = os.open(f"{self.root}/{path}", os.O_RDONLY)  # a Path of each takes longer than its line
        except FileNotFoundError:
            return None
        self.files.append(path)
        try:
            if path.endswith(".gz"):
                return self._read_compressed(descriptor)
            return self._read_plain(descriptor)
        finally:
            os.close(descriptor)

    def flush(self) -> None:
        """Parse what the buffer holds."""
        self._parser.parse(self._buffer, self._segments, self.columns)
        self._segments = []
        self._used = 0

    def begin(self) -> None:
        """Forget what was read, but not what the lines look like. After `flush`."""
        self.files, self.columns = [], Columns()

    def _read_plain(self, descriptor: int) -> tuple[int, int]:
        source = _Source(len(self.files) - 1)
        while True:
            room = len(self._buffer) - self._used - 1  # one byte for a newline that the last line may lack
            count = os.readv(descriptor, [memoryview(self._buffer)[self._used : self._used + room]])
            if count < room and source.offset == 0:
                return self._take_whole(count)
            self._take(source, count)
            # A regular file is read in full unless it ends.
            if count < room:
                break
        size = source.offset
        whole = source.pending == size
        digest = zlib.crc32(self._buffer[max(source.start, self._used - TAIL_BYTES) : self._used]) if whole else None
        self._finish(source)
        return size, _digest(descriptor, size) if digest is None else digest

    def _read_compressed(self, descriptor: int) -> tuple[int, int]:
        source = _Source(len(self.files) - 1)
        size = os.fstat(descriptor).st_size
        with os.fdopen(os.dup(descriptor), "rb") as raw, gzip.GzipFile(fileobj=raw) as content:
            try:
                while data := content.read1(self.buffer_bytes // 4):
                    if len(data) >= len(self._buffer) - self._used - 1:
                        self._make_room(source, len(data))
                    self._buffer[self._used : self._used + len(data)] = data
                    self._take(source, len(data))
            except (EOFError, OSError, zlib.error) as error:
                kind = "truncated" if isinstance(error, EOFError) else "not gzip"
                reason = f"the compressed file cannot be read to its end: {error}"
                self._finish(source)
                self.flush()
                self._malformed(source, source.offset, (kind, reason), b"")
                return size, _digest(descriptor, size)
        self._finish(source)
        return size, _digest(descriptor, size)

    def _take_whole(self, count: int) -> tuple[int, int]:
        """Note a file that has come into the buffer at once: its size and `tail_digest`. Many have but one line."""
        start, end = self._used, self._used + count
        digest = zlib.crc32(self._buffer[max(start, end - TAIL_BYTES) : end])
        if count:
            unterminated = self._buffer[end - 1] != NEWLINE
            if unterminated:
                self._buffer[end] = NEWLINE
                end += 1
            self._segments.append(Segment(len(self.files) - 1, start, end, 0, Numbering(), unterminated))
            self._used = end
            if end >= len(self._buffer) * 3 // 4:
                self.flush()
        return count, digest

    def _take(self, source: _Source, count: int) -> None:
        """Note ``count`` new bytes in the buffer, and parse when it is full."""
        if source.pending == 0:
            source.start = self._used
        source.pending += count
        source.offset += count
        self._used += count
        if self._used >= len(self._buffer) - 1:
            self._make_room(source, 1)

    def _make_room(self, source: _Source, needed: int) -> None:
        """Parse all whole lines and move the rest of the file's last line to the buffer's start."""
        end = self._buffer.rfind(b"\n", source.start, source.start + source.pending) + 1 if source.pending else 0
        self._close_segment(source, end)
        rest = bytes(self._buffer[source.start : source.start + source.pending])
        self.flush()
        if len(rest) > MAX_LINE_BYTES or source.too_long:
            rest = self._skip(source, rest)
        if len(rest) + needed > len(self._buffer) // 2:
            self._buffer = bytearray(2 * max(len(self._buffer), len(rest) + needed))
        elif len(self._buffer) > self.buffer_bytes and len(rest) + needed < self.buffer_bytes // 2:
            self._buffer = bytearray(self.buffer_bytes)
        self._buffer[: len(rest)] = rest
        source.start, source.pending, self._used = 0, len(rest), len(rest)

    def _close_segment(self, source: _Source, end: int, unterminated: bool = False) -> None:
        """Hand over the file's lines up to ``end`` in the buffer; what a line too long left behind is dropped first."""
        if source.too_long and end:
            first = self._buffer.find(b"\n", source.start, end) + 1
            source.pending -= first - source.start
            source.start, source.too_long = first, False
            source.numbering.next += 1
        if end <= source.start:
            return
        segment = Segment(source.file, source.start, end, source.start_offset, source.numbering, unterminated)
        self._segments.append(segment)
        source.pending -= end - source.start
        source.start = end

    def _skip(self, source: _Source, rest: bytes) -> bytes:
        """Drop the beginning of a line that is longer than any answer can be."""
        if not source.too_long:
            source.too_long = True
            reason = f"the line is longer than {MAX_LINE_BYTES // (1 << 20)} MB"
            offset = source.offset - len(rest)
            self._malformed(source, offset, ("line too long", reason), rest[:1000])
        return b""

    def _finish(self, source: _Source) -> None:
        if source.too_long:
            self._close_segment(source, self._buffer.rfind(b"\n", source.start, source.start + source.pending) + 1)
            if source.too_long:  # it is the last line
                self._used -= source.pending
                return
        if not source.pending:
            return
        end = source.start + source.pending
        unterminated = self._buffer[end - 1] != NEWLINE
        if unterminated:
            self._buffer[end] = NEWLINE
            source.pending += 1
            source.offset += 1
            self._used += 1
            end += 1
        self._close_segment(source, end, unterminated)
        if self._used >= len(self._buffer) * 3 // 4:
            self.flush()

    def _malformed(self, source: _Source, offset: int, why: tuple[str, str], text: bytes) -> None:
        self.columns.lines += 1
        self.columns.malformed.append(Malformed(source.file, source.numbering.next, offset, *why, quote(text), None))


@dataclass
class _Source:
    """How far the reading of one file has come."""

    file: int
    offset: int = 0
    """Bytes read of it."""
    start: int = 0
    """Where its bytes that are in no segment yet start in the buffer."""
    pending: int = 0
    """How many they are."""
    numbering: Numbering = field(default_factory=Numbering)
    too_long: bool = False

    @property
    def start_offset(self) -> int:
        return self.offset - self.pending
