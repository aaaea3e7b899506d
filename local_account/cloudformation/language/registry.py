"""Writes ``type_schemas.json``: ``python -m local_account.cloudformation.language.registry``.

Runs on a developer's laptop. cfn-lint carries the schemas that CloudFormation's registry publishes, with corrections of
its own; what stacks need of them is kept, so that the stand-in account runs without it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from local_account.cloudformation.language.schemas import SCHEMAS_FILE, KeptSchemas, Schema
from local_account.cloudformation.resources.kinds import CUSTOM, KINDS

_REGION = "us-east-1"  # where every type is
_KEPT = {
    "$ref", "additionalProperties", "conditionalCreateOnlyProperties", "createOnlyProperties", "definitions", "enum",
    "items", "maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum", "pattern", "patternProperties",
    "properties", "required", "type",
}  # fmt: skip
_NAMES_OF_MEMBERS = {"definitions", "patternProperties", "properties"}


def kept_schemas(types: Iterable[str]) -> KeptSchemas:
    """What is kept of the schemas of these types, and the names of all."""
    from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

    manager = PROVIDER_SCHEMA_MANAGER
    every = {name for name in manager.get_resource_types(_REGION) if name.startswith("AWS::")}
    found = {name: manager.get_resource_schema(_REGION, name) for name in sorted(set(types) & every)}
    names: dict[str, list[str]] = {}
    for name in sorted(every):
        service, _, kind = name.removeprefix("AWS::").partition("::")
        names.setdefault(service, []).append(kind)
    return {
        "types": {name: _reduced(each.schema) for name, each in found.items()},
        "attributes": {name: sorted(each.get_atts) for name, each in found.items()},
        "names": names,
    }


def _reduced(schema: Schema) -> dict[str, object]:
    """A schema without descriptions and what nothing here looks at."""
    reduced: dict[str, object] = {}
    for name, value in schema.items():
        if name not in _KEPT:
            continue
        if name in _NAMES_OF_MEMBERS and isinstance(value, Mapping):
            reduced[name] = {key: _reduced(item) for key, item in value.items() if isinstance(item, Mapping)}
        else:
            reduced[name] = _reduced(value) if isinstance(value, Mapping) else value
    return reduced


def text_of(kept: KeptSchemas) -> str:
    """The file's text: one type a line, so that a change of one is a change of one line."""
    lines = [f'"{part}":{{\n{_lines(kept[part])}\n}}' for part in ("types", "attributes", "names")]
    return "{" + ",\n".join(lines) + "}\n"


def _lines(members: Mapping[str, object]) -> str:
    compact = {name: json.dumps(value, separators=(",", ":")) for name, value in members.items()}
    return ",\n".join(f"{json.dumps(name)}:{text}" for name, text in compact.items())


if __name__ == "__main__":
    Path(__file__).with_name(SCHEMAS_FILE).write_text(text_of(kept_schemas(KINDS.keys() - {CUSTOM})), encoding="utf-8")
