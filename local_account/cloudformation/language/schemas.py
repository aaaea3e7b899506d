"""What AWS's own schemas say of a type of resource: its properties, attributes, and what of it cannot change.

Runs in the server process. cfn-lint carries the schemas that CloudFormation's registry publishes; it is loaded when the
first stack is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

ALWAYS, CONDITIONALLY, NEVER = "Always", "Conditionally", "Never"
Schema = Mapping[str, object]
_REGION = "us-east-1"  # where every type is


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
def schema_of(type_name: str) -> TypeSchema | None:
    """The schema of a type (``AWS::SQS::Queue``), or None for one that AWS's registry does not have."""
    from cfnlint.schema import PROVIDER_SCHEMA_MANAGER, ResourceNotFoundError  # heavy, and only needed for stacks

    try:
        found = PROVIDER_SCHEMA_MANAGER.get_resource_schema(_REGION, type_name)
    except ResourceNotFoundError:
        return None
    return TypeSchema(type_name, found.schema, frozenset(found.get_atts))
