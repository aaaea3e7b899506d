"""What a request must look like: botocore's model of the service, in the words of Step Functions.

Runs in the server process, before an action is answered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING

import botocore.session

if TYPE_CHECKING:
    from botocore.model import ServiceModel, Shape

# The order in which the service names the values of an enumeration, where it was recorded.
ORDERS = {"ExecutionStatus": ("SUCCEEDED", "TIMED_OUT", "PENDING_REDRIVE", "ABORTED", "FAILED", "RUNNING")}
TYPES = {"string": str, "structure": dict, "list": list, "map": dict, "boolean": bool}
# Texts whose limits have an error of their own, see ``answers`` and ``backend``.
OWN_ERRORS = {"Definition", "SensitiveData", "StateMachineDefinition"}


@cache
def _model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("stepfunctions")


def request_fault(operation: str, body: bytes | str) -> tuple[str, str] | None:
    """Code and message of what is wrong with a request; None where nothing is."""
    try:
        request = json.loads(body or "{}")
    except ValueError:
        return "SerializationException", "The request's body is no JSON."
    model = _model()
    if operation not in model.operation_names:
        return "UnknownOperationException", f"Step Functions has no operation {operation}."
    if not isinstance(request, dict):
        return "SerializationException", "The request's body is no JSON object."
    shape = model.operation_model(operation).input_shape
    found = list(_problems(request, shape, "")) if shape else []
    if not found:
        return None
    return "ValidationException", f"{len(found)} validation error{'s' * (len(found) > 1)} detected: {'; '.join(found)}"


def _problems(value: object, shape: Shape, path: str) -> Iterator[str]:
    kind = shape.type_name
    if kind in TYPES and not isinstance(value, TYPES[kind]):
        yield _said(value, shape, path, f"Member must be a {kind}")
    elif kind == "structure" and isinstance(value, dict):
        yield from _structure(value, shape, path)
    elif kind == "list" and isinstance(value, list):
        yield from _length(value, len(value), shape, path)
        for position, member in enumerate(value, 1):
            yield from _problems(member, shape.member, f"{path}.{position}.member")
    elif kind == "string" and isinstance(value, str):
        yield from _text(value, shape, path)
    elif kind in {"integer", "long", "float", "double"}:
        yield from _number(value, shape, path)


def _structure(value: Mapping[str, object], shape: Shape, path: str) -> Iterator[str]:
    for name, member in shape.members.items():
        where = f"{path}.{name}" if path else name
        given = value.get(name)
        if given is not None:
            yield from _problems(given, member, where)
        elif name in shape.required_members:
            yield f"Value null at '{where}' failed to satisfy constraint: Member must not be null"


def _text(value: str, shape: Shape, path: str) -> Iterator[str]:
    values = ORDERS.get(shape.name) or shape.metadata.get("enum")
    if values and value not in values:
        yield _said(value, shape, path, f"Member must satisfy enum value set: [{', '.join(values)}]")
    if shape.name not in OWN_ERRORS:
        yield from _length(value, len(value), shape, path)
    pattern = str(shape.metadata.get("pattern", ""))
    if pattern and not _matches(pattern, value):
        yield _said(value, shape, path, f"Member must satisfy regular expression pattern: {pattern}")


def _matches(pattern: str, value: str) -> bool:
    if pattern == r"\p{ASCII}*":
        return value.isascii()
    return re.fullmatch(pattern, value) is not None


def _number(value: object, shape: Shape, path: str) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield _said(value, shape, path, "Member must be a number")
        return
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if high is not None and value > high:
        yield _said(value, shape, path, f"Member must have value less than or equal to {high}")
    if low is not None and value < low:
        yield _said(value, shape, path, f"Member must have value greater than or equal to {low}")


def _length(value: object, length: int, shape: Shape, path: str) -> Iterator[str]:
    low, high = shape.metadata.get("min", 0), shape.metadata.get("max")
    if high is not None and length > high:
        yield _said(value, shape, path, f"Member must have length less than or equal to {high}")
    if length < low:
        yield _said(value, shape, path, f"Member must have length greater than or equal to {low}")


def _said(value: object, shape: Shape, path: str, constraint: str) -> str:
    return f"Value '{_shown(value, shape)}' at '{path}' failed to satisfy constraint: {constraint}"


def _shown(value: object, shape: Shape) -> str:
    """The value as Java writes it."""
    if isinstance(value, list) and shape.type_name == "list":
        return f"[{', '.join(_shown(member, shape.member) for member in value)}]"
    if isinstance(value, dict) and shape.type_name == "structure":
        members = (f"{name}={_shown(value[name], each)}" for name, each in shape.members.items() if name in value)
        return f"{shape.name}({', '.join(members)})"
    return str(value)
