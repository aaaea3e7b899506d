"""A search expression: which of some resources it holds for.

Pure. Authority: SageMaker API Reference, SearchExpression, Filter and NestedFilters. Properties are held against
botocore's model of the resource, so that one that is not there is refused by name.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from local_account.protocol.actions import ServiceError
from local_account.sagemaker.service import epoch_s

if TYPE_CHECKING:
    from botocore.model import Shape
    from types_boto3_sagemaker.type_defs import (
        FilterTypeDef,
        NestedFiltersTypeDef,
        SearchExpressionPaginatorTypeDef,
        SearchExpressionTypeDef,
    )

    Expression = SearchExpressionTypeDef | SearchExpressionPaginatorTypeDef

Resource = Mapping[str, object]
_ORDERS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
_NUMBERS = {"integer", "long", "float", "double"}
_FREE = {"Tags", "Metrics", "HyperParameters", "Parameters"}
"""Properties below which any name is one: ``Tags.owner``, ``Metrics.accuracy``."""


def holds(expression: Expression, resource: Resource, shape: Shape) -> bool:
    """Whether an expression holds for a resource of a shape. Raises ServiceError for what it may not say."""
    parts = [_filter(one, resource, shape) for one in expression.get("Filters", [])]
    parts += [_nested(one, resource, shape) for one in expression.get("NestedFilters", [])]
    parts += [holds(cast("Expression", one), resource, shape) for one in expression.get("SubExpressions", [])]
    return any(parts) if expression.get("Operator", "And") == "Or" else all(parts)


def check(expression: Expression, shape: Shape) -> None:
    """Refuse an expression that says nothing, or what no resource of this shape has. Raises ServiceError."""
    parts = [
        *expression.get("Filters", []),
        *expression.get("NestedFilters", []),
        *expression.get("SubExpressions", []),
    ]
    if not parts:
        raise ServiceError("SearchExpression: expected at least one filter, nested filter or subexpression.")
    holds(expression, {}, shape)


def _nested(nested: NestedFiltersTypeDef, resource: Resource, shape: Shape) -> bool:
    """All filters hold for one and the same item of a list."""
    name = nested["NestedPropertyName"]
    listed = property_shape(name, shape)
    if listed is None or listed.type_name != "list":
        raise ServiceError(f"NestedPropertyName: {name} is no list of resources of this kind.")
    inner = [{**one, "Name": one["Name"].removeprefix(f"{name}.")} for one in nested["Filters"]]
    items = [item for item in values_of(name, resource) if isinstance(item, Mapping)] or [{}]
    return any(all(_filter(one, item, listed.member) for one in inner) for item in items)  # type: ignore[arg-type]  # the same filters, named from the item on


def _filter(one: FilterTypeDef, resource: Resource, shape: Shape) -> bool:
    name, wanted = one["Name"], one.get("Operator", "Equals")
    kind = property_shape(name, shape)
    found = list(values_of(name, resource))
    if wanted in {"Exists", "NotExists"}:
        if "Value" in one:
            raise ServiceError(f"Filter {name}: Value must be left out with the operator {wanted}.")
        return bool(found) == (wanted == "Exists")
    if "Value" not in one:
        raise ServiceError(f"Filter {name}: Value is needed with the operator {wanted}.")
    test = _Test(name, wanted, one["Value"], kind.type_name if kind is not None else "")
    held = [test(value) for value in found if not isinstance(value, Mapping | list)]
    return all(held) if wanted == "NotEquals" else any(held)


@dataclass(frozen=True)
class _Test:
    """What a filter asks of a value; ``kind`` is the type of its shape, empty where any value may be."""

    name: str
    operator: str
    value: str
    kind: str

    def __post_init__(self) -> None:
        if self.operator in _ORDERS and self.kind not in {"", "timestamp", *_NUMBERS}:
            raise ServiceError(
                f"Filter {self.name}: the operator {self.operator} needs a number or a time, not a text."
            )
        if self.kind == "timestamp" or self.kind in _NUMBERS:
            self._number(self.value)

    def __call__(self, value: object) -> bool:
        if self.operator == "In":
            return str(value) in [part.strip() for part in self.value.split(",")]
        if self.operator == "Contains":
            return self.value in str(value)
        if self.operator in _ORDERS:
            number = _as_number(value)
            return number is not None and _ORDERS[self.operator](number, self._number(self.value))
        return self._equals(value) == (self.operator == "Equals")

    def _equals(self, value: object) -> bool:
        if isinstance(value, bool):
            return str(value).lower() == self.value.lower()
        given = _as_number(self.value) if self.kind != "timestamp" else self._number(self.value)
        number = _as_number(value)
        return str(value) == self.value or (given is not None and number == given)

    def _number(self, text: str) -> float:
        try:
            return epoch_s(text) if self.kind == "timestamp" else float(text)
        except ValueError as error:
            expected = "a time in ISO 8601" if self.kind == "timestamp" else "a number"
            raise ServiceError(f"Filter {self.name}: Value must be {expected}, got {text!r}.") from error


def _as_number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def property_shape(name: str, shape: Shape) -> Shape | None:
    """The shape of a property, None where any name may stand. Raises ServiceError for one that is not there."""
    parts = name.split(".")
    if parts[0] in _FREE and len(parts) > 1:
        return None
    for position, part in enumerate(parts):
        while shape.type_name == "list":
            shape = shape.member
        if shape.type_name == "map":
            return None
        if shape.type_name != "structure" or part not in shape.members:
            known = ", ".join(shape.members) if shape.type_name == "structure" else "nothing"
            raise ServiceError(
                f"Unknown property name: {name}. {'.'.join(parts[:position]) or 'The resource'} has {known}."
            )
        shape = shape.members[part]
    return shape


def values_of(name: str, resource: Resource) -> Iterator[object]:
    """The values of a property; one below a list has several."""
    first, _, rest = name.partition(".")
    if first == "Tags" and rest:
        yield from _named(resource.get("Tags"), "Key", rest, "Value")
    elif first == "Metrics" and rest:
        yield from _metric(resource, rest)
    elif first == "Parameters" and rest:
        held = resource.get("Parameters")
        one = held.get(rest) if isinstance(held, Mapping) else None
        yield from one.values() if isinstance(one, Mapping) else ()
    else:
        yield from _below(resource, name)


def _below(value: object, path: str) -> Iterator[object]:
    if isinstance(value, list):
        for item in value:
            yield from _below(item, path)
        return
    if not isinstance(value, Mapping):
        return
    first, _, rest = path.partition(".")
    if path in value:  # a key of a map that has dots
        first, rest = path, ""
    if first in value:
        found = value[first]
        yield from _below(found, rest) if rest else found if isinstance(found, list) else (found,)


def _metric(resource: Resource, name: str) -> Iterator[object]:
    """A training job's last value, or a statistic of a trial component: ``Metrics.loss.Min``, Last by default."""
    yield from _named(resource.get("FinalMetricDataList"), "MetricName", name, "Value")
    metric, _, statistic = name.rpartition(".")
    known = {"Max", "Min", "Last", "Count", "Avg", "StdDev"}
    metric, statistic = (metric, statistic) if statistic in known and metric else (name, "Last")
    yield from _named(resource.get("Metrics"), "MetricName", metric, statistic)


def _named(items: object, key: str, name: str, member: str) -> Iterator[object]:
    for item in items if isinstance(items, list) else ():
        if item.get(key) == name and member in item:
            yield item[member]
