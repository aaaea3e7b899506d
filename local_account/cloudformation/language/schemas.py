"""What AWS's own schemas say of a type of resource: its properties, attributes, and what of it cannot change.

Runs in the server process. ``type_schemas.json`` is what `registry` wrote of the schemas that CloudFormation's registry
publishes: whole for the types that stacks may hold here, the names of all others.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TypedDict, cast

ALWAYS, CONDITIONALLY, NEVER = "Always", "Conditionally", "Never"
SCHEMAS_FILE = "type_schemas.json"
Schema = Mapping[str, object]


class KeptSchemas(TypedDict):
    """The file: schemas by type, each with the attributes that ``Fn::GetAtt`` may ask for, and names by service."""

    types: dict[str, Schema]
    attributes: dict[str, list[str]]
    names: dict[str, list[str]]


@dataclass(frozen=True)
class TypeSchema:
    """One type of resource, as AWS's registry has it."""

    name: str
    schema: Schema
    attributes: frozenset[str]
    """What ``Fn::GetAtt`` may ask for, with dots for what lies deeper."""

    @functools.cached_property
    def properties(self) -> frozenset[str]:
        """The names of all properties, also those that only AWS sets."""
        return frozenset(cast("Mapping[str, object]", self.schema.get("properties", {})))

    def has_attribute(self, name: str) -> bool:
        """Whether ``Fn::GetAtt`` may ask for the attribute."""
        return name in self.attributes or name.partition(".")[0] in self.properties

    def recreation(self, name: str) -> str:
        """Whether a change of a property takes a new resource: Always, Conditionally or Never."""
        if f"/properties/{name}" in self._paths("createOnlyProperties"):
            return ALWAYS
        deeper = [*self._paths("createOnlyProperties"), *self._paths("conditionalCreateOnlyProperties")]
        return CONDITIONALLY if any(_begins(path, f"/properties/{name}") for path in deeper) else NEVER

    def _paths(self, member: str) -> list[str]:
        return list(cast("Iterable[str]", self.schema.get(member) or []))


def _begins(path: str, start: str) -> bool:
    return path == start or path.startswith(f"{start}/")


@functools.cache
def _kept() -> KeptSchemas:
    kept: KeptSchemas = json.loads((files(__package__) / SCHEMAS_FILE).read_text(encoding="utf-8"))
    return kept


@functools.cache
def schema_of(type_name: str) -> TypeSchema | None:
    """The schema of a type (``AWS::SQS::Queue``) that stacks may hold here, or None."""
    kept = _kept()
    if type_name not in kept["types"]:
        return None
    return TypeSchema(type_name, kept["types"][type_name], frozenset(kept["attributes"][type_name]))


def is_of_aws(type_name: str) -> bool:
    """Whether AWS's registry has a type of this name."""
    service, _, name = type_name.removeprefix("AWS::").partition("::")
    return type_name.startswith("AWS::") and name in _kept()["names"].get(service, [])
