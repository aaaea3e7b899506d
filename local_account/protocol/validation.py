"""What a request must look like: botocore's model of the service, checked as the service itself does.

Runs in the server process. botocore's own validator covers names, types and required members; the service also
checks patterns, lengths and enumerations, which clients do not.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import TYPE_CHECKING

from botocore.validate import ParamValidator

if TYPE_CHECKING:
    from botocore.model import Shape


SHOWN = 20_000
"""Characters of a value that a message repeats; AWS repeats all of them."""
_ORDERS: Mapping[str, tuple[str, ...]] = {"StateValue": ("INSUFFICIENT_DATA", "ALARM", "OK")}
"""The order in which a service names the values of an enumeration, where it was recorded."""
_PATTERNS = {"MetricNamespace": "[^*$]*"}
"""What a service takes, where it was recorded to take more than its model's pattern."""
_SCALARS = {"string", "integer", "long", "float", "double"}


def problems(request: Mapping[str, object], shape: Shape) -> str | None:
    """What is wrong with ``request``, in SageMaker's words, or None."""
    report = ParamValidator().validate(request, shape)
    if report.has_errors():
        return str(report.generate_report())
    found = list(violations(request, shape, ""))
    if not found:
        return None
    return f"{len(found)} validation error{'s' if len(found) > 1 else ''} detected: {'; '.join(found)}"


def violations(value: object, shape: Shape, path: str) -> Iterator[str]:
    """What a value's shape excludes beyond its type, which somebody has looked at: lengths, patterns, enumerations."""
    if isinstance(value, dict) and shape.type_name in ("structure", "map"):
        yield from _structure(value, shape, path) if shape.type_name == "structure" else _map(value, shape, path)
    elif isinstance(value, list) and shape.type_name == "list":
        yield from _size(value, shape, path)
        if shape.member.type_name in _SCALARS:
            yield from _of_all(value, value, shape.member, path, "Member")
        else:
            for position, member in enumerate(value, 1):
                yield from violations(member, shape.member, f"{path}.{position}.member")
    elif isinstance(value, str) and shape.type_name == "string":
        yield from text_problems(value, shape, path)
    elif isinstance(value, int | float) and shape.type_name in ("integer", "long", "float", "double"):
        yield from _number(value, shape, path)


def _structure(value: Mapping[str, object], shape: Shape, path: str) -> Iterator[str]:
    for name, member in value.items():
        yield from violations(member, shape.members[name], f"{path}.{_camel(name)}" if path else _camel(name))


def _map(value: Mapping[str, object], shape: Shape, path: str) -> Iterator[str]:
    yield from _size(value, shape, path)
    yield from _of_all(value, value.keys(), shape.key, path, "Map keys")
    if shape.value.type_name in _SCALARS:
        yield from _of_all(value, value.values(), shape.value, path, "Map value")
    else:
        for key, member in value.items():
            yield from violations(member, shape.value, f"{path}.{key}.member")


def _of_all(whole: object, values: Iterable[object], shape: Shape, path: str, what: str) -> Iterator[str]:
    """What the plain values of a list or a map break together: AWS names the whole, and all that is asked of each."""
    if any(True for value in values for _ in violations(value, shape, path)):
        asked = ", ".join([*_asked(shape), "Member must not be null"])
        shown = f"Value '{_java(whole)[:SHOWN]}' at '{path}' failed to satisfy constraint"
        yield f"{shown}: {what} must satisfy constraint: [{asked}]"


def _asked(shape: Shape) -> Iterator[str]:
    """All constraints of a shape, as AWS lists them."""
    said, number = shape.metadata, shape.type_name != "string"
    bounded = "Member must have value" if number else "Member must have length"
    as_number: Callable[[float], object] = float if shape.type_name in {"float", "double"} else int
    if "max" in said:
        yield f"{bounded} less than or equal to {as_number(said['max'])}"
    if "min" in said:
        yield f"{bounded} greater than or equal to {as_number(said['min'])}"
    if "pattern" in said:
        yield f"Member must satisfy regular expression pattern: {said['pattern']}"
    if "enum" in said:
        yield f"Member must satisfy enum value set: [{', '.join(said['enum'])}]"


def _java(value: object) -> str:
    """A value as Java writes it."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}={_java(item)}' for key, item in value.items())}}}"
    return f"[{', '.join(_java(item) for item in value)}]" if isinstance(value, list) else str(value)


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]


def _size(value: Sized, shape: Shape, path: str) -> Iterator[str]:
    shown = f"Value '{_java(value)[:SHOWN]}' at '{path}' failed to satisfy constraint: Member must have length"
    if len(value) > shape.metadata.get("max", len(value)):
        yield f"{shown} less than or equal to {shape.metadata['max']}"
    if len(value) < shape.metadata.get("min", 0):
        yield f"{shown} greater than or equal to {shape.metadata['min']}"


def _number(value: float, shape: Shape, path: str) -> Iterator[str]:
    shown = f"Value '{value}' at '{path}' failed to satisfy constraint: Member must have value"
    if value > shape.metadata.get("max", value):
        yield f"{shown} less than or equal to {shape.metadata['max']}"
    if value < shape.metadata.get("min", value):
        yield f"{shown} greater than or equal to {shape.metadata['min']}"


def text_problems(value: str, shape: Shape, path: str) -> Iterator[str]:
    """What a string's shape excludes: its enumeration, its lengths, its pattern."""
    shown = f"Value '{value[:SHOWN]}' at '{path}' failed to satisfy constraint"
    enumeration = _ORDERS.get(shape.name) or shape.metadata.get("enum")
    if enumeration and value not in enumeration:
        yield f"{shown}: Member must satisfy enum value set: [{', '.join(enumeration)}]"
    yield from _size(value, shape, path)
    pattern = _compiled(_PATTERNS.get(shape.name) or shape.metadata.get("pattern", ""))
    if pattern is not None and pattern.fullmatch(value) is None:
        yield f"{shown}: Member must satisfy regular expression pattern: {pattern.pattern}"


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """The pattern, or None where there is none or it is in a dialect that only Java reads."""
    try:
        return re.compile(pattern) if pattern else None
    except re.error:
        return None
