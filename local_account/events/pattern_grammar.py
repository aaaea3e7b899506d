"""What an event pattern may be: EventBridge's grammar, checked when a rule or an archive comes, in its own words.

Runs in the server process. Authority: the compiler of github.com/aws/event-ruler, which EventBridge runs; of what it
counts as too complex only the common case is known: many wildcards before the same character.
"""

from __future__ import annotations

import ipaddress
import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeGuard

from local_account.events.pattern_source import Placed, fault, place, placed

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


class _MisplacedError(Exception):
    """What is wrong, and the offsets in the pattern's text that the error tells."""

    def __init__(self, reason: str, *offsets: int) -> None:
        super().__init__(reason)
        self.reason, self.offsets = reason, offsets


def _refuse(reason: str, *offsets: int) -> NoReturn:
    raise _MisplacedError(reason, *offsets)


def parse_pattern(text: str) -> dict[str, object]:
    """The pattern of its JSON text; raises PatternError."""
    try:
        pattern: dict[str, object] = json.loads(
            text, parse_constant=lambda name: _refuse(f"Unrecognized token '{name}'")
        )
        root = placed(text)
        if not isinstance(root.value, dict):
            _refuse("Filter is not an object", root.seen)
        _check_object(root, root.value, in_or=False)
    except _MisplacedError as error:
        raise _invalid(error.reason + "".join(place(text, offset) for offset in error.offsets)) from error
    except RecursionError as error:
        raise _invalid("Rule is nested too deeply") from error
    except ValueError as error:
        raise _invalid(fault(text, error)) from error
    return pattern


def _refuse_constant(name: str) -> NoReturn:
    _refuse(f"Unrecognized token '{name}'")


def _invalid(reason: str) -> PatternError:
    return PatternError(f"Event pattern is not valid. Reason: {reason}")


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value of JSON is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_object(node: Placed, members: dict[str, Placed], *, in_or: bool) -> None:
    if not members:
        _refuse("Empty objects are not allowed", node.end)
    for key, member in members.items():
        if key == "$or":
            _check_or(member)
        elif in_or and key in _RESERVED:
            _refuse(f"{key} is Ruler reserved fieldName which cannot be used inside $or.", member.seen)
        elif isinstance(member.value, dict):
            _check_object(member, member.value, in_or=in_or)
        elif isinstance(member.value, list):
            _check_array(member, member.value)
        else:
            _refuse(f'"{key}" must be an object or an array', member.seen)


def _check_or(node: Placed) -> None:
    if not isinstance(node.value, list):
        _refuse("It must be an Array followed with $or.", node.seen)
    for each in node.value:
        if not isinstance(each.value, dict):
            _refuse("Only JSON object is allowed in array of $or relationship.", each.seen)
        _check_object(each, each.value, in_or=True)
    if len(node.value) < 2:
        _refuse("There must have at least 2 Objects in $or relationship.", node.end)


def _check_array(node: Placed, values: Sequence[Placed]) -> None:
    if not values:
        _refuse("Empty arrays are not allowed", node.end)
    for each in values:
        if isinstance(each.value, list):
            _refuse("Match value must be String, number, true, false, or null", each.seen)
        if isinstance(each.value, dict):
            _check_expression(each, each.value)


def _check_expression(node: Placed, expression: dict[str, Placed]) -> None:
    if not expression:
        _refuse("Match expression name not found", node.end)
    (kind, argument), *others = expression.items()
    if kind not in _CHECKS:
        _refuse(f"Unrecognized match type {kind}", argument.seen)
    _CHECKS[kind](argument)
    if others:
        numeric = kind in {"numeric", "anything-but"}
        words = "Too many elements in numeric expression" if numeric else "Only one key allowed in match expression"
        _refuse(words, others[0][1].seen)


def _text(name: str, *, or_ignoring_case: bool = False) -> Callable[[Placed], None]:
    def check(node: Placed) -> None:
        if or_ignoring_case and isinstance(node.value, dict) and list(node.value) == ["equals-ignore-case"]:
            node = node.value["equals-ignore-case"]
        if not isinstance(node.value, str):
            _refuse(f"{name} match pattern must be a string", node.seen)

    return check


def _check_wildcard(node: Placed) -> None:
    if not isinstance(node.value, str):
        _refuse("wildcard match pattern must be a string", node.seen)
    followers: Counter[str] = Counter()
    text, position = node.value, 0
    while position < len(text):
        letter, following = text[position], text[position + 1 : position + 2]
        if letter == "\\":
            if following not in {"*", "\\"}:
                _refuse(f"Invalid escape character at pos {position + 1}", node.end)
            position += 1
        elif letter == "*":
            if following == "*":
                _refuse(f"Consecutive wildcard characters at pos {position + 1}", node.end)
            followers[following] += 1
        position += 1
    if max(followers.values(), default=0) > _MOST_REPEATED_WILDCARDS:
        _refuse(
            "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a "
            "wildcard character"
        )


def _check_exists(node: Placed) -> None:
    if not isinstance(node.value, bool):
        _refuse("exists match pattern must be either true or false.", node.seen)


def _check_cidr(node: Placed) -> None:
    argument = node.value
    if not isinstance(argument, str):
        _refuse("prefix match pattern must be a string", node.seen)
    address, slash, bits = argument.partition("/")
    if not slash or "/" in bits:
        _refuse("Malformed CIDR, one '/' required")
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        _refuse(f"Nonstandard IP address: {address}")
    if not bits.isascii() or not bits.isdigit():
        _refuse("Malformed CIDR, mask bits must be an integer")
    if int(bits) > parsed.max_prefixlen - (1 if parsed.version == 4 else 0):
        _refuse(f"IPv{parsed.version} mask bits must be < {parsed.max_prefixlen}")


def _check_numeric(node: Placed) -> None:
    if not isinstance(node.value, list):
        _refuse("Value of numeric must be an array.", node.seen)
    terms = [*node.value]
    first = terms.pop(0) if terms else Placed("]", node.end, node.end)
    if not isinstance(first.value, str) or not node.value:
        _refuse(f"Invalid member in numeric match: {_shown(first.value)}", first.end)
    if first.value not in {"=", "<", "<=", ">", ">="}:
        _refuse(f"Unrecognized numeric range operator: {first.value}", first.end)
    bottom = _number(node, terms, "equals" if first.value == "=" else first.value)
    if not terms:
        return
    second = terms.pop(0)
    if first.value not in {">", ">="}:
        _refuse("Too many elements in numeric expression", second.seen)
    if not isinstance(second.value, str):
        _refuse(f"Bad value in numeric range: {_shown(second.value)}", second.end)
    if second.value not in {"<", "<="}:
        _refuse(f"Bad numeric range operator: {second.value}", second.end)
    top = _number(node, terms, second.value)
    if terms:
        _refuse("Too many terms in numeric range expression", terms[0].seen)
    if bottom >= top:
        _refuse("Bottom must be less than top", node.end)


def _number(node: Placed, terms: list[Placed], operator: str) -> float:
    found = terms.pop(0) if terms else Placed(None, node.end, node.end)
    if not is_number(found.value):
        _refuse(f"Value of {operator} must be numeric", found.seen)
    if abs(found.value) > _LARGEST:
        _refuse("Value must be between -5.0E9 and 5.0E9, inclusive", found.seen)
    return float(found.value)


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    return "{" if isinstance(value, dict) else "[" if isinstance(value, list) else json.dumps(value)


def _check_anything_but(node: Placed) -> None:
    value = node.value
    if isinstance(value, dict):
        _check_anything_but_expression(node, value)
    elif isinstance(value, list):
        for each in value:
            if not isinstance(each.value, str) and not is_number(each.value):
                _refuse("Inside anything but list, start|null|boolean is not supported.", each.seen)
        if len({isinstance(each.value, str) for each in value}) != 1:
            words = "Inside anything but list, either all values are number or string, mixed type is not supported"
            _refuse(words, node.end)
    elif not isinstance(value, str) and not is_number(value):
        _refuse("Value of anything-but must be an array or single string/number value.", node.seen)


def _check_anything_but_expression(node: Placed, expression: dict[str, Placed]) -> None:
    if not expression:
        _refuse("Anything-But expression name not found", node.end)
    (kind, argument), *others = expression.items()
    if kind not in {"prefix", "suffix", "equals-ignore-case", "wildcard"}:
        _refuse(f"Unsupported anything-but pattern: {kind}", argument.seen)
    if isinstance(argument.value, dict | bool) or argument.value is None:
        _refuse("Value of anything-but must be an array or single string/number value.", argument.seen)
    if isinstance(argument.value, list):
        _check_anything_but_list(kind, argument, argument.value)
    else:
        _check_anything_but_text(kind, argument)
    if others:
        _refuse("Only one key allowed in match expression", others[0][1].seen)


def _check_anything_but_list(kind: str, node: Placed, values: Sequence[Placed]) -> None:
    try:
        for each in values:
            _check_anything_but_text(kind, each)
        if not values:
            _refuse("Empty arrays are not allowed", node.end)
    except _MisplacedError as error:  # in a list the place is told twice: a recorded answer
        _refuse(error.reason, *error.offsets, *error.offsets)


def _check_anything_but_text(kind: str, node: Placed) -> None:
    if kind == "wildcard":
        _check_wildcard(node)
    elif kind == "equals-ignore-case":
        if not isinstance(node.value, str):
            words = "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported."
            _refuse(words, node.seen)
    elif not isinstance(node.value, str):
        _refuse("prefix/suffix match pattern must be a string", node.seen)
    elif not node.value:
        _refuse("Null prefix/suffix not allowed", node.end)


_CHECKS: dict[str, Callable[[Placed], None]] = {
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
