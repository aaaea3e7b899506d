"""Expressions of Insights' queries: ``status >= 500 and @message like /time(d )?out/i``.

Runs in the server process. Authority: CloudWatch Logs User Guide, filter; Supported operations and functions. A
function that is not here is refused by name.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence

from local_account.logs.conditions import ORDERS
from local_account.logs.insights.events import Fields, Value, milliseconds_of, moment
from local_account.logs.insights.tokens import InsightsError, QueryReader, unquoted

Expression = Callable[[Fields], Value]

_SPANS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SUMS: dict[str, Callable[[float, float], float]] = {"+": operator.add, "-": operator.sub}
_PRODUCTS: dict[str, Callable[[float, float], float]] = {
    "*": operator.mul, "/": operator.truediv, "%": math.fmod, "^": operator.pow,
}  # fmt: skip
_DEEPEST = 50


def number_of(value: Value) -> float | None:
    """A number, or text that is one; a condition that holds is 1."""
    if value is None:
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def text_of(value: Value) -> str:
    """A value as a result tells it."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def is_true(value: Value) -> bool:
    """Whether a condition holds."""
    return bool(number_of(value))


def read_expression(reader: QueryReader, depth: int = 0) -> Expression:
    """The expression that comes; raises InsightsError."""
    if depth > _DEEPEST:
        raise InsightsError(f"more than {_DEEPEST} expressions in each other")
    parts = [_both(reader, depth)]
    while reader.took("or"):
        parts.append(_both(reader, depth))
    return parts[0] if len(parts) == 1 else lambda fields: any(is_true(part(fields)) for part in parts)


def _both(reader: QueryReader, depth: int) -> Expression:
    parts = [_denied(reader, depth)]
    while reader.took("and"):
        parts.append(_denied(reader, depth))
    return parts[0] if len(parts) == 1 else lambda fields: all(is_true(part(fields)) for part in parts)


def _denied(reader: QueryReader, depth: int) -> Expression:
    if reader.took("not"):
        if depth > _DEEPEST:
            raise InsightsError(f"more than {_DEEPEST} expressions in each other")
        denied = _denied(reader, depth + 1)
        return lambda fields: not is_true(denied(fields))
    return _compared(reader, depth)


def _compared(reader: QueryReader, depth: int) -> Expression:
    left = _reckoned(reader, depth)
    for words, yes in ((("not", "like"), False), (("like",), True), (("=~",), True)):
        if reader.took(*words):
            return _alike(reader, left, yes=yes)
    for words, yes in ((("not", "in"), False), (("in",), True)):
        if reader.took(*words):
            return _among(reader, left, depth, yes=yes)
    mark = reader.next.text if reader.next.kind == "mark" else ""
    if mark not in {"=", "!=", *ORDERS}:
        return left
    reader.take()
    right = _reckoned(reader, depth)
    if mark in ORDERS:
        ordered = ORDERS[mark]
        return lambda fields: _ordered(ordered, left(fields), right(fields))
    if mark == "=":
        return lambda fields: _same(left(fields), right(fields))
    return lambda fields: _differ(left(fields), right(fields))


def _ordered(ordered: Callable[[float, float], bool], left: Value, right: Value) -> bool:
    first, second = number_of(left), number_of(right)
    return first is not None and second is not None and ordered(first, second)


def _differ(left: Value, right: Value) -> bool:
    """What is missing is neither the same nor another."""
    return left is not None and right is not None and not _same(left, right)


def _same(left: Value, right: Value) -> bool:
    first, second = number_of(left), number_of(right)
    if first is not None and second is not None:
        return first == second
    return left is not None and right is not None and text_of(left) == text_of(right)


def _alike(reader: QueryReader, left: Expression, *, yes: bool) -> Expression:
    token = reader.take()
    if token.kind == "regex":
        expression = compiled(token.text)
        return lambda fields: _holds(left(fields), lambda text: expression.search(text) is not None, yes=yes)
    if token.kind != "text":
        raise InsightsError(f"expected a text or a regular expression after like, got {token.text}")
    part = unquoted(token.text)
    return lambda fields: _holds(left(fields), lambda text: part in text, yes=yes)


def _holds(value: Value, test: Callable[[str], bool], *, yes: bool) -> bool:
    return value is not None and test(text_of(value)) == yes


def compiled(written: str) -> re.Pattern[str]:
    """``/.../`` or ``/.../i``, whose groups may be named as Java names them; raises InsightsError."""
    body = written.removesuffix("i")[1:-1].replace(r"\/", "/")
    try:
        return re.compile(re.sub(r"\(\?<(?=[A-Za-z])", "(?P<", body), re.IGNORECASE if written.endswith("i") else 0)
    except re.error as error:
        raise InsightsError(f"{written} is no regular expression: {error}") from error


def _among(reader: QueryReader, left: Expression, depth: int, *, yes: bool) -> Expression:
    reader.expect("mark", "[")
    items = [read_expression(reader, depth + 1)]
    while reader.took(","):
        items.append(read_expression(reader, depth + 1))
    reader.expect("mark", "]")
    return lambda fields: any(_same(left(fields), item(fields)) for item in items) == yes


def _reckoned(reader: QueryReader, depth: int) -> Expression:
    return _chain(reader, _SUMS, lambda: _chain(reader, _PRODUCTS, lambda: _single(reader, depth)))


def _chain(
    reader: QueryReader, operations: dict[str, Callable[[float, float], float]], part: Callable[[], Expression]
) -> Expression:
    found = part()
    while reader.next.kind == "mark" and reader.next.text in operations:
        operation = operations[reader.take().text]
        found = _applied(operation, found, part())
    return found


def _applied(operation: Callable[[float, float], float], left: Expression, right: Expression) -> Expression:
    def value(fields: Fields) -> Value:
        first, second = number_of(left(fields)), number_of(right(fields))
        if first is None or second is None:
            return None
        try:
            return operation(first, second)
        except (ZeroDivisionError, OverflowError, ValueError):
            return None

    return value


def _single(reader: QueryReader, depth: int) -> Expression:
    token = reader.take()
    if token.kind == "mark" and token.text == "(":
        inner = read_expression(reader, depth + 1)
        reader.expect("mark", ")")
        return inner
    if token.kind == "mark" and token.text == "-":
        return _applied(operator.sub, lambda _fields: 0.0, _single(reader, depth))
    if token.kind == "text":
        text = unquoted(token.text)
        return lambda _fields: text
    if token.kind == "number":
        number = float(token.text)
        return lambda _fields: number
    if token.kind != "name":
        raise InsightsError(f"unexpected symbol found {token.text or 'at the end of the query'}")
    if reader.next.text == "(" and token.text[0] != "`":
        return _call(reader, token.text.lower(), depth)
    name = unquoted(token.text) if token.text[0] == "`" else re.sub(r"\[(\d+)\]", r".\1", token.text)
    return lambda fields: fields.get(name)


def _call(reader: QueryReader, name: str, depth: int) -> Expression:
    reader.expect("mark", "(")
    if name in {"bin", "datefloor"}:
        return _floor(reader, name, depth)
    if name not in _FUNCTIONS:
        raise InsightsError(f"The stand-in account does not know the function {name}: it knows {', '.join(_FUNCTIONS)}")
    arguments: list[Expression] = []
    while not reader.took(")"):
        if arguments:
            reader.expect("mark", ",")
        arguments.append(read_expression(reader, depth + 1))
    function, fewest, most = _FUNCTIONS[name]
    if not fewest <= len(arguments) <= most:
        raise InsightsError(f"{name} takes {fewest if fewest == most else f'{fewest} to {most}'} values")
    return lambda fields: function([argument(fields) for argument in arguments])


def _floor(reader: QueryReader, name: str, depth: int) -> Expression:
    """``bin(5m)`` and ``datefloor(@timestamp, 5m)``: the begin of the span that a time is in."""
    time: Expression = lambda fields: fields.get("@timestamp")  # noqa: E731  # as the other branch reads it
    if name == "datefloor":
        time = read_expression(reader, depth + 1)
        reader.expect("mark", ",")
    token = reader.expect("span")
    reader.expect("mark", ")")
    amount, unit = re.fullmatch(r"(\d+)(\w+)", token.text).groups()  # type: ignore[union-attr]  # the token is one
    if unit not in _SPANS_MS or int(amount) == 0:
        raise InsightsError(f"{token.text} is no span of time: expected a number and one of {', '.join(_SPANS_MS)}")
    span = int(amount) * _SPANS_MS[unit]

    def value(fields: Fields) -> Value:
        at = milliseconds_of(text_of(time(fields)))
        return None if at is None else moment(at // span * span)

    return value


def _numeric(function: Callable[[float], float]) -> Callable[[Sequence[Value]], Value]:
    def value(values: Sequence[Value]) -> Value:
        number = number_of(values[0])
        return None if number is None else float(function(number))

    return value


def _substr(values: Sequence[Value]) -> Value:
    text, begin = text_of(values[0]), int(number_of(values[1]) or 0)
    return text[begin : begin + int(number_of(values[2]) or 0)] if len(values) > 2 else text[begin:]


_FUNCTIONS: dict[str, tuple[Callable[[Sequence[Value]], Value], int, int]] = {
    "abs": (_numeric(abs), 1, 1),
    "ceil": (_numeric(math.ceil), 1, 1),
    "floor": (_numeric(math.floor), 1, 1),
    "greatest": (lambda v: max((n for n in map(number_of, v) if n is not None), default=None), 1, 100),
    "least": (lambda v: min((n for n in map(number_of, v) if n is not None), default=None), 1, 100),
    "coalesce": (lambda v: next((each for each in v if each is not None), None), 1, 100),
    "concat": (lambda v: "".join(map(text_of, v)), 1, 100),
    "isblank": (lambda v: not text_of(v[0]).strip(), 1, 1),
    "isempty": (lambda v: not text_of(v[0]), 1, 1),
    "ispresent": (lambda v: v[0] is not None, 1, 1),
    "replace": (lambda v: text_of(v[0]).replace(text_of(v[1]), text_of(v[2])), 3, 3),
    "strcontains": (lambda v: text_of(v[1]) in text_of(v[0]), 2, 2),
    "strlen": (lambda v: float(len(text_of(v[0]))), 1, 1),
    "substr": (_substr, 2, 3),
    "tolower": (lambda v: text_of(v[0]).lower(), 1, 1),
    "toupper": (lambda v: text_of(v[0]).upper(), 1, 1),
    "trim": (lambda v: text_of(v[0]).strip(), 1, 1),
}
"""What each answers, and the fewest and most values that it takes."""
