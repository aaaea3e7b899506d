"""Conditions on the fields of a log event, as filter patterns write them: ``($.status >= 500) || $.error IS TRUE``.

Runs in the server process. Authority: Amazon CloudWatch Logs User Guide, Filter pattern syntax. Text in, a test of an
event's fields out; which fields an event has is `filter_patterns`' matter.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

Lookup = Callable[[str], Sequence[object]]
"""All values that a field's name selects in an event: none where it lacks the field."""
Test = Callable[[Lookup], bool]


class FilterPatternError(ValueError):
    """A filter pattern that CloudWatch Logs does not take."""


_TOKEN = re.compile(
    r"""\s*(?:
        (?P<mark>&&|\|\||!=|<=|>=|=|<|>|\(|\))
      | (?P<text>"(?:[^"\\]|\\.)*")
      | (?P<regex>%[^%]*%)
      | (?P<word>\$(?:\.?\['[^']*'\]|\[\d+\]|\[\*\]|\.[\w:@-]+)+ | (?:[^\s()=<>!&|"%]|(?<!\s)%)+)
    )""",
    re.VERBOSE,
)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
# "Filter patterns with regex can only include the following": no groups, no characters of several bytes.
_REGEX = re.compile(r"[A-Za-z0-9_#=@/;,\-^$?\[\]{}|\\*+.:\s]*")
ORDERS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge,
}  # fmt: skip
_NESTED = 20  # parentheses in parentheses


def regular_expression(text: str) -> re.Pattern[str]:
    """What stands between two percent signs; raises FilterPatternError."""
    if _REGEX.fullmatch(text) is None:
        raise FilterPatternError(f"%{text}% has characters that a regular expression of a filter pattern may not have")
    try:
        return re.compile(text)
    except re.error as error:
        raise FilterPatternError(f"%{text}% is no regular expression: {error}") from error


def unquoted(text: str) -> str:
    """What stands between quotation marks."""
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def parse_conditions(text: str) -> tuple[Test, tuple[str, ...]]:
    """A test of an event's fields, and the fields that it names; raises FilterPatternError."""
    parser = _Parser(list(_tokens(text)))
    test = parser.either(0)
    parser.expect_end()
    return test, tuple(dict.fromkeys(parser.fields))


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise FilterPatternError(f"cannot read {text[at:].strip()!r}")
        yield found.lastgroup, found.group(found.lastgroup)
        at = found.end()


@dataclass
class _Parser:
    """Reads tokens from the left: ``or`` of ``and`` of conditions and parentheses."""

    tokens: list[tuple[str, str]]
    at: int = 0
    fields: list[str] = field(default_factory=list)

    def either(self, depth: int) -> Test:
        """One of several."""
        tests = [self._both(depth)]
        while self._took("||"):
            tests.append(self._both(depth))
        return tests[0] if len(tests) == 1 else lambda lookup: any(test(lookup) for test in tests)

    def expect_end(self) -> None:
        """Raise FilterPatternError when something is left."""
        if self.at < len(self.tokens):
            raise FilterPatternError(f"did not expect {self.tokens[self.at][1]!r}")

    def _both(self, depth: int) -> Test:
        tests = [self._one(depth)]
        while self._took("&&"):
            tests.append(self._one(depth))
        return tests[0] if len(tests) == 1 else lambda lookup: all(test(lookup) for test in tests)

    def _one(self, depth: int) -> Test:
        if not self._took("("):
            return self._condition()
        if depth >= _NESTED:
            raise FilterPatternError(f"more than {_NESTED} parentheses in each other")
        test = self.either(depth + 1)
        if not self._took(")"):
            raise FilterPatternError("a parenthesis is not closed")
        return test

    def _condition(self) -> Test:
        name = self._next("word", "a field")
        self.fields.append(name)
        kind, mark = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        if kind == "word":
            return self._state(name)
        if mark not in {"=", "!=", *ORDERS}:
            raise FilterPatternError(f"expected a comparison after {name}, got {mark or 'its end'}")
        self.at += 1
        if self.at >= len(self.tokens):
            raise FilterPatternError(f"expected a value after {name} {mark}, got its end")
        kind, text = self.tokens[self.at]
        self.at += 1
        holds = _comparison(mark, kind, text)
        return lambda lookup: any(holds(found) for found in lookup(name))

    def _state(self, name: str) -> Test:
        """``IS NULL``, ``IS TRUE``, ``IS FALSE``, ``EXISTS`` and ``NOT EXISTS``."""
        word = self._next("word", "a state").upper()
        if word == "EXISTS":
            return lambda lookup: bool(lookup(name))
        state = self._next("word", "a state").upper()
        if (word, state) == ("NOT", "EXISTS"):
            return lambda lookup: not lookup(name)
        wanted = {"NULL": None, "TRUE": True, "FALSE": False}
        if word != "IS" or state not in wanted:
            raise FilterPatternError(f"{name} {word} {state} is no condition")
        return lambda lookup: any(found is wanted[state] for found in lookup(name))

    def _took(self, mark: str) -> bool:
        there = self.at < len(self.tokens) and self.tokens[self.at] == ("mark", mark)
        self.at += there
        return there

    def _next(self, kind: str, what: str) -> str:
        found = self.tokens[self.at] if self.at < len(self.tokens) else ("", "its end")
        if found[0] != kind:
            raise FilterPatternError(f"expected {what}, got {found[1]}")
        self.at += 1
        return found[1]


def _comparison(mark: str, kind: str, text: str) -> Callable[[object], bool]:
    number = float(text) if kind == "word" and _NUMBER.fullmatch(text) else None
    if mark in ORDERS:
        if number is None:
            raise FilterPatternError(f"{mark} compares numbers, got {text}")
        ordered, limit = ORDERS[mark], number
        return lambda found: (value := _number(found)) is not None and ordered(value, limit)
    equal = _equality(kind, text, number)
    return equal if mark == "=" else lambda found: not equal(found)


def _equality(kind: str, text: str, number: float | None) -> Callable[[object], bool]:
    if kind == "mark":
        raise FilterPatternError(f"expected a value, got {text}")
    if kind == "regex":
        expression = regular_expression(text[1:-1])
        return lambda found: isinstance(found, str) and expression.search(found) is not None
    if number is not None:
        wanted = number
        return lambda found: _number(found) == wanted or found == text
    parts = (unquoted(text) if kind == "text" else text).split("*")
    whole = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)
    return lambda found: whole.fullmatch(_written(found)) is not None


def _number(found: object) -> float | None:
    """A number, or a word of a line that is one."""
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        return None
    if isinstance(found, str) and _NUMBER.fullmatch(found) is None:
        return None
    return float(found)


def _written(found: object) -> str:
    return str(found).lower() if isinstance(found, bool) else str(found)
