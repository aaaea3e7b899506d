"""Records of a service's tables: how one is made of requests, changed and shown.

Runs in the server process. A record is a TypedDict of its room. Its members come from requests, which the front has
checked against the service's model; these functions are where the one becomes the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar, cast

Record = TypeVar("Record")


def record_of(_kind: type[Record], *parts: Mapping[str, object]) -> Record:
    """A record made of the members of all parts, of which a later one counts more."""
    made: dict[str, object] = {}
    for part in parts:
        made |= part
    return cast("Record", made)


def view(_kind: type[Record], members: dict[str, object]) -> Record:
    """The same dictionary, with the shape that it has."""
    return cast("Record", members)


def change(record: Mapping[str, object], members: Mapping[str, object]) -> None:
    """Give members of a record new values; None removes one."""
    changed = cast("dict[str, object]", record)
    for name, value in members.items():
        if value is None:
            changed.pop(name, None)
        else:
            changed[name] = value


def chosen(members: Mapping[str, object], names: Iterable[str]) -> dict[str, object]:
    """Of some members those with these names, as far as they are there."""
    return {name: members[name] for name in names if name in members}


def without(members: Mapping[str, object], *names: str) -> dict[str, object]:
    """All members but those with these names."""
    return {name: value for name, value in members.items() if name not in names}
