"""Lines that one endpoint wrote: all of one layout, so read as columns of bytes, without an object for each line.

Runs in the monitoring container. Values in, values out.

A layout is learned from a line that was decoded in full: every byte of it but the image, the answer, the two ids and
the time; so custom attributes, which name the model, are part of it. Another line has this layout when those bytes are
the same at the same places and none of what differs holds a quote, a backslash, a control character or anything but
ASCII: then it is the same JSON with other text in the same strings, and means the same. That holds for any line that
passes, whoever wrote it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from monitoring.captures.columns import Lines, least_bytes
from monitoring.captures.times import TIME_CHARACTERS

QUOTE, SPACE, COMMA = ord('"'), ord(" "), ord(",")
IN_NUMBERS = np.isin(np.arange(256), np.frombuffer(b"0123456789.eE+-, ", np.uint8))
# JSON takes up to 25 characters for a number between 0 and 1, with its comma and space.
ANSWER_BYTES_PER_CLASS = 25

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
_decode_answers = msgspec.json.Decoder(list[float]).decode


@dataclass(frozen=True, slots=True)
class Fields:
    """What a decoded line says, to find it again among the line's bytes."""

    answer: str
    event_id: str
    inference_id: str | None
    time: str
    version: str | None
    """Of the model, as the custom attributes name it."""


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
    places: list[slice]
    """Where eventId, time and, if one was sent, inferenceId stand in ``end``."""
    version: str | None
    class_count: int

    def match(self, buffer: bytearray, lines: Lines) -> Matched:
        """Those of the lines that have this layout, and certainly. The buffer holds no backslash."""
        width = ANSWER_BYTES_PER_CLASS * self.class_count + 4
        least = len(self.head) + len(self.middle) + width + len(self.end)
        at = np.flatnonzero(lines.ends - lines.starts >= least)
        kept = _alike(_windows(buffer, lines.starts[at], len(self.head)), self.head)
        closing = lines.ends[at] - len(self.end)
        ends = _windows(buffer, closing, len(self.end))
        fields = [ends[:, place].copy() for place in self.places]
        for place, texts in zip(self.places, fields, strict=True):
            kept &= _at_least(texts, QUOTE + 1)
            ends[:, place] = self.end[place]
        kept &= _alike(ends, self.end)
        answers = _windows(buffer, closing - width, width)
        # The answer is what follows the last quote; where there is none, the middle is not found either.
        length = np.argmax((answers == QUOTE)[:, ::-1], axis=1)
        opened = closing - length
        kept &= _alike(_windows(buffer, opened - len(self.middle), len(self.middle)), self.middle)
        # An image's text holds neither quotes nor what is no character, both of which are below the letters.
        images = lines.starts[at] + len(self.head)
        kept &= least_bytes(buffer, images, opened - len(self.middle)) > QUOTE
        answers[np.tri(width + 1, width, -1, bool)[width - length]] = SPACE
        kept &= _at_least(answers, SPACE)
        sure, values = _values(answers, length, kept, self.class_count)
        if not sure.all():
            at, fields = at[sure], [texts[sure] for texts in fields]
        event_ids, times, *inference_ids = fields
        return Matched(at, event_ids, inference_ids[0] if inference_ids else None, times, values)


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
    return Layout(
        head=np.frombuffer(line[:opened], np.uint8),
        middle=np.frombuffer(middle, np.uint8),
        end=np.frombuffer(end, np.uint8),
        places=found,
        version=fields.version,
        class_count=class_count,
    )


def _place(end: bytes, value: str) -> slice | None:
    start = end.find(f'"{value}"'.encode()) + 1
    return slice(start, start + len(value)) if start else None


def _windows(buffer: bytearray, starts: Integers, width: int) -> Bytes:
    """uint8 [n, width]: the bytes from each start."""
    # As one item of raw bytes each row is copied at once.
    items = np.ndarray((max(0, len(buffer) - width + 1),), np.dtype((np.void, width)), buffer, strides=(1,))
    return items[starts].view(np.uint8).reshape(-1, width)


def _alike(rows: Bytes, expected: Bytes) -> Flags:
    """Which rows are as expected."""
    # Mostly all, which one comparison of everything tells many times faster; a bytearray's compares without a copy.
    if _repeated(expected.tobytes(), len(rows)) == rows.data:
        return np.ones(len(rows), bool)
    return np.array((rows == expected).all(axis=1), bool)


@functools.lru_cache(maxsize=4)
def _repeated(row: bytes, times: int) -> bytearray:
    """The rows of as many lines; buffers of files of one size have as many lines again and again."""
    return bytearray(row * times)


def _at_least(rows: Bytes, least: int) -> Flags:
    """Which rows hold ASCII from ``least`` on and nothing else."""
    text = rows.view(np.int8)
    if text.min(initial=127) >= least:
        return np.ones(len(rows), bool)
    return np.array((text >= least).all(axis=1), bool)


def _values(answers: Bytes, length: Integers, kept: Flags, class_count: int) -> tuple[Flags, npt.NDArray[np.float64]]:
    """Which answers are arrays of as many numbers as there are classes, and those as float64 [n, classes].

    ``answers``: uint8 [n, width], each at the end of its row after spaces; their brackets are taken away. Those that
    are not ``kept`` are not looked at.
    """
    rows, width = len(answers), answers.shape[1]
    first = np.arange(rows), np.minimum(width - length, width - 1)
    kept = kept & (length >= 2) & (answers[first] == ord("[")) & (answers[:, -1] == ord("]"))
    kept &= np.bincount(np.flatnonzero(answers == COMMA) // width, minlength=rows) == class_count - 1
    # Rows of as many commas, each closed by one more, are one array: a value too many or too few is none anywhere.
    answers[first], answers[:, -1] = SPACE, COMMA
    for _ in range(2):
        try:
            numbers = answers if kept.all() else answers[kept]
            values = _decode_answers(b"[" + numbers.tobytes()[:-1] + b"]")
            return kept, np.fromiter(values, np.float64, len(values)).reshape(-1, class_count)
        except msgspec.MsgspecError:
            kept &= IN_NUMBERS[answers].all(axis=1)
    return np.zeros(rows, bool), np.empty((0, class_count))
