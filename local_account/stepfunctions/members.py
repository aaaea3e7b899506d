"""Names and values of the States Language and of botocore: what a Task hands to an API, and what it gets back.

Runs in the server process.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from local_account.stepfunctions.language.encoding import dumps, time_text

if TYPE_CHECKING:
    from botocore.model import Shape


def to_members(value: object, shape: Shape) -> object:
    """State language parameters (PascalCase) as botocore wants them: its members' names, JSON text for blobs."""
    kind = shape.type_name if shape else None
    if kind == "structure" and isinstance(value, dict):
        names = {name[:1].upper() + name[1:]: name for name in shape.members}
        found = {names.get(name, name): item for name, item in value.items()}
        return {name: to_members(item, shape.members.get(name)) for name, item in found.items()}
    if kind == "list" and isinstance(value, list):
        return [to_members(item, shape.member) for item in value]
    if kind == "map" and isinstance(value, dict):
        return {name: to_members(item, shape.value) for name, item in value.items()}
    if kind == "blob" and not isinstance(value, str | bytes):
        return dumps(value)
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
