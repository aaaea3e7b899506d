"""Filter patterns of CloudWatch Logs: which events they match, and the fields that they find in them.

Runs in the server process, for FilterLogEvents, metric filters, subscriptions and TestMetricFilter. A pattern is terms
(``ERROR -DEBUG``, ``?ERROR ?WARN``, ``"a phrase"``, ``%regex%``), or is for events that are JSON
(``{ $.status >= 500 }``) or words (``[ip, user, status=4*, ...]``). Authority: Amazon CloudWatch Logs User Guide,
Filter pattern syntax.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from local_account.logs.conditions import (
    FilterPatternError,
    Lookup,
    Test,
    parse_conditions,
    regular_expression,
    unquoted,
)

REST = "..."
_TERM = re.compile(r'\s*([?-]?)("(?:[^"\\]|\\.)*"|%[^%]*%|[^\s"]+)')
_STEP = re.compile(r"\.?\['([^']*)'\]|\[(\d+|\*)\]|\.([\w:@-]+)")
_WORD = re.compile(r'\[([^\]]*)\]|"((?:[^"\\]|\\.)*)"|(\S+)')
_NAME = re.compile(r"[A-Za-z_$][\w$]*")
_NOTHING: Sequence[object] = ()


@dataclass(frozen=True)
class MatchedEvent:
    """An event that a pattern matches, and the fields that the pattern names."""

    lookup: Lookup
    names: tuple[str, ...] = ()

    def value(self, selector: str) -> object | None:
        """What ``$.field``, or ``$field`` of an event of words, selects; None where there is nothing."""
        found = self.lookup(selector)
        return found[0] if found else None

    def extracted(self) -> dict[str, str]:
        """The fields that the pattern names, as TestMetricFilter tells them."""
        values = {name if name.startswith("$") else f"${name}": self.value(name) for name in self.names}
        return {name: _told(value) for name, value in values.items() if value is not None}


Matcher = Callable[[str], MatchedEvent | None]


@functools.lru_cache(maxsize=512)
def parse_pattern(pattern: str) -> Matcher:
    """What finds the events that a pattern matches; raises FilterPatternError."""
    text = pattern.strip()
    if text.startswith("{"):
        return _json_pattern(text)
    if text.startswith("["):
        return _words_pattern(text)
    return _terms_pattern(text)


def _nothing(_name: str) -> Sequence[object]:
    return _NOTHING


def _terms_pattern(text: str) -> Matcher:
    terms = _terms(text)
    required = [test for mark, test in terms if not mark]
    excluded = [test for mark, test in terms if mark == "-"]
    # Beside terms that must or must not be there, those of which any would do are ignored.
    any_of = [] if required or excluded else [test for mark, test in terms if mark == "?"]

    def match(message: str) -> MatchedEvent | None:
        found = all(test(message) for test in required) and not any(test(message) for test in excluded)
        return MatchedEvent(_nothing) if found and (not any_of or any(test(message) for test in any_of)) else None

    return match


def _terms(text: str) -> list[tuple[str, Callable[[str], bool]]]:
    terms, at = [], 0
    while at < len(text):
        found = _TERM.match(text, at)
        if found is None:
            raise FilterPatternError(f"cannot read {text[at:].strip()!r}")
        terms.append((found[1], _term(found[2])))
        at = found.end()
    return terms


def _term(text: str) -> Callable[[str], bool]:
    if text.startswith("%") and text.endswith("%") and len(text) > 1:
        expression = regular_expression(text[1:-1])
        return lambda message: expression.search(message) is not None
    wanted = unquoted(text) if text.startswith('"') else text
    return lambda message: wanted in message


def _json_pattern(text: str) -> Matcher:
    if not text.endswith("}"):
        raise FilterPatternError("a brace is not closed")
    test, names = parse_conditions(text[1:-1])
    for name in names:
        _steps(name)

    def match(message: str) -> MatchedEvent | None:
        try:
            document = json.loads(message)
        except (ValueError, RecursionError):
            return None
        if not isinstance(document, dict | list):
            return None

        def lookup(name: str) -> Sequence[object]:
            return _selected(document, _steps(name))

        return MatchedEvent(lookup, names) if test(lookup) else None

    return match


@functools.lru_cache(maxsize=512)
def _steps(selector: str) -> tuple[str | int | None, ...]:
    """The parts of ``$.a['b'][0]``, None for ``[*]``; raises FilterPatternError."""
    steps, at = [], 1
    while selector.startswith("$") and at < len(selector):
        found = _STEP.match(selector, at)
        if found is None:
            break
        quoted, index, name = found.groups()
        position = None if index == "*" else int(index or 0)
        steps.append(position if index is not None else name if quoted is None else quoted)
        at = found.end()
    if at < len(selector) or not steps:
        raise FilterPatternError(f"{selector} selects nothing: expected $.name, $.name[0] or $.['a name']")
    return tuple(steps)


def _selected(document: object, steps: Sequence[str | int | None]) -> Sequence[object]:
    found = [document]
    for step in steps:
        below: list[object] = []
        for each in found:
            if isinstance(step, str):
                below += [each[step]] if isinstance(each, Mapping) and step in each else []
            elif isinstance(each, list):
                below += each if step is None else each[step : step + 1]
        found = below
    return found


@dataclass(frozen=True)
class _Field:
    """A place of an event of words: its name, and what its word has to be."""

    name: str
    test: Test


def _words_pattern(text: str) -> Matcher:
    if not text.endswith("]"):
        raise FilterPatternError("a bracket is not closed")
    parts = [part.strip() for part in _split(text[1:-1])] if text[1:-1].strip() else [REST]
    if parts.count(REST) > 1:
        raise FilterPatternError("... stands for any words once")
    rest = parts.index(REST) if REST in parts else None
    fields = [_field(part) for part in parts if part != REST]
    names = tuple(each.name for each in fields)
    if len(set(names)) < len(names):
        raise FilterPatternError("two fields have one name")

    def match(message: str) -> MatchedEvent | None:
        words = [next(part for part in found.groups() if part is not None) for found in _WORD.finditer(message)]
        if (rest is None and len(words) != len(fields)) or len(words) < len(fields):
            return None
        ends = len(fields) - rest if rest is not None else 0
        placed = words[: len(fields) - ends] + (words[len(words) - ends :] if ends else [])
        values = dict(zip(names, placed, strict=True))

        def lookup(name: str) -> Sequence[object]:
            known = values.get(name, values.get(name.removeprefix("$")))
            return _NOTHING if known is None else (known,)

        return MatchedEvent(lookup, names) if all(each.test(lookup) for each in fields) else None

    return match


def _split(text: str) -> list[str]:
    """At the commas that are in no quotation marks and no regular expression."""
    return re.findall(r'(?:"(?:[^"\\]|\\.)*"|%[^%]*%|[^,"%])+', text)


def _field(part: str) -> _Field:
    if _NAME.fullmatch(part):
        return _Field(part, lambda _lookup: True)
    test, names = parse_conditions(part)
    if len(names) != 1 or _NAME.fullmatch(names[0]) is None:
        raise FilterPatternError(f"{part!r} has to be one field's name, and may have conditions on it")
    return _Field(names[0], test)


def _told(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
