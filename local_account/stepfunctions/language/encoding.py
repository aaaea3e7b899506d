"""JSON of state machines: its text, its size, copies of it, and times in it.

Runs in the server process.
"""

from __future__ import annotations

import datetime
import json
import re
from typing import TypeVar

STATE_LIMIT_BYTES = 262_144  # of UTF-8: step-functions/latest/dg/service-quotas.html
_Value = TypeVar("_Value")


def _other(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_other)


def dumps(value: object) -> str:
    """The text of a value, as short as JSON allows."""
    return _ENCODER.encode(value)


def is_within(text: str) -> bool:
    """Whether a state may hand on what this is the text of."""
    return len(text) * 4 <= STATE_LIMIT_BYTES or len(text.encode()) <= STATE_LIMIT_BYTES


def copy_json(value: _Value) -> _Value:
    """A copy of JSON; anything else is handed on as it is."""
    return _copied(value)  # type: ignore[return-value]  # a copy has the type of what was copied


def _copied(value: object) -> object:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value


def time_text(time: datetime.datetime) -> str:
    """A time as the context object has it: ``2026-11-21T08:00:00.123Z``."""
    return time.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def now() -> datetime.datetime:
    """The time of this account, with its zone."""
    return datetime.datetime.now(tz=datetime.UTC)


def now_text() -> str:
    """The time now, as the context object has it."""
    return time_text(now())


def json_fault(text: str, error: ValueError) -> str:
    """Why a text is no JSON, in the words of the service's parser where they were recorded."""
    if not text.strip():
        return "Invalid execution input."
    word = re.match(r"\s*([A-Za-z_]\w*)", text)
    if word and word[1] not in {"true", "false", "null"}:
        return (
            f"Unrecognized token '{word[1]}': was expecting (JSON String, Number, Array, Object or token 'null', "
            "'true' or 'false')"
        )
    key = re.match(r"\s*\{\s*([^\s\"}])", text)
    if key:
        return f"Unexpected character ('{key[1]}' (code {ord(key[1])})): was expecting double-quote to start field name"
    return str(error)
