"""What EventBridge says of event patterns that are none, and that nothing which passes can fail later."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_account.events.pattern_grammar import PatternError, parse_pattern
from local_account.events.patterns import matches


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ([], "Filter is not an object"),
        ({}, "Empty objects are not allowed"),
        ({"a": 42}, '"a" must be an object or an array'),
        ({"a": []}, "Empty arrays are not allowed"),
        ({"a": [[1]]}, "Match value must be String, number, true, false, or null"),
        ({"a": [{}]}, "Match expression name not found"),
        ({"a": [{"EXISTS": True}]}, "Unrecognized match type EXISTS"),
        ({"a": [{"exists": "yes"}]}, "exists match pattern must be either true or false."),
        ({"a": [{"prefix": "a", "suffix": "b"}]}, "Only one key allowed in match expression"),
        ({"a": [{"prefix": 1}]}, "prefix match pattern must be a string"),
        ({"a": [{"suffix": [".png"]}]}, "suffix match pattern must be a string"),
        ({"a": [{"equals-ignore-case": ["x"]}]}, "equals-ignore-case match pattern must be a string"),
        ({"a": [{"wildcard": 123}]}, "wildcard match pattern must be a string"),
        ({"a": [{"wildcard": "a**b"}]}, "Consecutive wildcard characters at pos 2"),
        ({"a": [{"wildcard": "*:*:*:*:*:event-bus/*"}]}, "Rule is too complex"),
        ({"a": [{"cidr": ["x"]}]}, "prefix match pattern must be a string"),
        ({"a": [{"cidr": "10.0.0.0"}]}, "Malformed CIDR, one '/' required"),
        ({"a": [{"cidr": "10.0.0.0/x"}]}, "Malformed CIDR, mask bits must be an integer"),
        ({"a": [{"cidr": "xx.11.xx/8"}]}, "Nonstandard IP address: xx.11.xx"),
        ({"a": [{"numeric": 1}]}, "Value of numeric must be an array."),
        ({"a": [{"numeric": [5]}]}, "Invalid member in numeric match: 5"),
        ({"a": [{"numeric": ["!=", 5]}]}, "Unrecognized numeric range operator: !="),
        ({"a": [{"numeric": ["=", "5"]}]}, "Value of equals must be numeric"),
        ({"a": [{"numeric": [">", 0, ">", 0]}]}, "Bad numeric range operator: >"),
        ({"a": [{"numeric": [">", 0, "<"]}]}, "Value of < must be numeric"),
        ({"a": [{"numeric": [">", 0, "<", 5, "<", 9]}]}, "Too many terms in numeric range expression"),
        ({"a": [{"numeric": [">", 9, "<", 5]}]}, "Bottom must be less than top"),
        ({"a": [{"numeric": [">", 6e9]}]}, "Value must be between -5.0E9 and 5.0E9, inclusive"),
        ({"a": [{"anything-but": None}]}, "Value of anything-but must be an array or single string/number value."),
        ({"a": [{"anything-but": ["a", None]}]}, "Inside anything but list, start|null|boolean is not supported."),
        ({"a": [{"anything-but": ["a", 1]}]}, "Inside anything but list, either all values are number or string"),
        ({"a": [{"anything-but": {"cidr": "10.0.0.0/8"}}]}, "Unsupported anything-but pattern: cidr"),
        ({"a": [{"anything-but": {"prefix": ""}}]}, "Null prefix/suffix not allowed"),
        ({"a": [{"anything-but": {"prefix": [1, "x"]}}]}, "prefix/suffix match pattern must be a string"),
        ({"a": [{"anything-but": {"prefix": {"equals-ignore-case": "x"}}}]}, "Value of anything-but must be an array"),
        ({"a": [{"anything-but": {"equals-ignore-case": 1}}]}, "Inside anything-but/equals-ignore-case list, number"),
        ({"$or": {"a": [1]}}, "It must be an Array followed with $or."),
        ({"$or": [{"a": [1]}]}, "There must have at least 2 Objects in $or relationship."),
        ({"$or": [{"a": [1]}, 2]}, "Only JSON object is allowed in array of $or relationship."),
        ({"$or": [{"a": [1]}, {"prefix": [1]}]}, "prefix is Ruler reserved fieldName"),
    ],
)
def test_what_is_no_pattern_is_refused_in_eventbridges_words(pattern: object, reason: str) -> None:
    with pytest.raises(PatternError) as caught:
        parse_pattern(json.dumps(pattern))
    assert str(caught.value).startswith(f"Event pattern is not valid. Reason: {reason}")


@pytest.mark.parametrize(
    ("pattern", "event", "expected"),
    [
        ({"detail.state": ["on"]}, {"detail": {"state": "on"}}, True),
        ({"detail": {"state": ["on"]}}, {"detail.state": "on"}, True),
        ({"detail.state": ["on"]}, {"detail": {"state": "off"}}, False),
        ({"detail.a": [1], "detail": {"b": [2]}}, {"detail": {"a": 1, "b": 2}}, True),
        ({"a": [{"wildcard": "x\\*y*"}]}, {"a": "x*yz"}, True),
        ({"a": [{"anything-but": {"wildcard": ["*.png", "*.jpg"]}}]}, {"a": "b.gif"}, True),
        ({"a": [{"cidr": "2001:db8::/32"}]}, {"a": "2001:db8::1"}, True),
    ],
)
def test_dots_join_levels_and_expressions_match(pattern: Any, event: Any, expected: bool) -> None:
    assert matches(parse_pattern(json.dumps(pattern)), event) is expected


LEAVES = (
    st.none() | st.booleans() | st.integers(-10, 10) | st.floats(-1e3, 1e3) | st.sampled_from(["", "a", "*", "a.b"])
)
NAMES = st.sampled_from(
    ["a", "b", "a.b", "$or", "prefix", "numeric", "anything-but", "exists", "cidr", "wildcard", "="]
)
DOCUMENTS = st.recursive(
    LEAVES | st.sampled_from(["=", "<", ">=", "10.0.0.0/8"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(NAMES, DOCUMENTS, max_size=3), st.dictionaries(NAMES, DOCUMENTS, max_size=3))
def test_what_passes_the_check_can_be_held_against_any_event(pattern: dict[str, Any], event: dict[str, Any]) -> None:
    try:
        checked = parse_pattern(json.dumps(pattern))
    except PatternError:
        return
    assert matches(checked, event) in {True, False}


# How far the parser had read (^): behind a number, inside an opened text or bracket, behind a text that was wanted.
@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ('{"size": 7^}', 1),
        ('{"size": "^big"}', 1),
        ('{"sizes": []^}', 1),
        ("[^1]", 1),
        ('{"a": [{"Prefix": [^"x"]}]}', 1),
        ('{"a": [{"prefix": 77^}]}', 1),
        ('{"a": [{"numeric": [">=", 1, "="^, 2]}]}', 1),
        ('{"a": [{"numeric": [">", 0, "<="]^}]}', 1),
        ('{"a": [{"wildcard": "x**y"^}]}', 1),
        ('{\n "a": [\n{"exists": 0^}]}', 1),
        ('{"a": [{"anything-but": {"suffix": ["b", 5^]}}]}', 2),
        ('{"a": [{"anything-but": {"wildcard": [true^]}}]}', 2),
        ('{"a": [{"cidr": "10.0.0.1"}]}', 0),
        ("{^a: [1]}", 1),
        ('{"a": word^ b}', 1),
    ],
)
def test_a_refusal_tells_the_place_in_the_source(text: str, seen: int) -> None:
    source, before = text.replace("^", ""), text.partition("^")[0]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    place = f'\n at [Source: (String)"{source}"; line: {line}, column: {column}]'
    with pytest.raises(PatternError) as caught:
        parse_pattern(source)
    assert str(caught.value).count("[Source: ") == seen
    assert str(caught.value).endswith(place * seen)


def test_a_long_source_is_cut() -> None:
    with pytest.raises(PatternError, match=r"\[truncated 114 chars\]; line: 1, column: 8\]$"):
        parse_pattern(f'{{"a": "{"x" * 605}"}}')


@pytest.mark.parametrize("text", ["", "nothing", '{"a": NaN}', "[" * 100_000, '{"a":' * 2000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(PatternError):
        parse_pattern(text)
