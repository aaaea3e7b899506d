"""Read many captured lines at once, at about the speed at which they come from memory.

Runs in the monitoring container. Values in, values out: a buffer of lines in, columns out.

A line of 4 KB is 90 % base64 text of the image, so that text is skipped: find where the first ``"data":"`` opens a
string and where that string closes, cut what lies between, and decode the short rest into typed structs. The cut is
exact, not a guess: the text between holds no quote, no backslash, no control character and nothing but ASCII, all of
which is checked, so it is the inside of one JSON string whatever stands around it. All fields are typed and unknown
ones refused, so nothing of the rest goes unread either. Whatever looks unusual in any way (another layout, another
charset, values near the edge of what is allowed) is left to `monitoring.capture_line`, which reads the whole line.
`benchmarks/capture_fuzz.py` compares the two on adversarial lines.
"""

from __future__ import annotations

import base64
import functools
import itertools
import re
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from monitoring.capture_columns import Columns, Place, Segment, read_slowly
from monitoring.capture_line import SUM_TOLERANCE, Classes, media_type, package_version
from monitoring.capture_time import LAST_TIME_US, times_us

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


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_answer = msgspec.json.Decoder(list[float] | _Verbose).decode


def parse(buffer: bytearray, segments: list[Segment], classes: Classes, columns: Columns) -> None:
    """Add what the segments' lines say to ``columns``."""
    batch = _Batch(classes)
    if segments:
        batch.scan(buffer, segments)
    batch.finish(buffer, columns)


class _Batch:
    """The lines of one buffer: those read fast, and the places of those in doubt."""

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.lines = 0
        self.event_ids: list[str] = []
        self.inference_ids: list[str | None] = []
        self.versions: list[str | None] = []
        self.times: list[str] = []
        self.values: list[list[float]] = []
        self.places: list[Place] = []
        """Segment, start and end in the buffer, and number of the line; one for each of ``values``."""
        self.doubtful: list[Place] = []

    def scan(self, buffer: bytearray, segments: list[Segment]) -> None:
        first, last = segments[0].start, segments[-1].end
        plain = buffer.find(b"\\", first, last) < 0
        find, count, newlines = buffer.find, self.classes.count, []
        for segment in segments:
            position, end, number = segment.start, segment.end, segment.numbering.next
            while position < end:
                newline = find(b"\n", position, end)
                newlines.append(newline)
                place = (segment, position, newline, number)
                try:
                    if newline - position > SHORT_LINE_BYTES:
                        opened = find(_DATA, position, position + HEAD_BYTES) + len(_DATA)
                        closed = find(b'"', opened, newline)
                        if opened < len(_DATA) or closed < 0 or not (plain or find(b"\\", opened, closed) < 0):
                            raise _DoubtError
                        line = _decode_line(buffer[position:opened] + buffer[closed:newline])
                        if not line.captureData.endpointOutput.data:  # it was the answer that was cut
                            line = _decode_line(buffer[position:newline])
                    else:
                        line = _decode_line(buffer[position:newline])
                    answer, version = self._answer(line)
                    metadata = line.eventMetadata
                    if len(answer) != count or not metadata.eventId or metadata.inferenceId == "":
                        raise _DoubtError
                except (msgspec.MsgspecError, _DoubtError, ValueError, RecursionError):
                    self.doubtful.append(place)
                else:
                    self.event_ids.append(metadata.eventId)
                    self.inference_ids.append(metadata.inferenceId)
                    self.times.append(metadata.inferenceTime)
                    self.values.append(answer)
                    self.versions.append(version)
                    self.places.append(place)
                position = newline + 1
                number += 1
            segment.numbering.next = number
        self.lines = len(newlines)
        self._check_text(buffer, first, newlines)

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

    def _check_text(self, buffer: bytearray, first: int, newlines: list[int]) -> None:
        """Doubt every line with a control character or anything but ASCII; they may stand in the text cut out."""
        text = np.frombuffer(buffer, np.int8)
        text[newlines] = ord(" ")
        clean = not newlines or text[first : newlines[-1]].min(initial=127) >= ord(" ")
        text[newlines] = ord("\n")
        if clean:
            return
        self._keep([text[start:end].min() >= ord(" ") for _, start, end, _ in self.places])

    def _keep(self, sure: Iterable[bool]) -> None:
        """Move every other line to the doubtful ones."""
        kept = list(sure)
        self.doubtful += itertools.compress(self.places, (not each for each in kept))
        for name in ("event_ids", "inference_ids", "versions", "times", "values", "places"):
            setattr(self, name, list(itertools.compress(getattr(self, name), kept)))

    def finish(self, buffer: bytearray, columns: Columns) -> None:
        values, times = self._numbers()
        # In this form NaN is not sure.
        sure = (values >= 0).all(axis=1) & (values <= 1).all(axis=1) & (times >= 0) & (times < LAST_TIME_US)
        sure &= abs(values.sum(axis=1) - 1.0) <= SURE_TOLERANCE
        if not sure.all():
            self._keep(sure.tolist())
            values, times = values[sure], times[sure]
        columns.lines += self.lines
        columns.event_ids += self.event_ids
        columns.inference_ids += self.inference_ids
        columns.versions += self.versions
        columns.files += [segment.file for segment, _, _, _ in self.places]
        columns.offsets += [segment.offset + start - segment.start for segment, start, _, _ in self.places]
        columns.times_us.append(times)
        columns.probabilities.append(values)
        for place in self.doubtful:
            read_slowly(bytes(buffer[place[1] : place[2]]), place, self.classes, columns)

    def _numbers(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        return np.array(self.values, np.float64).reshape(-1, self.classes.count), times_us(self.times)


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
