"""One line of SageMaker data capture: what it says, or in which way it is malformed.

Runs in the monitoring container and in tests. Values in, values out; it touches no files.
The output may be a JSON string, CSV (with or without a charset), or either of them as BASE64: SageMaker writes BASE64
for every content type that the endpoint's ``CaptureContentTypeHeader`` does not list.
"""

from __future__ import annotations

import base64
import csv
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from typing import Any

# Two decimals per class are enough precision for a sum this far from 1; more means these are not probabilities.
SUM_TOLERANCE = 0.02


class MalformedLineError(Exception):
    """A captured line that cannot be used; the message is the reason that the report quotes."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the endpoint answered: one probability per class, in the order of the model's labels."""

    event_id: str
    inference_id: str | None
    probabilities: tuple[float, ...]


def parse_document(line: bytes) -> dict[str, Any]:
    """The JSON object on the line. Raises MalformedLineError."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MalformedLineError(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise MalformedLineError(f"expected a JSON object, got {_kind(document)}")
    return document


def parse_time(text: str) -> datetime:
    """An ISO 8601 time in UTC, with or without a fraction; one without an offset is taken as UTC. Raises ValueError."""
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"expected an ISO 8601 time such as 2026-01-31T12:00:00Z, got {text!r}") from error


def inference_time(document: dict[str, Any]) -> datetime:
    """When the endpoint answered. Raises MalformedLineError."""
    try:
        return parse_time(_text(_object(document, "eventMetadata"), "inferenceTime", "eventMetadata."))
    except ValueError as error:
        raise MalformedLineError(f"eventMetadata.inferenceTime: {error}") from error


def parse_prediction(document: dict[str, Any], class_count: int) -> Prediction:
    """The answer of the endpoint. Raises MalformedLineError."""
    metadata = _object(document, "eventMetadata")
    event_id = _text(metadata, "eventId", "eventMetadata.")
    inference_id = metadata.get("inferenceId")
    if inference_id is not None:
        inference_id = _text(metadata, "inferenceId", "eventMetadata.")
    output = _object(_object(document, "captureData"), "endpointOutput")
    return Prediction(event_id, inference_id, _probabilities(_answer(output), class_count))


def input_bytes(document: dict[str, Any]) -> bytes | None:
    """The captured request as bytes (of an image, for an image endpoint), or None where there is none to be had."""
    capture = document.get("captureData")
    record = capture.get("endpointInput") if isinstance(capture, dict) else None
    if not isinstance(record, dict) or not isinstance(record.get("data"), str):
        return None
    try:
        payload = _payload(record)
    except MalformedLineError:
        return None
    if _media_type(record)[0] != "application/json":
        return payload
    return _base64_in_json(payload)


def _answer(output: dict[str, Any]) -> list[Any]:
    media_type, charset = _media_type(output)
    try:
        text = _payload(output).decode(charset)
    except (LookupError, ValueError) as error:
        raise MalformedLineError(f"endpointOutput.data cannot be decoded as {charset}: {error}") from error
    if media_type == "text/csv" or output.get("encoding") == "CSV":
        return _single_row([row for row in csv.reader(text.splitlines()) if row])
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedLineError(f"endpointOutput.data is not JSON: {error}") from error
    if not isinstance(answer, list):
        raise MalformedLineError(f"endpointOutput.data: expected an array of probabilities, got {_kind(answer)}")
    return _single_row(answer) if answer and all(isinstance(row, list) for row in answer) else answer


def _single_row(rows: list[list[Any]]) -> list[Any]:
    if len(rows) != 1:
        raise MalformedLineError(f"endpointOutput.data: expected the answer for one image, got {len(rows)}")
    return rows[0]


def _probabilities(answer: list[Any], class_count: int) -> tuple[float, ...]:
    if len(answer) != class_count:
        raise MalformedLineError(f"expected {class_count} probabilities, got {len(answer)}")
    try:
        values = tuple(math.nan if isinstance(value, bool) else float(value) for value in answer)
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedLineError(f"a probability is not a number: {error}") from error
    outside = [value for value in values if not 0.0 <= value <= 1.0]
    if outside:
        raise MalformedLineError(f"a probability must lie between 0 and 1, got {outside[0]}")
    if abs(sum(values) - 1.0) > SUM_TOLERANCE:
        raise MalformedLineError(f"the probabilities must sum to 1, got {sum(values):.4g}")
    return values


def _payload(record: dict[str, Any]) -> bytes:
    """The bytes that went over the wire."""
    data, encoding = _text(record, "data", ""), record.get("encoding")
    if encoding == "BASE64":
        try:
            return base64.b64decode(data, validate=True)
        except ValueError as error:
            raise MalformedLineError(f"data is not BASE64: {error}") from error
    if encoding not in ("JSON", "CSV"):
        raise MalformedLineError(f"expected the encoding JSON, CSV or BASE64, got {encoding!r}")
    # SageMaker has decoded this text already; encode it as its content type says, so that one path reads both.
    try:
        return data.encode(_media_type(record)[1])
    except (LookupError, ValueError) as error:
        raise MalformedLineError(f"data cannot be read in the charset of its content type: {error}") from error


def _media_type(record: dict[str, Any]) -> tuple[str, str]:
    """The media type in lower case and the charset (utf-8 unless said) of ``observedContentType``."""
    header = Message()
    header["Content-Type"] = " ".join(str(record.get("observedContentType") or "application/octet-stream").split())
    return header.get_content_type(), str(header.get_param("charset", "utf-8"))


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


def _object(parent: dict[str, Any], key: str) -> dict[str, Any]:
    value = parent.get(key)
    if not isinstance(value, dict):
        raise MalformedLineError(f"expected the object {key}, got {'nothing' if key not in parent else _kind(value)}")
    return value


def _text(parent: dict[str, Any], key: str, where: str) -> str:
    value = parent.get(key)
    if not isinstance(value, str) or not value:
        raise MalformedLineError(f"expected text in {where}{key}, got {'nothing' if not value else _kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise MalformedLineError(f"{where}{key} is not valid Unicode: {error.reason}") from error
    return value


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
