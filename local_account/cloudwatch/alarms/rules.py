"""The rule of a composite alarm: which states of other alarms make it alarm.

Runs in the server process, on values. Source: CloudWatch API reference, PutCompositeAlarm: ALARM(), OK(),
INSUFFICIENT_DATA(), TRUE, FALSE, AND, OR, NOT and parentheses. AND binds more than OR.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from local_account.base.arns import read_arn

States = Mapping[str, str]
"""The states of alarms by their names."""
_TOKEN = re.compile(r"""\s*(?:(?P<sign>[(),])|"(?P<quoted>[^"]+)"|(?P<word>[^\s(),"]+))""")
_STATES = ("ALARM", "OK", "INSUFFICIENT_DATA")
_DEEPEST = 50  # levels of parentheses and NOT; AWS bounds a rule to 500 elements


class AlarmRuleError(ValueError):
    """A text that is no rule."""


class RulePart(Protocol):
    """A part of a rule."""

    def holds(self, states: States) -> bool:
        """Whether it is true."""

    def tests(self) -> Iterator[StateTest]:
        """What it asks of which alarm."""

    def deciding(self, states: States) -> Iterator[StateTest]:
        """What it asks of those alarms that make it true, or false, as it is."""


@dataclass(frozen=True)
class StateTest:
    """Whether an alarm has a state. ``alarm``: its name, or its ARN as the rule has it."""

    state: str
    alarm: str

    @property
    def name(self) -> str:
        """The alarm's name."""
        arn = read_arn(self.alarm)
        return arn.name if arn else self.alarm

    def holds(self, states: States) -> bool:
        """Whether it is true; nothing is true of an alarm that is not there."""
        return states.get(self.name) == self.state

    def tests(self) -> Iterator[StateTest]:
        """Itself."""
        yield self

    def deciding(self, states: States) -> Iterator[StateTest]:  # noqa: ARG002  # any part's form
        """Itself."""
        yield self


@dataclass(frozen=True)
class Always:
    """TRUE or FALSE."""

    value: bool

    def holds(self, states: States) -> bool:  # noqa: ARG002  # any part's form
        """Whether it is true, whatever the states are."""
        return self.value

    def tests(self) -> Iterator[StateTest]:
        """Nothing."""
        yield from ()

    def deciding(self, states: States) -> Iterator[StateTest]:  # noqa: ARG002  # any part's form
        """Nothing."""
        yield from ()


@dataclass(frozen=True)
class Not:
    """The contrary of a part."""

    part: RulePart

    def holds(self, states: States) -> bool:
        """Whether the part is not true."""
        return not self.part.holds(states)

    def tests(self) -> Iterator[StateTest]:
        """What the part asks."""
        yield from self.part.tests()

    def deciding(self, states: States) -> Iterator[StateTest]:
        """What decides the part."""
        yield from self.part.deciding(states)


@dataclass(frozen=True)
class Joined:
    """Several parts, all of which (AND) or one of which (OR) has to be true."""

    all_of: bool
    parts: Sequence[RulePart]

    def holds(self, states: States) -> bool:
        """Whether they are true together."""
        return (all if self.all_of else any)(part.holds(states) for part in self.parts)

    def tests(self) -> Iterator[StateTest]:
        """What the parts ask."""
        for part in self.parts:
            yield from part.tests()

    def deciding(self, states: States) -> Iterator[StateTest]:
        """What decides those parts that are as all of it is."""
        holds = self.holds(states)
        for part in self.parts:
            if part.holds(states) == holds:
                yield from part.deciding(states)


def read_rule(text: str) -> RulePart:
    """The rule that a text is; raises AlarmRuleError."""
    reader = _RuleReader(_tokens(text))
    rule = reader.any_of(0)
    if reader.left:
        raise AlarmRuleError(f"unexpected {reader.left[0].text!r}")
    return rule


@dataclass(frozen=True)
class _RuleToken:
    text: str
    quoted: bool = False


def _tokens(text: str) -> list[_RuleToken]:
    found, at, text = [], 0, text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise AlarmRuleError(f"unexpected {text[at:].strip()[:20]!r}")
        found.append(_RuleToken(match["quoted"] or match["sign"] or match["word"], match["quoted"] is not None))
        at = match.end()
    return found


class _RuleReader:
    """Reads a rule from left to right; ``left`` is what has not been read."""

    def __init__(self, tokens: Sequence[_RuleToken]) -> None:
        self.left = list(tokens)

    def any_of(self, depth: int) -> RulePart:
        parts = [self.all_of(depth)]
        while self._took("OR"):
            parts.append(self.all_of(depth))
        return Joined(False, parts) if len(parts) > 1 else parts[0]

    def all_of(self, depth: int) -> RulePart:
        parts = [self._part(depth)]
        while self._took("AND"):
            parts.append(self._part(depth))
        return Joined(True, parts) if len(parts) > 1 else parts[0]

    def _part(self, depth: int) -> RulePart:
        if depth > _DEEPEST:
            raise AlarmRuleError("it is nested too deeply")
        if self._took("NOT"):
            return Not(self._part(depth + 1))
        if self._took("("):
            inner = self.any_of(depth + 1)
            self._demand(")")
            return inner
        word = self._next()
        if word.text in ("TRUE", "FALSE"):
            return Always(word.text == "TRUE")
        if word.quoted or word.text not in _STATES:
            raise AlarmRuleError(f"expected ALARM(), OK(), INSUFFICIENT_DATA(), TRUE or FALSE, got {word.text!r}")
        self._demand("(")
        alarm = self._next()
        if not alarm.quoted and alarm.text in "(),":
            raise AlarmRuleError(f"expected the name or the ARN of an alarm, got {alarm.text!r}")
        self._demand(")")
        return StateTest(word.text, alarm.text)

    def _took(self, text: str) -> bool:
        there = bool(self.left) and self.left[0] == _RuleToken(text)
        if there:
            self.left.pop(0)
        return there

    def _next(self) -> _RuleToken:
        if not self.left:
            raise AlarmRuleError("it ends too early")
        return self.left.pop(0)

    def _demand(self, text: str) -> None:
        if not self._took(text):
            raise AlarmRuleError(f"expected {text!r}, got {self.left[0].text if self.left else 'its end'!r}")
