"""Comparisons of a Choice in JSONPath.

Runs in the server process. moto knows no timestamps but those of whole seconds in UTC, takes ``[`` and ``?`` in
StringMatches for wildcards, and has the two sides the wrong way round where the second is a variable
(states-language.net, "Data-test expression", "Timestamps").
"""

from __future__ import annotations

import datetime
import operator
import re
from collections.abc import Callable
from functools import lru_cache

from moto.stepfunctions.parser.asl.component.state.choice.comparison.comparison_func import (
    ComparisonFuncStringVariableSample,
    ComparisonFuncValue,
)
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.utils.json_path import extract_json

from local_account.stepfunctions.language.components import component

_NAME = re.compile(r"(String|Numeric|Boolean|Timestamp)(Equals|(?:Greater|Less)Than(?:Equals)?)(Path)?")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_WILD = re.compile(r"\\\\|\\\*|\*|[^\\*]+|\\", re.DOTALL)
_RELATIONS: dict[str, Callable[..., bool]] = {
    "Equals": operator.eq,
    "GreaterThan": operator.gt,
    "GreaterThanEquals": operator.ge,
    "LessThan": operator.lt,
    "LessThanEquals": operator.le,
}
TYPES: dict[str, tuple[type, ...]] = {"String": (str,), "Numeric": (int, float), "Boolean": (bool,)}


@component
class ValueComparison(ComparisonFuncValue):
    """One comparison: with a literal, or with what a path finds in the state's input."""

    def _eval_body(self, env: Environment) -> None:
        name = self.operator_type.name
        path = name.endswith("Path")
        if path and str(self.value).startswith("$$"):
            context = env.states.context_object.context_object_data
            found = compared(name, env.stack.pop(), extract_json(str(self.value)[1:], context))
        elif path:
            found = compared(name, env.stack.pop(), extract_json(str(self.value), env.stack[-1]))
        else:
            found = compared(name, env.stack[-1], self.value)
            if found is not None:
                env.stack.pop()
        if found is None:
            super()._eval_body(env)
        else:
            env.stack.append(found)


@component
class VariableComparison(ComparisonFuncStringVariableSample):
    """A comparison with a variable."""

    def _eval_body(self, env: Environment) -> None:
        value = env.stack.pop()
        self.string_variable_sample.eval(env=env)
        env.stack.append(compared(self.operator_type.name, value, env.stack.pop()) or False)


def compared(name: str, value: object, other: object) -> bool | None:
    """What the comparison of this name comes to; None for one that is not about two values."""
    if name == "IsTimestamp":
        return (timestamp(value) is not None) is other
    if name == "StringMatches":
        return isinstance(value, str) and bool(_pattern(str(other)).fullmatch(value))
    known = _NAME.fullmatch(name)
    if known is None:
        return None
    kind, relation = known[1], _RELATIONS[known[2]]
    left, right = _of_kind(kind, value), _of_kind(kind, other)
    return left is not None and right is not None and relation(left, right)


def timestamp(value: object) -> datetime.datetime | None:
    """The moment that a text of RFC 3339 names; None for anything else."""
    if not isinstance(value, str) or not _TIMESTAMP.fullmatch(value):
        return None
    try:
        return datetime.datetime.fromisoformat(value)
    except ValueError:
        return None


def _of_kind(kind: str, value: object) -> object:
    if kind == "Timestamp":
        return timestamp(value)
    fits = isinstance(value, TYPES[kind]) and (kind == "Boolean" or not isinstance(value, bool))
    return value if fits else None


@lru_cache(maxsize=1024)
def _pattern(wild: str) -> re.Pattern[str]:
    """``*`` stands for any characters; a backslash before it, or before a backslash, takes it as it is."""
    pieces = (".*" if part == "*" else re.escape(part[1:] if len(part) == 2 and part[0] == "\\" else part)
              for part in _WILD.findall(wild))  # fmt: skip
    return re.compile("".join(pieces), re.DOTALL)
