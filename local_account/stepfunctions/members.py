"""Names and values of the States Language and of botocore: what a Task hands to an API, and what it gets back.

Runs in the server process.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from local_account.stepfunctions.language.encoding import dumps, time_text

if TYPE_CHECKING:
    from botocore.model import Shape


NUMBERS = {"integer": int, "long": int, "float": float, "double": float}


def to_members(value: object, shape: Shape) -> object:
    """State language parameters (PascalCase) as botocore wants them: its members' names, JSON text for blobs.

    What is null is absent, and what is no string goes as JSON where a string is wanted: recorded answers of AWS.
    """
    kind = shape.type_name if shape else None
    if kind == "structure" and isinstance(value, dict):
        names = {name[:1].upper() + name[1:]: name for name in shape.members}
        found = {names.get(name, name): item for name, item in value.items() if item is not None}
        return {name: to_members(item, shape.members.get(name)) for name, item in found.items()}
    if kind == "list" and isinstance(value, list):
        return [to_members(item, shape.member) for item in value]
    if kind == "map" and isinstance(value, dict):
        return {name: to_members(item, shape.value) for name, item in value.items() if item is not None}
    return _scalar(value, str(kind))


def _scalar(value: object, kind: str) -> object:
    if kind == "blob":
        return value if isinstance(value, bytes) else dumps(value)
    if kind == "string" and not isinstance(value, str):
        return dumps(value)
    if kind == "boolean" and isinstance(value, str) and value in {"true", "false"}:
        return value == "true"
    if kind in NUMBERS and isinstance(value, str):
        try:
            return NUMBERS[kind](value)
        except ValueError:
            return value  # the service's to refuse
    return value


def from_members(value: object, shape: Shape) -> object:
    """botocore's answer as a state's output: PascalCase members, text instead of streams, ISO times."""
    kind = shape.type_name if shape else None
    if kind == "structure" and isinstance(value, dict):
        return {
            name[:1].upper() + name[1:]: from_members(item, shape.members.get(name)) for name, item in value.items()
        }
    if kind == "list" and isinstance(value, list):
        return [from_members(item, shape.member) for item in value]
    if kind == "map" and isinstance(value, dict):
        return {name: from_members(item, shape.value) for name, item in value.items()}
    if isinstance(value, datetime.datetime):
        return time_text(value)
    content = value.read() if hasattr(value, "read") else value
    return content.decode("utf-8", "replace") if isinstance(content, bytes) else content
