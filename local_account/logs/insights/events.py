"""What a query sees of a log event: its own fields, those of its JSON, and those of a function's report.

Runs in the server process. Authority: CloudWatch Logs User Guide, Supported logs and discovered fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

Value = str | float | bool | None
Fields = dict[str, Value]

_REPORT = re.compile(
    r"REPORT RequestId: (?P<requestId>\S+)\s+Duration: (?P<duration>[\d.]+) ms\s+Billed Duration: "
    r"(?P<billedDuration>[\d.]+) ms\s+Memory Size: (?P<memorySize>\d+) MB\s+Max Memory Used: (?P<maxMemoryUsed>\d+) MB"
    r"(?:\s+Init Duration: (?P<initDuration>[\d.]+) ms)?"
)
_LINE = re.compile(r"(START|END) RequestId: (\S+)")
_MEGABYTE = 1_000_000  # Insights tells memory in bytes
_MOST_FIELDS = 200  # that are discovered in an event


def fields_of(message: str, timestamp: int, ingested: int, group: str, stream: str) -> Fields:
    """The fields of one event; times in milliseconds since 1970. ``group`` with the account, ``123456789012:name``."""
    own: Fields = {
        "@timestamp": moment(timestamp),
        "@message": message,
        "@ingestionTime": moment(ingested),
        "@log": group,
        "@logStream": stream,
    }
    return {**_discovered(message), **_of_a_function(message), **own}


def moment(milliseconds: float) -> str:
    """A time as Insights tells it."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def milliseconds_of(text: str) -> float | None:
    """The time that `moment` tells."""
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC).timestamp() * 1000
    except ValueError:
        return None


def _of_a_function(message: str) -> Fields:
    if line := _LINE.match(message):
        return {"@type": line[1], "@requestId": line[2]}
    report = _REPORT.match(message)
    if report is None:
        return {}
    found: Fields = {"@type": "REPORT", "@requestId": report["requestId"]}
    for name in ("duration", "billedDuration", "initDuration"):
        if report[name] is not None:
            found[f"@{name}"] = float(report[name])
    return found | {f"@{name}": float(report[name]) * _MEGABYTE for name in ("memorySize", "maxMemoryUsed")}


def _discovered(message: str) -> Fields:
    """The leaves of a JSON document, which may stand behind other words."""
    begin = message.find("{")
    if begin < 0:
        return {}
    try:
        document, _ = json.JSONDecoder().raw_decode(message, begin)
    except (ValueError, RecursionError):
        return {}
    found: Fields = {}
    waiting: list[tuple[str, object]] = [("", document)]
    while waiting and len(found) < _MOST_FIELDS:
        path, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [(f"{path}.{name}" if path else str(name), each) for name, each in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{path}.{index}", each) for index, each in enumerate(value)]
        elif isinstance(value, str | bool | int | float) or value is None:
            found[path] = value
    return found
