"""Expressions in a pipeline definition: ``Get``, ``Std:Join``, ``Std:JsonGet`` and the conditions over them.

Pure functions: what an expression refers to comes from a ``Scope``. Used when a definition is checked (``references``)
and when a step starts (``resolve``, ``holds``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

EXECUTION_VARIABLES = {
    "CurrentDateTime",
    "PipelineArn",
    "PipelineExecutionArn",
    "PipelineExecutionId",
    "PipelineName",
    "ProcessingJobName",
    "StartDateTime",
    "TrainingJobName",
}
# Members of lists that are looked up by name: Outputs['train'] is the output whose OutputName is train.
_NAME_MEMBERS = ("OutputName", "InputName", "ChannelName", "MetricName", "Name")
_PATH_PART = re.compile(r"""\.?(?P<name>[^.\[\]'"\s]+)|\[(?P<index>\d+)\]|\[(?P<quote>['"])(?P<key>.*?)(?P=quote)\]""")
_FUNCTIONS = ("Get", "Std:Join", "Std:JsonGet")


class ExpressionError(Exception):
    """An expression that is malformed or has no value; the message says which and why."""


@dataclass(frozen=True)
class Scope:
    """Where expressions find their values while a pipeline runs."""

    parameters: Mapping[str, Any]
    execution: Mapping[str, str]
    properties: Callable[[str], Any]
    property_file: Callable[[str, str], Any]
    json_object: Callable[[str], Any]


@dataclass(frozen=True)
class Reference:
    """What a ``Get`` refers to: ``Parameters``, ``Execution`` or ``Steps``, a name in it, and the path below that."""

    text: str
    kind: str
    name: str
    path: tuple[str | int, ...]


def is_expression(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _FUNCTIONS


def parse_path(text: str) -> tuple[str | int, ...]:
    """Split ``Outputs['train'].S3Output`` into its parts; raises ExpressionError."""
    parts: list[str | int] = []
    position = 0
    while position < len(text):
        match = _PATH_PART.match(text, position)
        if match is None:
            raise ExpressionError(f"{text!r} is not a path: cannot read it from {text[position:]!r} on")
        index = match.group("index")
        parts.append(int(index) if index is not None else match.group("name") or match.group("key") or "")
        position = match.end()
    return tuple(parts)


def parse_get(text: Any) -> Reference:
    """Read the text of a ``Get``; raises ExpressionError."""
    if not isinstance(text, str):
        raise ExpressionError(f"Get must be a text such as 'Parameters.Name', got {text!r}")
    kind, _, rest = text.partition(".")
    if kind not in ("Parameters", "Execution", "Steps") or not rest:
        raise ExpressionError(f"Get {text!r} must start with Parameters., Execution. or Steps.")
    name, _, path = rest.partition(".")
    if kind != "Steps" and path:
        raise ExpressionError(f"Get {text!r} has a path below {kind}.{name}")
    return Reference(text, kind, name, parse_path(path))


def references(value: Any) -> Iterator[Reference]:
    """Every ``Get`` in ``value``; raises ExpressionError for a malformed expression."""
    if isinstance(value, list):
        for member in value:
            yield from references(member)
    elif isinstance(value, dict):
        function = next((key for key in value if key == "Get" or key.startswith("Std:")), None)
        if function is None:
            for member in value.values():
                yield from references(member)
        elif len(value) != 1 or function not in _FUNCTIONS:
            raise ExpressionError(f"unknown function {function!r}; known ones: {', '.join(_FUNCTIONS)}")
        elif function == "Get":
            yield parse_get(value["Get"])
        else:
            _check_function(function, value[function])
            yield from references(list(value[function].values()))


def _check_function(name: str, body: Any) -> None:
    if name == "Std:Join":
        good = isinstance(body, dict) and isinstance(body.get("Values"), list) and isinstance(body.get("On", ""), str)
        expected = '{"On": text, "Values": [...]}'
    else:
        good = (
            isinstance(body, dict)
            and isinstance(body.get("Path"), str)
            and ("PropertyFile" in body) != ("S3Uri" in body)
        )
        expected = '{"PropertyFile": {"Get": ...}, "Path": text} or {"S3Uri": ..., "Path": text}'
    if not good:
        raise ExpressionError(f"{name} must be {expected}, got {body!r}")


def resolve(value: Any, scope: Scope) -> Any:
    """``value`` with every expression replaced; raises ExpressionError."""
    if isinstance(value, list):
        return [resolve(member, scope) for member in value]
    if not is_expression(value):
        return {k: resolve(v, scope) for k, v in value.items()} if isinstance(value, dict) else value
    ((function, body),) = value.items()
    if function == "Get":
        return _get(parse_get(body), scope)
    if function == "Std:Join":
        return str(body.get("On", "")).join(_text(resolve(member, scope)) for member in body["Values"])
    return _json_get(body, scope)


def _get(reference: Reference, scope: Scope) -> Any:
    if reference.kind == "Parameters":
        return scope.parameters[reference.name]
    if reference.kind == "Execution":
        return scope.execution[reference.name]
    return walk(scope.properties(reference.name), reference.path, reference.text)


def _json_get(body: dict[str, Any], scope: Scope) -> Any:
    if "S3Uri" in body:
        where = resolve(body["S3Uri"], scope)
        document = scope.json_object(where)
    else:
        reference = parse_get(body["PropertyFile"]["Get"])
        where = reference.text
        document = scope.property_file(reference.name, str(reference.path[-1]))
    found = walk(document, parse_path(body["Path"].removeprefix("$").removeprefix(".")), f"{where}: {body['Path']}")
    if isinstance(found, (dict, list)) or found is None:
        raise ExpressionError(
            f"JsonGet needs a text, a number or a boolean at {where}: {body['Path']}, found {found!r}"
        )
    return found


def walk(document: Any, path: tuple[str | int, ...], where: str) -> Any:
    """Follow ``path``; raises ExpressionError that names ``where`` and the part that is missing."""
    for part in path:
        found = _member(document, part)
        if found is None:
            known = ", ".join(sorted(map(str, document))) if isinstance(document, dict) else type(document).__name__
            raise ExpressionError(f"{where} has no value: {part!r} is missing (there is: {known[:200]})")
        document = found
    return document


def _member(document: Any, part: str | int) -> Any:
    if isinstance(document, dict):
        return document.get(str(part))
    if not isinstance(document, list):
        return None
    if isinstance(part, int):
        return document[part] if part < len(document) else None
    return next((m for m in document if isinstance(m, dict) and part in (m.get(n) for n in _NAME_MEMBERS)), None)


def _text(value: Any) -> str:
    """A value as Std:Join writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        raise ExpressionError(f"Std:Join joins texts and numbers, got {value!r}")
    return str(value)


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": lambda left, right: bool(left == right),
    "GreaterThan": lambda left, right: bool(left > right),
    "GreaterThanOrEqualTo": lambda left, right: bool(left >= right),
    "LessThan": lambda left, right: bool(left < right),
    "LessThanOrEqualTo": lambda left, right: bool(left <= right),
}


def check_condition(condition: Any) -> None:
    """Raise ExpressionError unless ``condition`` is well-formed."""
    kind = condition.get("Type") if isinstance(condition, dict) else None
    needed: tuple[str, ...]
    if kind in _COMPARISONS:
        needed = ("LeftValue", "RightValue")
    elif kind == "In":
        needed = ("QueryValue", "Values")
    elif kind == "Not":
        needed = ("Condition",)
    elif kind == "Or":
        needed = ("Conditions",)
    else:
        raise ExpressionError(
            f"unknown condition type {kind!r}; known: {', '.join([*_COMPARISONS, 'In', 'Not', 'Or'])}"
        )
    missing = [name for name in needed if name not in condition]
    if missing:
        raise ExpressionError(f"condition {kind} needs {', '.join(missing)}")
    for inner in [condition["Condition"]] if kind == "Not" else condition["Conditions"] if kind == "Or" else []:
        check_condition(inner)


def holds(condition: dict[str, Any], scope: Scope) -> bool:
    """Evaluate a condition; raises ExpressionError, also for values that cannot be compared."""
    kind = condition["Type"]
    if kind == "Not":
        return not holds(condition["Condition"], scope)
    if kind == "Or":
        return any(holds(inner, scope) for inner in condition["Conditions"])
    if kind == "In":
        query = resolve(condition["QueryValue"], scope)
        return any(
            _comparable(query, resolve(v, scope), kind) and query == resolve(v, scope) for v in condition["Values"]
        )
    left, right = resolve(condition["LeftValue"], scope), resolve(condition["RightValue"], scope)
    _comparable(left, right, kind)
    return _COMPARISONS[kind](left, right)


def _comparable(left: Any, right: Any, kind: str) -> bool:
    def family(value: Any) -> type:
        return float if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value)

    if family(left) is not family(right):
        raise ExpressionError(f"condition {kind} cannot compare {left!r} with {right!r}: they are of different types")
    return True
