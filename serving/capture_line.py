"""One request and its answer as a line of SageMaker's data capture.

Runs in the hosting container, in whose requests each microsecond counts: the line is put together from its parts, of
which only those that somebody else chose are escaped. Values in, text out.
"""

from __future__ import annotations

import contextlib
import functools
import json
import random
from binascii import b2a_base64
from dataclasses import dataclass
from datetime import UTC, datetime

_VERSION_4 = 0x4000_8000_0000_0000_0000
_RANDOM = ~0xF000_C000_0000_0000_0000


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """One request and its answer; times are seconds since 1970."""

    body: bytes | str
    content_type: str
    answer: str
    answer_type: str
    inference_id: str = ""
    attributes: str = ""
    time: float = 0.0

    def __len__(self) -> int:
        return len(self.body) + len(self.answer) + 500


def line_of(record: AnsweredRequest, max_input_bytes: int) -> str:
    """The record as a line of data capture, without its end; an input that is larger is left out."""
    asked = f'"endpointInput":{_input(record)},' if len(record.body) <= max_input_bytes else ""
    attributes = f'"customAttributes":[{_quoted(record.attributes)}],' if record.attributes else ""
    named = f'"inferenceId":{json.dumps(record.inference_id)},' if record.inference_id else ""
    return (
        f'{{"captureData":{{{asked}"endpointOutput":{{"observedContentType":{_quoted(record.answer_type)},'
        f'"mode":"OUTPUT","data":{json.dumps(record.answer)},"encoding":"JSON"}}}},'
        f'"eventMetadata":{{"eventId":"{_event_id()}",{attributes}{named}"inferenceTime":"{_moment(record.time)}"}},'
        '"eventVersion":"0"}'
    )


def _input(record: AnsweredRequest) -> str:
    kind = _quoted(record.content_type)
    if record.content_type.partition(";")[0].strip().lower() == "application/json":
        with contextlib.suppress(UnicodeDecodeError):  # not the text that its content type promises
            text = record.body if isinstance(record.body, str) else record.body.decode()
            return f'{{"observedContentType":{kind},"mode":"INPUT","data":{json.dumps(text)},"encoding":"JSON"}}'
    body = record.body.encode() if isinstance(record.body, str) else record.body
    text = b2a_base64(body, newline=False).decode("ascii")
    return f'{{"observedContentType":{kind},"mode":"INPUT","data":"{text}","encoding":"BASE64"}}'


@functools.lru_cache(maxsize=64)
def _quoted(text: str) -> str:
    """One of the few texts that stand in every line, as JSON."""
    return json.dumps(text)


def _event_id() -> str:
    """A random UUID (RFC 9562, version 4)."""
    digits = f"{random.getrandbits(128) & _RANDOM | _VERSION_4:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _moment(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{_second(moment.replace(microsecond=0))}.{moment.microsecond // 1000:03d}Z"


@functools.lru_cache(maxsize=8)
def _second(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}"
