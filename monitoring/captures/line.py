"""One line of SageMaker data capture: what it says, or in which way it is malformed.

Runs in the monitoring container and in tests. Values in, values out; it touches no files. This is what a line *means*;
`monitoring.captures.tail` reads the usual ones faster and leaves every doubtful line to this module.

The output may be a JSON string, CSV (with or without a charset), or either of them as BASE64: SageMaker writes BASE64
for every content type that the endpoint's ``CaptureContentTypeHeader`` does not list. JSON is the array of
probabilities, or the verbose answer: an object with ``probabilities``, ``labels`` and ``model_version``.
"""

from __future__ import annotations

import base64
import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import Message
from typing import TypeVar

from monitoring.captures.times import parse_time

# Two decimals per class are enough precision for a sum this far from 1; more means these are not probabilities.
SUM_TOLERANCE = 0.02
# Years that a record may name; a clock that is further off than this tells nothing about when.
FIRST_YEAR, LAST_YEAR = 1970, 2200
Row = TypeVar("Row")

# What the serving container says of its model in each answer's custom attributes.
PACKAGE_ATTRIBUTE = "model_package_arn="


class MalformedLineError(Exception):
    """A captured line that cannot be used: its kind, which the report counts, and as message the reason in full."""

    def __init__(self, kind: str, reason: str, time: datetime | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.time = time
        self.inference_id: str | None = None
        """Of a line whose answer alone cannot be used, as ``package``, the version that gave it."""
        self.package: str | None = None


@dataclass(frozen=True, slots=True)
class Classes:
    """The model's classes, in the order of its probabilities. Where only their number is known, ``labels`` is empty."""

    count: int
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, labels: Sequence[str]) -> Classes:
        """Those of a model whose labels are known."""
        return cls(len(labels), tuple(labels))


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the endpoint answered: one probability per class, in the order of the model's labels."""

    event_id: str
    inference_id: str | None
    probabilities: tuple[float, ...]
    model_version: str | None = None


def parse_line(line: bytes, classes: Classes) -> tuple[datetime, Prediction]:
    """When the endpoint answered, and what. Raises MalformedLineError, with the time where that can be read."""
    document = parse_document(line)
    time = inference_time(document)
    try:
        return time, parse_prediction(document, classes)
    except MalformedLineError as error:
        metadata = _object(document, "eventMetadata")
        identity = metadata.get("inferenceId")
        error.time, error.package = time, package_version(metadata.get("customAttributes"))
        # Text that is not Unicode cannot be written down again.
        error.inference_id = identity if isinstance(identity, str) and identity.isascii() else None
        raise


def parse_document(line: bytes) -> dict[str, object]:
    """The JSON object on the line. Raises MalformedLineError."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MalformedLineError("not JSON", f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise MalformedLineError("not JSON", f"expected a JSON object, got {_kind(document)}")
    return document


def inference_time(document: dict[str, object]) -> datetime:
    """When the endpoint answered. Raises MalformedLineError."""
    text = _text(_object(document, "eventMetadata"), "inferenceTime", "eventMetadata.")
    try:
        time = parse_time(text)
    except ValueError as error:
        raise MalformedLineError("bad time", f"eventMetadata.inferenceTime: {error}") from error
    if not FIRST_YEAR <= time.year < LAST_YEAR:
        raise MalformedLineError(
            "bad time", f"eventMetadata.inferenceTime: expected a year from 1970 to 2199, got {text!r}"
        )
    return time


def parse_prediction(document: dict[str, object], classes: Classes) -> Prediction:
    """The answer of the endpoint. Raises MalformedLineError."""
    metadata = _object(document, "eventMetadata")
    event_id = _text(metadata, "eventId", "eventMetadata.")
    inference_id = metadata.get("inferenceId")
    if inference_id is not None:
        inference_id = _text(metadata, "inferenceId", "eventMetadata.")
    answer = _answer(_object(_object(document, "captureData"), "endpointOutput"))
    version = package_version(metadata.get("customAttributes"))
    if isinstance(answer, _Verbose):
        named = answer.model_version
        version = named if isinstance(named, str) and named.isascii() and named else version
        answer = _in_order(answer, classes)
    return Prediction(event_id, inference_id, _probabilities(answer, classes.count), version)


def package_version(attributes: object) -> str | None:
    """The model package that the answer's custom attributes name, if they do."""
    for attribute in attributes if isinstance(attributes, list) else ():
        if isinstance(attribute, str) and attribute.isascii() and PACKAGE_ATTRIBUTE in attribute:
            return attribute.partition(PACKAGE_ATTRIBUTE)[2].split(";")[0].strip() or None
    return None


def input_bytes(document: dict[str, object]) -> bytes | None:
    """The captured request as bytes (of an image, for an image endpoint), or None where there is none to be had."""
    capture = document.get("captureData")
    record = capture.get("endpointInput") if isinstance(capture, dict) else None
    if not isinstance(record, dict) or not isinstance(record.get("data"), str):
        return None
    try:
        payload = _payload(record)
    except MalformedLineError:
        return None
    if media_type(record.get("observedContentType"))[0] != "application/json":
        return payload
    return _base64_in_json(payload)


def media_type(header: object) -> tuple[str, str]:
    """The media type in lower case and the charset (utf-8 unless said) of ``observedContentType``."""
    message = Message()
    text = " ".join(str(header or "application/octet-stream").split())
    message["Content-Type"] = text.encode("ascii", "backslashreplace").decode()
    return message.get_content_type(), str(message.get_param("charset", "utf-8"))


@dataclass(frozen=True, slots=True)
class _Verbose:
    """An answer that says more than probabilities; nothing but the first is known to be what it should."""

    probabilities: list[object]
    labels: object
    model_version: object


def _answer(output: dict[str, object]) -> list[object] | _Verbose:
    kind, charset = media_type(output.get("observedContentType"))
    try:
        text = _payload(output).decode(charset)
    except (LookupError, ValueError) as error:
        raise _unreadable(f"endpointOutput.data cannot be decoded as {charset}: {error}") from error
    if kind == "text/csv" or output.get("encoding") == "CSV":
        try:
            return list[object](_single_row([row for row in csv.reader(text.splitlines()) if row]))
        except csv.Error as error:
            raise _unreadable(f"endpointOutput.data is not CSV: {error}") from error
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(f"endpointOutput.data is not JSON: {error}") from error
    if isinstance(answer, list) and answer and all(isinstance(row, list | dict) for row in answer):
        answer = _single_row(answer)
    if isinstance(answer, dict) and isinstance(answer.get("probabilities"), list):
        return _Verbose(answer["probabilities"], answer.get("labels"), answer.get("model_version"))
    if not isinstance(answer, list):
        raise _unreadable(f"endpointOutput.data: expected an array of probabilities, got {_kind(answer)}")
    return answer


def _single_row(rows: list[Row]) -> Row:
    if len(rows) != 1:
        raise MalformedLineError(
            "several answers", f"endpointOutput.data: expected the answer for one image, got {len(rows)}"
        )
    return rows[0]


def _in_order(answer: _Verbose, classes: Classes) -> list[object]:
    """The probabilities of a verbose answer in the order of the model's classes."""
    values, labels = answer.probabilities, answer.labels
    if labels is None or not classes.labels or labels == list(classes.labels):
        return values
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise _unreadable("endpointOutput.data: expected labels as an array of text")
    if unknown := [label for label in labels if label not in classes.labels]:
        raise MalformedLineError(
            "unknown class", f"the model answers with the class {unknown[0]!r}, expected {', '.join(classes.labels)}"
        )
    if len(labels) != len(values) or len(set(labels)) != len(labels) or len(labels) != classes.count:
        raise MalformedLineError(
            "class count", f"expected {classes.count} probabilities, got {len(values)} with {len(set(labels))} labels"
        )
    by_label = dict(zip(labels, values, strict=True))
    return [by_label[label] for label in classes.labels]


def _probabilities(answer: list[object], class_count: int) -> tuple[float, ...]:
    if len(answer) != class_count:
        raise MalformedLineError("class count", f"expected {class_count} probabilities, got {len(answer)}")
    try:
        values = tuple(map(_number, answer))
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedLineError("not a number", f"a probability is not a number: {error}") from error
    outside = [value for value in values if not 0.0 <= value <= 1.0]
    if outside:
        kind = "NaN" if math.isnan(outside[0]) else "outside 0 to 1"
        raise MalformedLineError(kind, f"a probability must lie between 0 and 1, got {outside[0]}")
    if abs(sum(values) - 1.0) > SUM_TOLERANCE:
        raise MalformedLineError("sum is not 1", f"the probabilities must sum to 1, got {sum(values):.4g}")
    return values


def _number(value: object) -> float:
    """NaN for a truth value. Raises TypeError, ValueError or OverflowError."""
    if isinstance(value, bool):
        return math.nan
    if not isinstance(value, int | float | str):
        raise TypeError(f"expected a number, got {_kind(value)}")
    return float(value)


def _payload(record: dict[str, object]) -> bytes:
    """The bytes that went over the wire."""
    data, encoding = _text(record, "data", ""), record.get("encoding")
    if encoding == "BASE64":
        try:
            return base64.b64decode(data, validate=True)
        except ValueError as error:
            raise _unreadable(f"data is not BASE64: {error}") from error
    if encoding not in ("JSON", "CSV"):
        raise _unreadable(f"expected the encoding JSON, CSV or BASE64, got {encoding!r}")
    # SageMaker has decoded this text already; encode it as its content type says, so that one path reads both.
    try:
        return data.encode(media_type(record.get("observedContentType"))[1])
    except (LookupError, ValueError) as error:
        raise _unreadable(f"data cannot be read in the charset of its content type: {error}") from error


def _base64_in_json(payload: bytes) -> bytes | None:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    candidates = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    for candidate in candidates:
        if isinstance(candidate, str):
            try:
                return base64.b64decode(candidate, validate=True)
            except ValueError:
                continue
    return None


def _object(parent: dict[str, object], key: str) -> dict[str, object]:
    value = parent.get(key)
    if not isinstance(value, dict):
        got = "nothing" if key not in parent else _kind(value)
        raise MalformedLineError("missing field", f"expected the object {key}, got {got}")
    return value


def _text(parent: dict[str, object], key: str, where: str) -> str:
    value = parent.get(key)
    if not isinstance(value, str) or not value:
        got = "nothing" if not value else _kind(value)
        raise MalformedLineError("missing field", f"expected text in {where}{key}, got {got}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise MalformedLineError("not Unicode", f"{where}{key} is not valid Unicode: {error.reason}") from error
    return value


def _unreadable(reason: str) -> MalformedLineError:
    return MalformedLineError("unreadable output", reason)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
