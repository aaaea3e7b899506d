"""The properties of resources: how they are read, and how they are fitted to the input of a call.

Runs in the server process. "30" becomes 30, a policy document becomes text, a list of tags a map where the service
wants one. A property that the call does not know fails the resource; nothing is left out silently.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from botocore.model import Shape

Properties = Mapping[str, object]
"""Properties of a resource, or of a part of one, their expressions evaluated: what JSON can say, and bytes."""


class ResourceError(Exception):
    """A resource that cannot be made as the template asks; the message is the reason in the stack's events."""


def as_mapping(value: object, what: str) -> Properties:
    """The value as a mapping; ``what`` is what messages call it.

    Raises ResourceError for anything else.
    """
    if not isinstance(value, Mapping):
        raise ResourceError(f"Property {what} should be an object, got {value!r}")
    return value


def part(properties: Properties, name: str) -> Properties:
    """A property that is an object.

    Raises ResourceError where it is missing or something else.
    """
    if name not in properties:
        raise ResourceError(f"Property {name} is required")
    return as_mapping(properties[name], name)


def rows(properties: Properties, name: str, *, required: bool = False) -> list[Properties]:
    """A property that is a list of objects; none where it is missing and not ``required``.

    Raises ResourceError for anything else.
    """
    return [as_mapping(each, name) for each in _items(properties, name, required=required)]


def texts(properties: Properties, name: str, *, required: bool = False) -> list[str]:
    """A property that is a list of texts; none where it is missing and not ``required``.

    Raises ResourceError for anything else.
    """
    return [as_text(each) for each in _items(properties, name, required=required)]


def _items(properties: Properties, name: str, *, required: bool) -> list[object]:
    if required and name not in properties:
        raise ResourceError(f"Property {name} is required")
    value = properties.get(name, [])
    if not isinstance(value, list):
        raise ResourceError(f"Property {name} should be a list, got {value!r}")
    return value


def only(properties: Properties, *names: str) -> dict[str, object]:
    """The properties of these names, as far as they are there."""
    return {name: properties[name] for name in names if name in properties}


def as_text(value: object) -> str:
    """A string property: documents are JSON, booleans are spelt as CloudFormation spells them."""
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def fit(value: object, shape: Shape, where: str) -> object:
    """The value as a shape of botocore's wants it; ``where`` is its path in the properties.

    Raises ResourceError for a property that is unknown or of a wrong type.
    """
    try:
        return _fit(value, shape, where)
    except (TypeError, ValueError) as error:
        raise ResourceError(f"Property {where or '/'} should be a {shape.type_name}, got {value!r}") from error


def _fit(value: object, shape: Shape, where: str) -> object:
    kind = shape.type_name
    if kind == "structure" and not getattr(shape, "is_document_type", False):
        return fit_structure(value, shape, where)
    if kind == "list":
        items = value if isinstance(value, list) else [value]
        return [fit(item, shape.member, f"{where}/{index}") for index, item in enumerate(items)]
    if kind == "map":
        return {str(key): fit(item, shape.value, f"{where}/{key}") for key, item in _entries(value).items()}
    scalar = _SCALARS.get(kind)
    return scalar(value) if scalar else value


def _entries(value: object) -> Mapping[object, object]:
    if isinstance(value, list):  # tags
        return {item["Key"]: item["Value"] for item in value}
    if not isinstance(value, Mapping):
        raise TypeError(value)
    return value


def fit_structure(value: object, shape: Shape, where: str) -> dict[str, object]:
    """The members of a structure as its shape wants them.

    Raises ResourceError for an unknown member, TypeError for what is no mapping.
    """
    if not isinstance(value, Mapping):
        raise TypeError(value)
    fitted = {}
    for name, item in value.items():
        candidates = (name, name[:1].lower() + name[1:])
        member = next((candidate for candidate in candidates if candidate in shape.members), None)
        if member is None:
            raise ResourceError(f"The stand-in account does not implement the property {where}/{name}")
        fitted[member] = fit(item, shape.members[member], f"{where}/{name}")
    return fitted


def _truth(value: object) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise ValueError(value)
    return str(value).lower() == "true"


def _integer(value: object) -> int:
    if not isinstance(value, str | int | float):
        raise TypeError(value)
    return int(value)


def _number(value: object) -> float:
    if not isinstance(value, str | int | float):
        raise TypeError(value)
    return float(value)


_SCALARS: dict[str, Callable[[object], object]] = {
    "boolean": _truth,
    "integer": _integer,
    "long": _integer,
    "float": _number,
    "double": _number,
    "string": as_text,
}
