"""JSON of state machines: its text, its size, copies of it, and times in it.

Runs in the server process.
"""

from __future__ import annotations

import datetime
import json
from typing import Any

STATE_LIMIT_BYTES = 262_144  # of UTF-8: step-functions/latest/dg/service-quotas.html


def _other(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_other)


def dumps(value: Any, separators: tuple[str, str] | None = None) -> str:  # noqa: ARG001  # in place of moto's function
    """The text of a value, as short as JSON allows."""
    return _ENCODER.encode(value)


def is_within(text: str) -> bool:
    """Whether a state may hand on what this is the text of."""
    return len(text) * 4 <= STATE_LIMIT_BYTES or len(text.encode()) <= STATE_LIMIT_BYTES


def copy_json(value: Any) -> Any:
    """A copy of JSON; anything else is handed on as it is."""
    if isinstance(value, dict):
        return {key: copy_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_json(item) for item in value]
    return value


def time_text(time: datetime.datetime) -> str:
    """A time as the context object has it: ``2026-11-21T08:00:00.123Z``."""
    return time.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def now_text() -> str:
    return time_text(datetime.datetime.now(datetime.UTC))
