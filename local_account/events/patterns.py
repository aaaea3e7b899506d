"""EventBridge's event patterns: which events they match, as its user guide describes it.

Runs in the server process. moto's own matcher takes ``1`` for ``true``, looks at one key of a condition only, and finds
nothing inside arrays of objects (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html).
"""

from __future__ import annotations

import ipaddress
import operator
import re
from collections.abc import Callable, Mapping

from local_account.events.pattern_grammar import is_number

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}
_MISSING = object()


def nested(value: object) -> object:
    """A pattern or an event with one object a level: a dot in a key joins levels, as EventBridge flattens both."""
    if isinstance(value, list):
        return [nested(each) for each in value]
    if not isinstance(value, dict):
        return value
    made: dict[str, object] = {}
    for key, member in value.items():
        first, *rest = str(key).split(".") if key != "$or" else [key]
        inner = nested(member)
        for step in reversed(rest):
            inner = {step: inner}
        made[first] = _joined(made[first], inner) if first in made else inner
    return made


def _joined(one: object, other: object) -> object:
    """What two keys say of the same field."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {**one, **{key: _joined(one[key], other[key]) if key in one else other[key] for key in other}}
    return [*(one if isinstance(one, list) else [one]), *(other if isinstance(other, list) else [other])]


def matches(pattern: Mapping[str, object], event: object) -> bool:
    """Whether the event, a JSON object, fulfils every field of the pattern, which `parse_pattern` has checked."""
    wanted = nested(pattern)
    assert isinstance(wanted, dict)  # noqa: S101  # as the pattern is
    return _fulfils(wanted, nested(event))


def _fulfils(pattern: Mapping[str, object], event: object) -> bool:
    if not isinstance(event, dict):
        return False
    return all(_field_matches(key, wanted, event) for key, wanted in pattern.items())


def _field_matches(key: str, wanted: object, event: Mapping[str, object]) -> bool:
    if key == "$or" and isinstance(wanted, list):
        return any(_fulfils(alternative, event) for alternative in wanted)
    value = event.get(key, _MISSING)
    if isinstance(wanted, dict):
        if value is _MISSING:
            value = {}  # only "exists": false can still match below
        return any(_fulfils(wanted, entry) for entry in (value if isinstance(value, list) else [value]))
    leaves = _leaves(value)
    return isinstance(wanted, list) and any(_condition_holds(condition, leaves) for condition in wanted)


def _leaves(value: object) -> list[object]:
    if value is _MISSING or isinstance(value, dict):
        return []
    if isinstance(value, list):
        return [leaf for entry in value for leaf in _leaves(entry)]
    return [value]


def _condition_holds(condition: object, leaves: list[object]) -> bool:
    if isinstance(condition, dict) and "exists" in condition:
        return bool(leaves) is condition["exists"]
    return any(_value_matches(condition, leaf) for leaf in leaves)


def _value_matches(condition: object, value: object) -> bool:
    if not isinstance(condition, dict):
        return _equal(condition, value)
    kind, argument = next(iter(condition.items()))
    if kind == "numeric":
        tests = zip(argument[::2], argument[1::2], strict=True)
        return is_number(value) and all(bool(_COMPARE[sign](value, limit)) for sign, limit in tests)
    if kind == "anything-but":
        if isinstance(argument, dict):
            return not _value_matches(argument, value)
        return not any(_equal(entry, value) for entry in _as_list(argument))
    if kind == "cidr":
        return _in_network(value, argument)
    return isinstance(value, str) and any(_text_matches(kind, entry, value) for entry in _as_list(argument))


def _equal(wanted: object, value: object) -> bool:
    """JSON equality: ``true`` is not ``1``, ``300`` is ``300.0``."""
    return isinstance(wanted, bool) == isinstance(value, bool) and bool(wanted == value)


def _as_list(argument: object) -> list[object]:
    return argument if isinstance(argument, list) else [argument]


def _text_matches(kind: str, argument: object, value: str) -> bool:
    wanted = str(argument)
    if kind == "exactly":
        return value == wanted
    if isinstance(argument, dict):  # {"prefix": {"equals-ignore-case": "..."}}
        wanted, value = argument["equals-ignore-case"].lower(), value.lower()
    if kind == "prefix":
        return value.startswith(wanted)
    if kind == "suffix":
        return value.endswith(wanted)
    if kind == "equals-ignore-case":
        return value.lower() == wanted.lower()
    parts = re.findall(r"\\[*\\]|\*|[^*\\]+|\\", wanted)
    expression = "".join(".*" if part == "*" else re.escape(re.sub(r"\\([*\\])", r"\1", part)) for part in parts)
    return re.fullmatch(expression, value, re.DOTALL) is not None


def _in_network(value: object, network: str) -> bool:
    try:
        return ipaddress.ip_address(str(value)) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
