"""EventBridge's event patterns: validation and matching, as its user guide describes them.

Runs in the server process. moto's own matcher takes ``1`` for ``true``, looks at one key of a condition only, and finds
nothing inside arrays of objects (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html).
"""

from __future__ import annotations

import ipaddress
import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import TypeGuard

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}
_TEXT_TESTS = ("prefix", "suffix", "equals-ignore-case", "wildcard")
_MISSING = object()


class PatternError(ValueError):
    """The pattern is not one; the message is EventBridge's."""


def parse_pattern(text: str) -> dict[str, object]:
    """The pattern of its JSON text; raises PatternError."""
    try:
        pattern = json.loads(text)
    except ValueError as error:
        raise PatternError("Event pattern is not valid. Reason: Invalid JSON") from error
    if not isinstance(pattern, dict):
        raise PatternError("Event pattern is not valid. Reason: Filter is not an object")
    _validate(pattern)
    return pattern


def _validate(pattern: Mapping[str, object]) -> None:
    if not pattern:
        raise PatternError("Event pattern is not valid. Reason: Empty objects are not allowed")
    for key, value in pattern.items():
        if key == "$or" and isinstance(value, list):
            for alternative in value:
                _validate(alternative)
        elif isinstance(value, dict):
            _validate(value)
        elif not isinstance(value, list):
            raise PatternError(f'Event pattern is not valid. Reason: "{key}" must be an object or an array')
        elif not value:
            raise PatternError("Event pattern is not valid. Reason: Empty arrays are not allowed")
        else:
            for condition in value:
                _validate_condition(condition)


def _validate_condition(condition: object) -> None:
    if isinstance(condition, list):
        raise PatternError(
            "Event pattern is not valid. Reason: Match value must be String, number, true, false, or null"
        )
    if not isinstance(condition, dict):
        return
    if len(condition) != 1:
        raise PatternError("Event pattern is not valid. Reason: Only one key allowed in match expression")
    kind, argument = next(iter(condition.items()))
    if kind not in {*_TEXT_TESTS, "anything-but", "numeric", "exists", "cidr"}:
        raise PatternError(f"Event pattern is not valid. Reason: Unrecognized match type {kind}")
    if kind == "exists" and not isinstance(argument, bool):
        raise PatternError("Event pattern is not valid. Reason: exists match pattern must be either true or false.")
    if kind == "numeric" and not _is_numeric_test(argument):
        raise PatternError("Event pattern is not valid. Reason: Value of numeric must be pairs of operator and number")
    if kind == "anything-but" and isinstance(argument, dict) and not argument.keys() <= set(_TEXT_TESTS):
        raise PatternError("Event pattern is not valid. Reason: Unsupported anything-but pattern")


def _is_numeric_test(argument: object) -> bool:
    return (
        isinstance(argument, list)
        and bool(argument)
        and len(argument) % 2 == 0
        and all(sign in _COMPARE for sign in argument[::2])
        and all(_is_number(value) for value in argument[1::2])
    )


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def matches(pattern: Mapping[str, object], event: object) -> bool:
    """Whether the event, a JSON object, fulfils every field of the pattern."""
    if not isinstance(event, dict):
        return False
    return all(_field_matches(key, wanted, event) for key, wanted in pattern.items())


def _field_matches(key: str, wanted: object, event: Mapping[str, object]) -> bool:
    if key == "$or" and isinstance(wanted, list):
        return any(matches(alternative, event) for alternative in wanted)
    value = event.get(key, _MISSING)
    if isinstance(wanted, dict):
        if value is _MISSING:
            value = {}  # only "exists": false can still match below
        return any(matches(wanted, entry) for entry in (value if isinstance(value, list) else [value]))
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
        return _is_number(value) and all(bool(_COMPARE[sign](value, limit)) for sign, limit in tests)
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
