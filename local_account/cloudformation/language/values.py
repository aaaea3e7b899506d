"""Whether the properties of a resource are what the type's schema allows, in the words of AWS's validator.

Runs in the server process. CloudFormation turns scalars into what the schema wants ("30" is a number), so only what
cannot be turned is wrong. Alternatives (``anyOf``) are left to the service that makes the resource.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from local_account.cloudformation.language.functions import plain_text
from local_account.cloudformation.language.schemas import Schema, schema_of

_KINDS = {"object": "JSONObject", "array": "JSONArray"}


def check_properties(logical_id: str, type_name: str, properties: Mapping[str, object]) -> str:
    """What is wrong with the properties, as the event of the failed resource says it; empty for nothing."""
    known = schema_of(type_name)
    found = list(_problems(properties, known.schema, known.schema, "#")) if known else []
    if not found:
        return ""
    return f"Properties validation failed for resource {logical_id} with message:\n[{', '.join(found)}]"


def _problems(value: object, schema: Schema, whole: Schema, path: str) -> Iterator[str]:
    schema = _followed(schema, whole)
    kinds = _listed(schema.get("type"))
    if isinstance(value, Mapping):
        yield from _object(value, schema, whole, path, kinds)
    elif isinstance(value, list):
        yield from _array(value, schema, whole, path, kinds)
    else:
        yield from (f"{path}: {problem}" for problem in _scalar(value, schema, kinds))


def _followed(schema: Schema, whole: Schema) -> Schema:
    """The schema itself, or the definition that it refers to."""
    seen = 0
    while isinstance(reference := schema.get("$ref"), str) and seen < 20:
        found: object = whole
        for step in reference.removeprefix("#/").split("/"):
            found = found.get(step, {}) if isinstance(found, Mapping) else {}
        schema, seen = found if isinstance(found, Mapping) else {}, seen + 1
    return schema


def _object(value: Mapping[str, object], schema: Schema, whole: Schema, path: str, kinds: list[str]) -> Iterator[str]:
    if kinds and "object" not in kinds and "string" not in kinds:
        yield f"{path}: expected type: {_named(kinds)}, found: JSONObject"
        return
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return
    for name in _listed(schema.get("required")):
        if name not in value:
            yield f"{path}: required key [{name}] not found"
    for name, item in value.items():
        if name in properties:
            yield from _problems(item, properties[name], whole, f"{path}/{name}")
        elif schema.get("additionalProperties") is False and "patternProperties" not in schema:
            yield f"{path}: extraneous key [{name}] is not permitted"


def _array(value: list[object], schema: Schema, whole: Schema, path: str, kinds: list[str]) -> Iterator[str]:
    if kinds and not {"array", "object", "string"} & set(kinds):
        yield f"{path}: expected type: {_named(kinds)}, found: JSONArray"
        return
    if len(value) < _number(schema.get("minItems"), 0):
        yield f"{path}: expected minimum item count: {schema['minItems']}, found: {len(value)}"
    if len(value) > _number(schema.get("maxItems"), len(value)):
        yield f"{path}: expected maximum item count: {schema['maxItems']}, found: {len(value)}"
    items = schema.get("items")
    if isinstance(items, Mapping):
        for index, item in enumerate(value):
            yield from _problems(item, items, whole, f"{path}/{index}")


def _scalar(value: object, schema: Schema, kinds: list[str]) -> Iterator[str]:
    if kinds and not any(_TURNS[kind](value) for kind in kinds if kind in _TURNS):
        found = "String" if isinstance(value, str) else type(value).__name__.capitalize()
        yield f"expected type: {_named(kinds)}, found: {found}"
        return
    allowed = schema.get("enum")
    if isinstance(allowed, list) and plain_text(value) not in [plain_text(each) for each in allowed]:
        yield f"{plain_text(value)} is not a valid enum value"
    elif {"integer", "number"} & set(kinds) and "string" not in kinds:
        yield from _range(float(str(value)), plain_text(value), schema)
    elif kinds == ["string"]:
        yield from _text(plain_text(value), schema)


def _range(number: float, shown: str, schema: Schema) -> Iterator[str]:
    if number < _number(schema.get("minimum"), number):
        yield f"{shown} is not greater or equal to {schema['minimum']}"
    if number > _number(schema.get("maximum"), number):
        yield f"{shown} is not less or equal to {schema['maximum']}"


def _text(text: str, schema: Schema) -> Iterator[str]:
    if len(text) < _number(schema.get("minLength"), 0):
        yield f"expected minLength: {schema['minLength']}, actual: {len(text)}"
    if len(text) > _number(schema.get("maxLength"), len(text)):
        yield f"expected maxLength: {schema['maxLength']}, actual: {len(text)}"
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and not _matches(pattern, text):
        yield "failed validation constraint for keyword [pattern]"


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:  # of a dialect that only AWS's validator reads
        return True


def _number(stated: object, otherwise: float) -> float:
    return float(stated) if isinstance(stated, int | float) else otherwise


def _listed(value: object) -> list[str]:
    return [value] if isinstance(value, str) else [str(each) for each in value] if isinstance(value, list) else []


def _named(kinds: list[str]) -> str:
    return _KINDS.get(kinds[0], kinds[0].capitalize())


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return not isinstance(value, bool)


_TURNS: dict[str, Callable[[object], bool]] = {
    "string": lambda _value: True,
    "boolean": lambda value: plain_text(value).lower() in ("true", "false"),
    "integer": lambda value: _is_number(value) and float(str(value)).is_integer(),
    "number": _is_number,
}
