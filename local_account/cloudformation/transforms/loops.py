"""AWS::LanguageExtensions: loops, and what a map answers where it lacks a key.

Runs in the server process. ``Fn::Length`` and ``Fn::ToJsonString`` are evaluated with the stack, as other functions.
Source: CloudFormation User Guide, AWS::LanguageExtensions, Fn::ForEach and Fn::FindInMap enhancements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from local_account.cloudformation.language.errors import TransformError
from local_account.cloudformation.language.functions import plain_text

_LOOP = "Fn::ForEach::"
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9]")


@dataclass(frozen=True)
class LanguageExtensions:
    """The extensions for one template. ``values`` are its parameters, lists as lists, and the pseudo parameters."""

    values: Mapping[str, object]
    mappings: Mapping[str, object]

    def extended(self, value: object) -> object:
        """A part of the template with its loops unrolled, and without default values of maps.

        Raises TransformError for a loop that is none.
        """
        if isinstance(value, list):
            return [self.extended(item) for item in value]
        if not isinstance(value, Mapping):
            return value
        if set(value) == {"Fn::FindInMap"}:
            return self._found(value["Fn::FindInMap"])
        made: dict[str, object] = {}
        for key, item in value.items():
            parts = self._unrolled(key, item) if key.startswith(_LOOP) else [(key, self.extended(item))]
            for name, part in parts:
                if name in made:
                    raise _wrong(f"Found duplicate key: {name}")
                made[name] = part
        return made

    def _unrolled(self, key: str, loop: object) -> Iterator[tuple[str, object]]:
        if not isinstance(loop, list) or len(loop) != 3 or not isinstance(loop[0], str):
            raise _wrong(f"{key} layout is incorrect")
        name, collection, body = loop
        if not isinstance(body, Mapping):
            raise _wrong(f"{key} layout is incorrect")
        for item in self._collection(key, collection):
            turn = self.extended(_put_in(body, name, plain_text(item)))
            assert isinstance(turn, dict)  # noqa: S101  # a mapping stays one
            yield from turn.items()

    def _collection(self, key: str, collection: object) -> list[object]:
        resolved = self._resolved(collection)
        if not isinstance(resolved, list):
            raise _wrong(f"{key}: the collection is not a list of values that are known before the stack is made")
        items = [
            each for item in map(self._resolved, resolved) for each in (item if isinstance(item, list) else [item])
        ]
        if any(isinstance(item, Mapping) for item in items):
            raise _wrong(f"{key}: the collection has values that are not known before the stack is made")
        return items

    def _resolved(self, value: object) -> object:
        """The value of a parameter where one is referred to; any other value as it is."""
        if isinstance(value, Mapping) and set(value) == {"Ref"}:
            return self.values.get(str(value["Ref"]), value)
        return value

    def _found(self, arguments: object) -> object:
        """What a map has, or its default; as it was, without the default, where a key is not known yet."""
        if not isinstance(arguments, list) or len(arguments) != 4 or not isinstance(arguments[3], Mapping):
            return {"Fn::FindInMap": self.extended(arguments)}
        default = self.extended(arguments[3].get("DefaultValue"))
        keys = [self._resolved(each) for each in arguments[:3]]
        if not all(isinstance(each, str) for each in keys):
            return {"Fn::FindInMap": arguments[:3]}
        found: object = self.mappings
        for key in keys:
            if not isinstance(found, Mapping) or key not in found:
                return default
            found = found[key]
        return found


def _put_in(value: object, name: str, item: str) -> object:
    """A turn of a loop: the item in place of ``${name}``, ``&{name}`` and references to it."""
    if isinstance(value, str):
        return value.replace(f"${{{name}}}", item).replace(f"&{{{name}}}", _NOT_IN_A_NAME.sub("", item))
    if isinstance(value, list):
        return [_put_in(each, name, item) for each in value]
    if not isinstance(value, Mapping):
        return value
    if set(value) == {"Ref"} and value["Ref"] == name:
        return item
    return {str(_put_in(key, name, item)): _put_in(each, name, item) for key, each in value.items()}


def _wrong(why: str) -> TransformError:
    return TransformError(f"Transform AWS::LanguageExtensions failed with: {why}")
