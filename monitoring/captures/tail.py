"""Read many captured lines at once, at about the speed at which they come from memory.

Runs in the monitoring container. Values in, values out: a buffer of lines in, columns out.

A line of 4 KB is 90 % base64 text of the image, so that text is skipped: find where the first ``"data":"`` opens a
string and where that string closes, cut what lies between, and decode the short rest into typed structs. The cut is
exact, not a guess: the text between holds no quote, no backslash, no control character and nothing but ASCII, all of
which is checked, so it is the inside of one JSON string whatever stands around it. All fields are typed and unknown
ones refused, so nothing of the rest goes unread either. Whatever looks unusual in any way (another layout, another
charset, values near the edge of what is allowed) is left to `monitoring.captures.line`, which reads the whole line.
`benchmarks/monitoring/capture_fuzz.py` compares the two on adversarial lines. Lines of one layout, which is nearly all,
do not even come here one by one: see `monitoring.captures.layout`.
"""

from __future__ import annotations

import base64
import functools
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from monitoring.captures.columns import Columns, Floats, Integers, Lines, Part, Place, Segment, Texts, read_slowly
from monitoring.captures.layout import Fields, Flags, Layout, Matched, learn
from monitoring.captures.line import SUM_TOLERANCE, Classes, media_type, package_version
from monitoring.captures.times import LAST_TIME_US, times_of_characters, times_us

# The name of the first "data" stands within so many bytes of a line's start, where the content type is not very long.
HEAD_BYTES = 512
SHORT_LINE_BYTES = 700  # not worth a cut
# Sums this much nearer to 1 than the limit, so that the order of summation cannot matter.
SURE_TOLERANCE = SUM_TOLERANCE - 0.001
_DATA = b'"data":"'
_SAME_IN_ASCII = {"utf-8", "utf8", "us-ascii", "ascii", "latin-1", "iso-8859-1"}
_PLAIN_CSV = re.compile(r"[0-9.,eE-]+\r?\n?")


class _Input(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    observedContentType: str  # noqa: N815 (SageMaker's name)
    mode: Literal["INPUT"]
    data: str
    encoding: Literal["BASE64", "JSON", "CSV"]


class _Output(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    observedContentType: str  # noqa: N815
    mode: Literal["OUTPUT"]
    data: str
    encoding: Literal["BASE64", "JSON", "CSV"]


class _Capture(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    endpointOutput: _Output  # noqa: N815
    endpointInput: _Input | None = None  # noqa: N815


class _Metadata(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    eventId: str  # noqa: N815
    inferenceTime: str  # noqa: N815
    inferenceId: str | None = None  # noqa: N815
    customAttributes: list[str] | None = None  # noqa: N815


class _Line(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    captureData: _Capture  # noqa: N815
    eventMetadata: _Metadata  # noqa: N815
    eventVersion: str = ""  # noqa: N815


class _Verbose(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    probabilities: list[float]
    labels: list[str] | None = None
    predicted_label: str | None = None
    confidence: float | None = None
    model_version: str | None = None
    precision: str | None = None


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_answer = msgspec.json.Decoder(list[float] | _Verbose).decode


@dataclass
class Parser:
    """Reads buffers of lines; remembers the layout of those before."""

    classes: Classes
    layout: Layout | None = None

    def parse(self, buffer: bytearray, segments: list[Segment], columns: Columns) -> None:
        """Add what the segments' lines say to ``columns``."""
        if not segments:
            return
        lines = Lines.of(buffer, segments)
        rest = np.arange(len(lines.ends))
        columns.lines += len(rest)
        doubtful: list[Place] = []
        # Strings of a layout hold no backslash, nor does an image's text; verbose answers do, and are read below.
        plain = buffer.find(b"\\", segments[0].start, segments[-1].end) < 0
        if plain and self.layout is None and len(rest):
            self.layout = _learn(buffer, lines, 0, self.classes)
        if plain and self.layout is not None:
            matched = self.layout.match(buffer, lines)
            times = times_of_characters(matched.times)
            sure = _sure(matched.probabilities, times)
            columns.add(_matched_part(lines, matched, self.layout.version, times, sure))
            doubtful += [lines.place(at) for at in matched.at[~sure].tolist()]
            rest = np.delete(rest, matched.at)
            if 2 * len(rest) > len(lines.ends):  # the next buffer will look like this one
                self.layout = _learn(buffer, lines, int(rest[-1]), self.classes)
        if len(rest):
            doubtful += self._decode(buffer, lines, rest, columns)
        read_slowly(buffer, doubtful, self.classes, columns)

    def _decode(self, buffer: bytearray, lines: Lines, rest: Integers, columns: Columns) -> list[Place]:
        """Decode lines one by one; answers those in doubt."""
        found: list[tuple[int, _Metadata, list[float], str | None]] = []
        doubtful = []
        for at, printable in zip(rest.tolist(), lines.printable(buffer, rest).tolist(), strict=True):
            try:
                if not printable:
                    raise _DoubtError
                line, _, _ = _cut_and_decode(buffer, int(lines.starts[at]), int(lines.ends[at]))
                answer, version = self._answer(line)
                metadata = line.eventMetadata
                if len(answer) != self.classes.count or not metadata.eventId or metadata.inferenceId == "":
                    raise _DoubtError
                found.append((at, metadata, answer, version))
            except (msgspec.MsgspecError, _DoubtError, ValueError, RecursionError):
                doubtful.append(lines.place(at))
        times = times_us([metadata.inferenceTime for _, metadata, _, _ in found])
        values = np.array([answer for _, _, answer, _ in found], np.float64).reshape(-1, self.classes.count)
        sure = _sure(values, times)
        doubtful += [lines.place(found[number][0]) for number in np.flatnonzero(~sure).tolist()]
        found = list(itertools.compress(found, sure.tolist()))
        at = np.array([each[0] for each in found], np.int64)
        columns.add(
            Part(
                [metadata.eventId for _, metadata, _, _ in found],
                [metadata.inferenceId for _, metadata, _, _ in found],
                [version for _, _, _, version in found],
                lines.files(at),
                lines.offsets(at),
                times[sure],
                values[sure],
            )
        )
        return doubtful

    def _answer(self, line: _Line) -> tuple[list[float], str | None]:
        """The probabilities, and the model version where the line names it."""
        output, attributes = line.captureData.endpointOutput, line.eventMetadata.customAttributes
        read = _answer_reader(output.encoding, output.observedContentType)
        answer = _decode_answer(output.data if read is None else read(output.data))
        version = package_version(attributes) if attributes else None
        if isinstance(answer, _Verbose):
            if not output.data.isascii():
                raise _DoubtError
            version = _version(answer, self.classes) or version
            return answer.probabilities, version
        return answer, version


def _cut_and_decode(buffer: bytearray, start: int, end: int) -> tuple[_Line, int, int]:
    """The line without the image, and where that text starts and ends (0 and 0 where nothing was cut)."""
    if end - start <= SHORT_LINE_BYTES:
        return _decode_line(buffer[start:end]), 0, 0
    opened = buffer.find(_DATA, start, start + HEAD_BYTES) + len(_DATA)
    closed = buffer.find(b'"', opened, end)
    if opened < len(_DATA) or closed < 0 or buffer.find(b"\\", opened, closed) >= 0:
        raise _DoubtError
    line = _decode_line(buffer[start:opened] + buffer[closed:end])
    if not line.captureData.endpointOutput.data:  # it was the answer that was cut
        return _decode_line(buffer[start:end]), 0, 0
    return line, opened, closed


def _learn(buffer: bytearray, lines: Lines, at: int, classes: Classes) -> Layout | None:
    """The layout of one of the lines, if that is the usual one."""
    start, end = int(lines.starts[at]), int(lines.ends[at])
    try:
        line, opened, closed = _cut_and_decode(buffer, start, end)
        output, metadata = line.captureData.endpointOutput, line.eventMetadata
        if not opened or not lines.printable(buffer, np.array([at])).all() or not metadata.eventId:
            return None
        if metadata.inferenceId == "" or _answer_reader(output.encoding, output.observedContentType) is not None:
            return None
        version = package_version(metadata.customAttributes)
        fields = Fields(output.data, metadata.eventId, metadata.inferenceId, metadata.inferenceTime, version)
        return learn(bytes(buffer[start:end]), opened - start, closed - start, fields, classes.count)
    except (msgspec.MsgspecError, _DoubtError, ValueError):
        return None


def _sure(values: Floats, times: Integers) -> Flags:
    """Which predictions need no second look; in this form NaN does."""
    sure: Flags = (times >= 0) & (times < LAST_TIME_US) & (abs(values.sum(axis=1) - 1.0) <= SURE_TOLERANCE)
    if not (values.min(initial=0) >= 0 and values.max(initial=1) <= 1):
        sure &= ((values >= 0) & (values <= 1)).all(axis=1)
    return sure


def _matched_part(lines: Lines, matched: Matched, version: str | None, times: Integers, sure: Flags) -> Part:
    inference_ids: Texts = [None] * len(matched.at) if matched.inference_ids is None else matched.inference_ids
    part = Part(
        matched.event_ids,
        inference_ids,
        version,
        lines.files(matched.at),
        lines.offsets(matched.at),
        times,
        matched.probabilities,
    )
    return part if sure.all() else part.taken(np.flatnonzero(sure))


class _DoubtError(Exception):
    """Not the usual line."""


@functools.lru_cache(maxsize=64)
def _answer_reader(encoding: str, content_type: str) -> Callable[[str], str] | None:
    """Turns a captured answer of this encoding and content type into JSON text; None where it is that already."""
    kind, charset = media_type(content_type)
    if charset.lower() not in _SAME_IN_ASCII:
        return _doubt
    csv_text = kind == "text/csv" or encoding == "CSV"
    if encoding == "BASE64":
        return _base64_csv if csv_text else _base64_json
    return _csv if csv_text else None


def _doubt(_: str) -> str:
    raise _DoubtError


def _base64_json(data: str) -> str:
    return base64.b64decode(data, validate=True).decode("ascii")


def _base64_csv(data: str) -> str:
    return _csv(_base64_json(data))


def _csv(data: str) -> str:
    if not _PLAIN_CSV.fullmatch(data):
        raise _DoubtError
    return f"[{data}]"


def _version(answer: _Verbose, classes: Classes) -> str | None:
    """The model version that a verbose answer names; doubt unless its labels are the expected ones, in their order."""
    if answer.labels is not None and classes.labels and answer.labels != list(classes.labels):
        raise _DoubtError
    if answer.model_version and not answer.model_version.isascii():
        raise _DoubtError
    return answer.model_version
