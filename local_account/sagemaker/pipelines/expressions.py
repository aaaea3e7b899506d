"""Expressions in a pipeline definition: ``Get``, ``Std:Join``, ``Std:JsonGet`` and the conditions over them.

Pure functions: what an expression refers to comes from a ``ExpressionScope``. Used when a definition is
checked (``references``) and when a step starts (``resolve``, ``holds``).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from local_account.protocol.actions import Json

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


class PipelineExpressionError(Exception):
    """An expression that is malformed or has no value; the message says which and why."""


@dataclass(frozen=True)
class ExpressionScope:
    """Where expressions find their values while a pipeline runs."""

    parameters: Mapping[str, Json]
    execution: Mapping[str, str]
    properties: Callable[[str], Json]
    """Of the step with this name."""
    property_file: Callable[[str, str], Json]
    """What the property file of a step, by both their names, holds."""
    json_object: Callable[[str], Json]
    """What the object at this S3 URI holds."""


@dataclass(frozen=True)
class GetReference:
    """What a ``Get`` refers to: ``Parameters``, ``Execution`` or ``Steps``, a name in it, and the path below that."""

    text: str
    kind: str
    name: str
    path: tuple[str | int, ...]


def is_expression(value: object) -> bool:
    """Whether a value of a definition is to be replaced by what it refers to."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _FUNCTIONS


def parse_path(text: str) -> tuple[str | int, ...]:
    """Split ``Outputs['train'].S3Output`` into its parts; raises PipelineExpressionError."""
    parts: list[str | int] = []
    position = 0
    while position < len(text):
        match = _PATH_PART.match(text, position)
        if match is None:
            raise PipelineExpressionError(f"{text!r} is not a path: cannot read it from {text[position:]!r} on")
        index = match.group("index")
        parts.append(int(index) if index is not None else match.group("name") or match.group("key") or "")
        position = match.end()
    return tuple(parts)


def parse_get(text: object) -> GetReference:
    """Read the text of a ``Get``; raises PipelineExpressionError."""
    if not isinstance(text, str):
        raise PipelineExpressionError(f"Get must be a text such as 'Parameters.Name', got {text!r}")
    kind, _, rest = text.partition(".")
    if kind not in ("Parameters", "Execution", "Steps") or not rest:
        raise PipelineExpressionError(f"Get {text!r} must start with Parameters., Execution. or Steps.")
    name, _, path = rest.partition(".")
    if kind != "Steps" and path:
        raise PipelineExpressionError(f"Get {text!r} has a path below {kind}.{name}")
    return GetReference(text, kind, name, parse_path(path))


def references(value: object) -> Iterator[GetReference]:
    """Every ``Get`` in ``value``; raises PipelineExpressionError for a malformed expression."""
    if isinstance(value, list):
        for member in value:
            yield from references(member)
    elif isinstance(value, dict):
        function = next((key for key in value if key == "Get" or key.startswith("Std:")), None)
        if function is None:
            for member in value.values():
                yield from references(member)
        elif len(value) != 1 or function not in _FUNCTIONS:
            raise PipelineExpressionError(f"unknown function {function!r}; known ones: {', '.join(_FUNCTIONS)}")
        elif function == "Get":
            yield parse_get(value["Get"])
        elif function == "Std:Join":
            yield from references(_Join.of(value[function]).values)
        else:
            yield from references(_JsonGet.of(value[function]).place)


@dataclass(frozen=True)
class _Join:
    """``Std:Join``: the values as one text, with ``on`` between them."""

    on: str
    values: list[Json]

    @classmethod
    def of(cls, body: object) -> _Join:
        if isinstance(body, dict):
            on, values = body.get("On", ""), body.get("Values")
            if isinstance(on, str) and isinstance(values, list):
                return cls(on, values)
        raise PipelineExpressionError(f'Std:Join must be {{"On": text, "Values": [...]}}, got {body!r}')

    def value(self, scope: ExpressionScope) -> str:
        return self.on.join(_text(resolve(member, scope)) for member in self.values)


@dataclass(frozen=True)
class _JsonGet:
    """``Std:JsonGet``: what lies at ``path`` in a property file (``{"Get": ...}``), or in the object of an S3 URI."""

    path: str
    place: Json
    in_property_file: bool

    @classmethod
    def of(cls, body: object) -> _JsonGet:
        if isinstance(body, dict) and ("PropertyFile" in body) != ("S3Uri" in body):
            path, file = body.get("Path"), "PropertyFile" in body
            if isinstance(path, str):
                return cls(path, body["PropertyFile" if file else "S3Uri"], file)
        expected = '{"PropertyFile": {"Get": ...}, "Path": text} or {"S3Uri": ..., "Path": text}'
        raise PipelineExpressionError(f"Std:JsonGet must be {expected}, got {body!r}")

    def value(self, scope: ExpressionScope) -> Json:
        where, document = self._document(scope)
        path = parse_path(self.path.removeprefix("$").removeprefix("."))
        found = walk(document, path, f"{where}: {self.path}")
        if isinstance(found, dict | list) or found is None:
            raise PipelineExpressionError(
                f"JsonGet needs a text, a number or a boolean at {where}: {self.path}, found {found!r}"
            )
        return found

    def _document(self, scope: ExpressionScope) -> tuple[str, Json]:
        if not self.in_property_file:
            uri = str(resolve(self.place, scope))
            return uri, scope.json_object(uri)
        reference = parse_get(self.place.get("Get") if isinstance(self.place, dict) else self.place)
        return reference.text, scope.property_file(reference.name, str(reference.path[-1]))


def resolve(value: Json, scope: ExpressionScope) -> Json:
    """``value`` with every expression replaced; raises PipelineExpressionError."""
    if isinstance(value, list):
        return [resolve(member, scope) for member in value]
    if not isinstance(value, dict):
        return value
    if not is_expression(value):
        return {key: resolve(member, scope) for key, member in value.items()}
    ((function, body),) = value.items()
    if function == "Get":
        return _get(parse_get(body), scope)
    return _Join.of(body).value(scope) if function == "Std:Join" else _JsonGet.of(body).value(scope)


def _get(reference: GetReference, scope: ExpressionScope) -> Json:
    if reference.kind == "Parameters":
        return scope.parameters[reference.name]
    if reference.kind == "Execution":
        return scope.execution[reference.name]
    return walk(scope.properties(reference.name), reference.path, reference.text)


def walk(document: Json, path: tuple[str | int, ...], where: str) -> Json:
    """Follow ``path``; raises PipelineExpressionError that names ``where`` and the part that is missing."""
    for part in path:
        found = _member(document, part)
        if found is None:
            known = ", ".join(sorted(map(str, document))) if isinstance(document, dict) else type(document).__name__
            raise PipelineExpressionError(f"{where} has no value: {part!r} is missing (there is: {known[:200]})")
        document = found
    return document


def _member(document: Json, part: str | int) -> Json:
    if isinstance(document, dict):
        return document.get(str(part))
    if not isinstance(document, list):
        return None
    if isinstance(part, int):
        return document[part] if part < len(document) else None
    return next((m for m in document if isinstance(m, dict) and part in (m.get(n) for n in _NAME_MEMBERS)), None)


def _text(value: Json) -> str:
    """A value as Std:Join writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        raise PipelineExpressionError(f"Std:Join joins texts and numbers, got {value!r}")
    return str(value)


_ORDERS: dict[str, Callable[..., bool]] = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
_NEEDED = {
    **dict.fromkeys(("Equals", *_ORDERS), ("LeftValue", "RightValue")),
    "In": ("QueryValue", "Values"),
    "Not": ("Condition",),
    "Or": ("Conditions",),
}


def check_condition(condition: object) -> None:
    """Raise PipelineExpressionError unless ``condition`` is well-formed."""
    kind = condition.get("Type") if isinstance(condition, dict) else None
    if not isinstance(condition, dict) or kind not in _NEEDED:
        raise PipelineExpressionError(f"unknown condition type {kind!r}; known: {', '.join(_NEEDED)}")
    missing = [name for name in _NEEDED[kind] if name not in condition]
    if missing:
        raise PipelineExpressionError(f"condition {kind} needs {', '.join(missing)}")
    for inner in [condition["Condition"]] if kind == "Not" else condition["Conditions"] if kind == "Or" else []:
        check_condition(inner)


def holds(condition: object, scope: ExpressionScope) -> bool:
    """Evaluate a condition; raises PipelineExpressionError, also for values that cannot be compared."""
    check_condition(condition)
    return isinstance(condition, dict) and _holds(condition, scope)


def _holds(condition: dict[str, Json], scope: ExpressionScope) -> bool:
    kind = condition["Type"]
    if kind == "Not":
        return not holds(condition["Condition"], scope)
    if kind == "Or":
        return any(holds(inner, scope) for inner in _listed(condition["Conditions"]))
    if kind == "In":
        query = resolve(condition["QueryValue"], scope)
        values = (resolve(value, scope) for value in _listed(condition["Values"]))
        return any(_comparable(query, value, "In") and query == value for value in values)
    left, right = resolve(condition["LeftValue"], scope), resolve(condition["RightValue"], scope)
    _comparable(left, right, str(kind))
    return left == right if kind == "Equals" else _in_order(str(kind), left, right)


def _in_order(kind: str, left: Json, right: Json) -> bool:
    if isinstance(left, list | dict) or left is None:
        raise PipelineExpressionError(f"condition {kind} orders texts and numbers, got {left!r}")
    return _ORDERS[kind](left, right)


def _listed(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise PipelineExpressionError(f"a condition needs a list, got {value!r}")
    return value


def _comparable(left: Json, right: Json, kind: str) -> bool:
    def family(value: Json) -> type:
        return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)

    if family(left) is not family(right):
        raise PipelineExpressionError(
            f"condition {kind} cannot compare {left!r} with {right!r}: they are of different types"
        )
    return True
