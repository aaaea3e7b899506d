"""Whether a request to a service that moto answers has the shape that the service's model asks for.

Runs in the server process, before moto, which would fail in the middle of its work, or take what AWS refuses. The
words are those of AWS's own front: a member of another type is a SerializationException; what is missing, too long, or
none of the values that there are, is counted and named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from local_account.protocol.validation import violations

if TYPE_CHECKING:
    from botocore.model import Shape

_NUMBERS = {"integer", "long", "float", "double", "short"}
_WHOLE = {"integer", "long", "short"}
_KINDS: Mapping[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "boolean": (bool,),
    **dict.fromkeys(_NUMBERS, (int, float)),
}
_SHOWN = {dict: "a structure", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}


def wrong_type(value: object, shape: Shape, path: str = "") -> str:
    """Which member is of another type than the model's; empty when none is."""
    if value is None:
        return ""
    kinds = _KINDS.get(shape.type_name)
    is_wrong = kinds is not None and not isinstance(value, kinds)
    if shape.type_name in _WHOLE and isinstance(value, float) and not value.is_integer():
        return f"{path or 'The request'} must be a whole number, not {value}"
    if is_wrong or (isinstance(value, bool) and shape.type_name in _NUMBERS):
        came = _SHOWN.get(type(value), type(value).__name__)
        return f"{path or 'The request'} must be {_article(shape.type_name)}, not {came}"
    return next(
        (found for each, inner, name in _below(value, shape, path) if (found := wrong_type(each, inner, name))), ""
    )


def _article(kind: str) -> str:
    name = "number" if kind in _NUMBERS else kind
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _below(value: object, shape: Shape, path: str) -> Iterator[tuple[object, Shape, str]]:
    """The parts of a value, each with its shape and its path."""
    if shape.type_name == "structure" and isinstance(value, dict):
        for name, member in shape.members.items():
            if name in value:
                yield value[name], member, f"{path}.{name}" if path else name
    elif shape.type_name == "list" and isinstance(value, list):
        yield from ((each, shape.member, f"{path}[{number}]") for number, each in enumerate(value))
    elif shape.type_name == "map" and isinstance(value, dict):
        yield from ((each, shape.value, f"{path}.{key}") for key, each in value.items())


def constraints(request: Mapping[str, object], shape: Shape) -> str:
    """What a request of the right types lacks or has too much of; empty when nothing."""
    known = _known(request, shape)
    found = [*_missing(known, shape, ""), *violations(known, shape, "")]
    if not found:
        return ""
    return f"{len(found)} validation error{'s' if len(found) > 1 else ''} detected: {'; '.join(found)}"


def _known(value: object, shape: Shape) -> object:
    """A value without members that the model lacks or that are null: the service does not look at them."""
    if shape.type_name == "structure" and isinstance(value, dict):
        listed = ((name, member) for name, member in shape.members.items() if value.get(name) is not None)
        return {name: _known(value[name], member) for name, member in listed}
    if shape.type_name == "list" and isinstance(value, list):
        return [_known(each, shape.member) for each in value if each is not None]
    if shape.type_name == "map" and isinstance(value, dict):
        return {key: _known(each, shape.value) for key, each in value.items() if each is not None}
    return value


def _missing(value: object, shape: Shape, path: str) -> Iterator[str]:
    if shape.type_name == "structure" and isinstance(value, dict):
        for name in shape.required_members:
            if name not in value:
                where = f"{path}.{name[:1].lower()}{name[1:]}" if path else f"{name[:1].lower()}{name[1:]}"
                yield f"Value null at '{where}' failed to satisfy constraint: Member must not be null"
    for each, inner, name in _below(value, shape, ""):
        yield from _missing(each, inner, _joined(path, name))


def _joined(path: str, name: str) -> str:
    """AWS writes members with a small letter first, and counts items of lists from one."""
    if name.startswith("["):
        return f"{path}.{int(name[1:-1]) + 1}.member"
    small = f"{name[:1].lower()}{name[1:]}".lstrip(".")
    return f"{path}.{small}" if path else small
