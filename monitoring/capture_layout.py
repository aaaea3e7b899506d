"""Lines that one endpoint wrote: all of one layout, so read as columns of bytes, without an object for each line.

Runs in the monitoring container. Values in, values out.

A layout is learned from a line that was decoded in full: every byte of it but the image, the answer, the two ids and
the time. Another line has this layout when those bytes are the same at the same places and none of what differs holds
a quote, a backslash, a control character or anything but ASCII: then it is the same JSON with other text in the same
strings, and means the same. That holds for any line that passes, whoever wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from monitoring.capture_columns import Lines
from monitoring.capture_time import TIME_CHARACTERS

QUOTE = ord('"')
# JSON takes up to 25 characters for a number between 0 and 1, with its comma and space.
ANSWER_BYTES_PER_CLASS = 25

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
_decode_answers = msgspec.json.Decoder(list[list[float]]).decode


@dataclass(frozen=True, slots=True)
class Fields:
    """What a decoded line says, to find it again among the line's bytes."""

    answer: str
    event_id: str
    inference_id: str | None
    time: str


@dataclass(frozen=True, slots=True)
class Matched:
    """The lines that have the layout: their places in `Lines`, and what differs in them, as bytes [n, width]."""

    at: Integers
    event_ids: Bytes
    inference_ids: Bytes | None
    times: Bytes
    probabilities: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layout:
    """Bytes before the image, between image and answer, and after the answer; in the last, where the fields stand."""

    head: Bytes
    middle: Bytes
    end: Bytes
    fixed: npt.NDArray[np.bool_]
    """Which of ``end``'s bytes are part of the layout."""
    event_id: slice
    inference_id: slice | None
    time: slice
    class_count: int

    def match(self, buffer: bytearray, lines: Lines) -> Matched:
        """Those of the lines that have this layout, and certainly."""
        width = ANSWER_BYTES_PER_CLASS * self.class_count + 4
        tail = width + len(self.end)
        at = np.flatnonzero(lines.sure & (lines.ends - lines.starts >= len(self.head) + len(self.middle) + tail))
        text = np.frombuffer(buffer, np.uint8)
        at = at[_same(text, lines.starts[at], self.head)]
        ends = _windows(text, lines.ends[at] - len(self.end), len(self.end))
        kept = ((ends == self.end) | ~self.fixed).all(axis=1) & ~((ends == QUOTE) & ~self.fixed).any(axis=1)
        at, ends = at[kept], ends[kept]
        answers = _windows(text, lines.ends[at] - tail, width)
        quotes = answers == QUOTE
        # The answer is what follows the last quote; where there is none, the comparison below fails.
        opened = lines.ends[at] - tail + width - np.argmax(quotes[:, ::-1], axis=1)
        inside = np.arange(width) >= (opened - lines.ends[at] + tail)[:, None]
        kept = quotes.any(axis=1) & (answers[:, -1] == ord("]")) & (text[opened] == ord("["))
        kept &= (((answers == ord("[")) | (answers == ord("]"))) & inside).sum(axis=1) == 2
        kept &= _same(text, opened - len(self.middle), self.middle)
        at, ends, opened = at[kept], ends[kept], opened[kept]
        images = lines.starts[at] + len(self.head)
        closed = opened - len(self.middle)
        kept = np.array(
            [buffer.find(b'"', a, b + 1) == b for a, b in zip(images.tolist(), closed.tolist(), strict=True)], bool
        )
        at, ends, opened = at[kept], ends[kept], opened[kept]
        closing = lines.ends[at] - len(self.end)
        values = _values(buffer, opened.tolist(), closing.tolist(), self.class_count)
        if values is None:
            return self._matched(at[:0], ends[:0], np.empty((0, self.class_count)))
        return self._matched(at, ends, values)

    def _matched(self, at: Integers, ends: Bytes, values: npt.NDArray[np.float64]) -> Matched:
        inference_ids = None if self.inference_id is None else ends[:, self.inference_id]
        return Matched(at, ends[:, self.event_id], inference_ids, ends[:, self.time], values)


def learn(line: bytes, opened: int, closed: int, fields: Fields, class_count: int) -> Layout | None:
    """The layout of a line that was decoded: the image's text stands between ``opened`` and ``closed``."""
    tail = line[closed:]
    wanted = [fields.answer, fields.event_id, fields.time, *([fields.inference_id] if fields.inference_id else [])]
    # Without a backslash every string stands there as it is decoded, so what is found once is what was decoded.
    if b"\\" in tail or any(tail.count(f'"{value}"'.encode()) != 1 for value in wanted):
        return None
    if len(fields.time) != TIME_CHARACTERS:
        return None
    answer = tail.index(f'"{fields.answer}"'.encode()) + 1
    end = tail[answer + len(fields.answer) :]
    middle = tail[:answer]
    places = [_place(end, value) for value in wanted[1:]]
    found = [place for place in places if place is not None]
    if len(found) != len(places):
        return None
    fixed = np.ones(len(end), bool)
    for place in found:
        fixed[place] = False
    return Layout(
        head=np.frombuffer(line[:opened], np.uint8),
        middle=np.frombuffer(middle, np.uint8),
        end=np.frombuffer(end, np.uint8),
        fixed=fixed,
        event_id=found[0],
        time=found[1],
        inference_id=found[2] if fields.inference_id else None,
        class_count=class_count,
    )


def _place(end: bytes, value: str) -> slice | None:
    start = end.find(f'"{value}"'.encode()) + 1
    return slice(start, start + len(value)) if start else None


def _windows(text: Bytes, starts: Integers, width: int) -> Bytes:
    """uint8 [n, width]: the bytes from each start."""
    if not len(starts):
        return np.empty((0, width), np.uint8)
    view = np.lib.stride_tricks.as_strided(text, (len(text) - width + 1, width), (1, 1), writeable=False)
    return view[starts]


def _same(text: Bytes, starts: Integers, expected: Bytes) -> npt.NDArray[np.bool_]:
    # As one item of raw bytes each row is compared by memcmp.
    kind = np.dtype((np.void, len(expected)))
    same: npt.NDArray[np.bool_] = _windows(text, starts, len(expected)).view(kind)[:, 0] == expected.view(kind)[0]
    return same


def _values(buffer: bytearray, starts: list[int], ends: list[int], class_count: int) -> npt.NDArray[np.float64] | None:
    """The answers between brackets as float64 [n, classes], or None when one of them is not that."""
    answers = b",".join([buffer[start:end] for start, end in zip(starts, ends, strict=True)])
    try:
        values = np.array(_decode_answers(b"[" + answers + b"]"), np.float64)
    except (msgspec.MsgspecError, ValueError):  # or not all of one length
        return None
    if values.shape != (len(starts), class_count):
        return np.empty((0, class_count)) if not starts else None
    return values
