"""What an event pattern may be: EventBridge's grammar, checked when a rule or an archive comes, in its own words.

Runs in the server process. Authority: the compiler of github.com/aws/event-ruler, which EventBridge runs; of what it
counts as too complex only the common case is known: many wildcards before the same character.
"""

from __future__ import annotations

import ipaddress
import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NoReturn, TypeGuard

_LARGEST = 5e9
_MOST_REPEATED_WILDCARDS = 4
# Names that have a meaning of their own inside "$or".
_RESERVED = (
    "exactly",
    "prefix",
    "suffix",
    "numeric",
    "anything-but",
    "exists",
    "cidr",
    "equals-ignore-case",
    "wildcard",
)


class PatternError(ValueError):
    """The pattern is not one; the message is EventBridge's."""


def _refuse(reason: str) -> NoReturn:
    raise PatternError(f"Event pattern is not valid. Reason: {reason}")


def parse_pattern(text: str) -> dict[str, object]:
    """The pattern of its JSON text; raises PatternError."""
    try:
        pattern = json.loads(text, parse_constant=lambda name: _refuse(f"Unrecognized token '{name}'"))
        if not isinstance(pattern, dict):
            _refuse("Filter is not an object")
        _check_object(pattern, in_or=False)
    except PatternError:
        raise
    except RecursionError as error:
        raise PatternError("Event pattern is not valid. Reason: Rule is nested too deeply") from error
    except ValueError as error:
        raise PatternError(f"Event pattern is not valid. Reason: Invalid JSON: {error}") from error
    return pattern


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value of JSON is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_object(pattern: Mapping[str, object], *, in_or: bool) -> None:
    if not pattern:
        _refuse("Empty objects are not allowed")
    for key, value in pattern.items():
        if key == "$or":
            _check_or(value)
        elif in_or and key in _RESERVED:
            _refuse(f"{key} is Ruler reserved fieldName which cannot be used inside $or.")
        elif isinstance(value, dict):
            _check_object(value, in_or=in_or)
        elif isinstance(value, list):
            _check_array(value)
        else:
            _refuse(f'"{key}" must be an object or an array')


def _check_or(value: object) -> None:
    if not isinstance(value, list):
        _refuse("It must be an Array followed with $or.")
    for each in value:
        if not isinstance(each, dict):
            _refuse("Only JSON object is allowed in array of $or relationship.")
        _check_object(each, in_or=True)
    if len(value) < 2:
        _refuse("There must have at least 2 Objects in $or relationship.")


def _check_array(values: list[object]) -> None:
    if not values:
        _refuse("Empty arrays are not allowed")
    for value in values:
        if isinstance(value, list):
            _refuse("Match value must be String, number, true, false, or null")
        if isinstance(value, dict):
            _check_expression(value)


def _check_expression(expression: Mapping[str, object]) -> None:
    if not expression:
        _refuse("Match expression name not found")
    kind, argument = next(iter(expression.items()))
    if kind not in _CHECKS:
        _refuse(f"Unrecognized match type {kind}")
    _CHECKS[kind](argument)
    if len(expression) > 1:
        numeric = kind in {"numeric", "anything-but"}
        _refuse("Too many elements in numeric expression" if numeric else "Only one key allowed in match expression")


def _text(name: str, *, or_ignoring_case: bool = False) -> Callable[[object], None]:
    def check(argument: object) -> None:
        if or_ignoring_case and isinstance(argument, dict) and list(argument) == ["equals-ignore-case"]:
            argument = argument["equals-ignore-case"]
        if not isinstance(argument, str):
            _refuse(f"{name} match pattern must be a string")

    return check


def _check_wildcard(argument: object) -> None:
    if not isinstance(argument, str):
        _refuse("wildcard match pattern must be a string")
    followers: Counter[str] = Counter()
    position = 0
    while position < len(argument):
        letter, following = argument[position], argument[position + 1 : position + 2]
        if letter == "\\":
            if following not in {"*", "\\"}:
                _refuse(f"Invalid escape character at pos {position + 1}")
            position += 1
        elif letter == "*":
            if following == "*":
                _refuse(f"Consecutive wildcard characters at pos {position + 1}")
            followers[following] += 1
        position += 1
    if max(followers.values(), default=0) > _MOST_REPEATED_WILDCARDS:
        _refuse(
            "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a "
            "wildcard character"
        )


def _check_exists(argument: object) -> None:
    if not isinstance(argument, bool):
        _refuse("exists match pattern must be either true or false.")


def _check_cidr(argument: object) -> None:
    if not isinstance(argument, str):
        _refuse("prefix match pattern must be a string")
    address, slash, bits = argument.partition("/")
    if not slash or "/" in bits:
        _refuse("Malformed CIDR, one '/' required")
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError as error:
        raise PatternError(f"Event pattern is not valid. Reason: Nonstandard IP address: {address}") from error
    if not bits.isascii() or not bits.isdigit():
        _refuse("Malformed CIDR, mask bits must be an integer")
    if int(bits) > parsed.max_prefixlen - (1 if parsed.version == 4 else 0):
        _refuse(f"IPv{parsed.version} mask bits must be < {parsed.max_prefixlen}")


def _check_numeric(argument: object) -> None:
    if not isinstance(argument, list):
        _refuse("Value of numeric must be an array.")
    terms = [*argument]
    operator = terms.pop(0) if terms else "]"
    if not isinstance(operator, str) or not argument:
        _refuse(f"Invalid member in numeric match: {_shown(operator)}")
    if operator not in {"=", "<", "<=", ">", ">="}:
        _refuse(f"Unrecognized numeric range operator: {operator}")
    bottom = _number(terms, "equals" if operator == "=" else operator)
    if not terms:
        return
    if operator not in {">", ">="}:
        _refuse("Too many elements in numeric expression")
    second = terms.pop(0)
    if not isinstance(second, str):
        _refuse(f"Bad value in numeric range: {_shown(second)}")
    if second not in {"<", "<="}:
        _refuse(f"Bad numeric range operator: {second}")
    top = _number(terms, second)
    if terms:
        _refuse("Too many terms in numeric range expression")
    if bottom >= top:
        _refuse("Bottom must be less than top")


def _number(terms: list[object], operator: str) -> float:
    value = terms.pop(0) if terms else None
    if not is_number(value):
        _refuse(f"Value of {operator} must be numeric")
    if abs(value) > _LARGEST:
        _refuse("Value must be between -5.0E9 and 5.0E9, inclusive")
    return float(value)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _check_anything_but(argument: object) -> None:
    if isinstance(argument, dict):
        _check_anything_but_expression(argument)
    elif isinstance(argument, list):
        if any(not isinstance(each, str) and not is_number(each) for each in argument):
            _refuse("Inside anything but list, start|null|boolean is not supported.")
        if len({isinstance(each, str) for each in argument}) != 1:
            _refuse("Inside anything but list, either all values are number or string, mixed type is not supported")
    elif not isinstance(argument, str) and not is_number(argument):
        _refuse("Value of anything-but must be an array or single string/number value.")


def _check_anything_but_expression(expression: Mapping[str, object]) -> None:
    if not expression:
        _refuse("Anything-But expression name not found")
    kind, argument = next(iter(expression.items()))
    if kind not in {"prefix", "suffix", "equals-ignore-case", "wildcard"}:
        _refuse(f"Unsupported anything-but pattern: {kind}")
    if isinstance(argument, dict | bool) or argument is None:
        _refuse("Value of anything-but must be an array or single string/number value.")
    texts = argument if isinstance(argument, list) else [argument]
    for text in texts:
        _check_anything_but_text(kind, text)
    if not texts:
        _refuse("Empty arrays are not allowed")
    if len(expression) > 1:
        _refuse("Only one key allowed in match expression")


def _check_anything_but_text(kind: str, text: object) -> None:
    if kind == "wildcard":
        _check_wildcard(text)
    elif kind == "equals-ignore-case":
        if not isinstance(text, str):
            _refuse("Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.")
    elif not isinstance(text, str):
        _refuse("prefix/suffix match pattern must be a string")
    elif not text:
        _refuse("Null prefix/suffix not allowed")


_CHECKS: dict[str, Callable[[object], None]] = {
    "exactly": _text("exact"),
    "prefix": _text("prefix", or_ignoring_case=True),
    "suffix": _text("suffix", or_ignoring_case=True),
    "equals-ignore-case": _text("equals-ignore-case"),
    "wildcard": _check_wildcard,
    "numeric": _check_numeric,
    "anything-but": _check_anything_but,
    "exists": _check_exists,
    "cidr": _check_cidr,
}
