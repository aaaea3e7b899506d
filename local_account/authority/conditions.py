"""Condition operators of policies: whether a ``Condition`` block holds for a request.

Runs in the server process. Follows the IAM User Guide, "IAM JSON policy elements: Condition operators" and
"Single-valued vs. multivalued context keys". An operator that the guide does not know never holds for an Allow and
always for a Deny: the statement then says more than we understand, and the careful side is to refuse.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache

from local_account.base.arns import arn_fields

Values = tuple[str, ...]
Conditions = Mapping[str, Mapping[str, object]]
"""A Condition element: by operator and context key, the value or values to compare with."""
Test = Callable[[str, str], bool]
_VARIABLE = re.compile(r"\$\{([^}]+)\}")
# In a policy ${*}, ${?} and ${$} are those characters themselves.
_LITERALS = {"*": "*", "?": "?", "$": "$"}


class RequestContext(Mapping[str, Values]):
    """The request's context keys, named without regard to case. A value that is a function is called when asked for."""

    def __init__(self, values: Mapping[str, object] | None = None) -> None:
        self._values: dict[str, object] = {name.lower(): value for name, value in (values or {}).items()}

    def __getitem__(self, name: str) -> Values:
        value = self._values[name.lower()]
        if callable(value):
            value = value()
        if value is None:
            raise KeyError(name)
        if isinstance(value, Iterable) and not isinstance(value, str):
            value = list(value)
        return tuple(_texts(value))

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def with_values(self, values: Mapping[str, object]) -> RequestContext:
        """This context with further keys over its own."""
        joined = RequestContext(values)
        joined._values = self._values | joined._values
        return joined


def expand(pattern: str, context: Mapping[str, Values]) -> str | None:
    """``pattern`` with its policy variables put in, their wildcards escaped; None when one has no value."""
    if "${" not in pattern:
        return pattern
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        name, _, default = (part.strip() for part in match[1].partition(","))
        if name in _LITERALS:
            return _escaped(_LITERALS[name])
        found = context.get(name)
        if found is not None and len(found) == 1:
            return _escaped(found[0])
        if default:
            return _escaped(default.strip("'"))
        missing = True
        return ""

    expanded = _VARIABLE.sub(value, pattern)
    return None if missing else expanded


def _escaped(text: str) -> str:
    """Marks characters that must not work as wildcards (they came from the request, not from the policy)."""
    return text.replace("*", "\x01").replace("?", "\x02")


@lru_cache(maxsize=8192)
def glob(pattern: str, *, fold: bool = False) -> re.Pattern[str]:
    """A regular expression for a pattern with ``*`` and ``?``."""
    parts = {"*": ".*", "?": ".", "\x01": r"\*", "\x02": r"\?"}
    text = "".join(parts.get(c) or re.escape(c) for c in pattern)
    return re.compile(text, re.DOTALL | (re.IGNORECASE if fold else 0))


def plain(text: str) -> str:
    """An expanded value as plain text."""
    return text.replace("\x01", "*").replace("\x02", "?")


@lru_cache(maxsize=8192)
def arn_pattern(pattern: str) -> tuple[re.Pattern[str], ...] | None:
    """A pattern of an ARN, by its six parts: a wildcard does not reach over a colon of the first five."""
    if pattern == "*":
        return ()
    fields = arn_fields(pattern)
    return tuple(glob(part) for part in fields) if fields else None


def arn_matches(pattern: str, arn: str) -> bool:
    """Whether an expanded pattern of a Resource element (or of ArnLike) matches an ARN."""
    if pattern in {arn, "*"}:
        return True
    patterns, fields = arn_pattern(pattern), arn_fields(arn)
    if not patterns or not fields:
        return False
    return all(one.fullmatch(field) for one, field in zip(patterns, fields, strict=True))


def _number(test: Callable[[float, float], bool]) -> Test:
    def compare(found: str, wanted: str) -> bool:
        try:
            return test(float(found), float(wanted))
        except ValueError:
            return False

    return compare


def _date(test: Callable[[datetime, datetime], bool]) -> Test:
    def compare(found: str, wanted: str) -> bool:
        try:
            return test(_moment(found), _moment(wanted))
        except ValueError:
            return False

    return compare


def _moment(text: str) -> datetime:
    if text.replace(".", "", 1).isdigit():
        return datetime.fromtimestamp(float(text), UTC)
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _address(found: str, wanted: str) -> bool:
    try:
        return ipaddress.ip_address(found) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False


def _equal(found: str, wanted: str) -> bool:
    return found == plain(wanted)


def _like(found: str, wanted: str) -> bool:
    return glob(wanted).fullmatch(found) is not None


_POSITIVE: dict[str, Test] = {
    "stringequals": _equal,
    "stringequalsignorecase": lambda found, wanted: found.lower() == plain(wanted).lower(),
    "stringlike": _like,
    "arnequals": lambda found, wanted: arn_matches(wanted, found),
    "arnlike": lambda found, wanted: arn_matches(wanted, found),
    "bool": lambda found, wanted: found.lower() == wanted.lower(),
    "binaryequals": _equal,
    "ipaddress": _address,
    "numericequals": _number(lambda found, wanted: found == wanted),
    "numericlessthan": _number(lambda found, wanted: found < wanted),
    "numericlessthanequals": _number(lambda found, wanted: found <= wanted),
    "numericgreaterthan": _number(lambda found, wanted: found > wanted),
    "numericgreaterthanequals": _number(lambda found, wanted: found >= wanted),
    "dateequals": _date(lambda found, wanted: found == wanted),
    "datelessthan": _date(lambda found, wanted: found < wanted),
    "datelessthanequals": _date(lambda found, wanted: found <= wanted),
    "dategreaterthan": _date(lambda found, wanted: found > wanted),
    "dategreaterthanequals": _date(lambda found, wanted: found >= wanted),
}
_NEGATED = {
    "stringnotequals": "stringequals",
    "stringnotequalsignorecase": "stringequalsignorecase",
    "stringnotlike": "stringlike",
    "arnnotequals": "arnequals",
    "arnnotlike": "arnlike",
    "notipaddress": "ipaddress",
    "numericnotequals": "numericequals",
    "datenotequals": "dateequals",
}


def holds(conditions: Conditions, context: Mapping[str, Values], *, unknown: bool) -> bool:
    """Whether every operator and key of a Condition block holds; ``unknown`` is what an unknown operator counts as."""
    return all(
        _operator_holds(operator, key, _texts(wanted), context, unknown=unknown)
        for operator, keys in conditions.items()
        for key, wanted in keys.items()
    )


def _texts(values: object) -> list[str]:
    listed = values if isinstance(values, list) else [values]
    return [str(value).lower() if isinstance(value, bool) else str(value) for value in listed]


def _operator_holds(
    operator: str, key: str, wanted: list[str], context: Mapping[str, Values], *, unknown: bool
) -> bool:
    name = operator.lower()
    quantifier, colon, rest = name.partition(":")
    name = rest if colon else name
    if name == "null":
        return (key not in context) == (wanted[0].lower() == "true") if wanted else False
    if_exists = name.endswith("ifexists")
    name = name.removesuffix("ifexists")
    negated = name in _NEGATED
    test = _POSITIVE.get(_NEGATED.get(name, name))
    if test is None or (colon and quantifier not in {"foranyvalue", "forallvalues"}):
        return unknown
    found = context.get(key)
    if found is None:
        # A missing key: ForAllValues holds, ForAnyValue does not; otherwise only a negated operator holds.
        return if_exists or (quantifier == "forallvalues" if colon else negated)
    expanded = [text for text in (expand(text, context) for text in wanted) if text is not None]

    def matches(value: str) -> bool:
        return any(test(value, text) for text in expanded) != negated

    if colon and quantifier == "forallvalues":
        return all(map(matches, found))
    if negated and not colon:
        return all(map(matches, found))
    return any(map(matches, found))
