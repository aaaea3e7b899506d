"""Comparisons of a Choice, and where a result is put, each in a definition of its own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.stepfunctions.evaluation import evaluated

NOON = "2026-01-31T12:00:00Z"


def chosen(rule: dict[str, Any], data: Any, **variables: Any) -> bool:
    """Whether the rule of a Choice matches."""
    states = {
        "V": {"Type": "Pass", "Assign": variables, "Next": "C"},
        "C": {"Type": "Choice", "Choices": [{**rule, "Next": "Yes"}], "Default": "No"},
        "Yes": {"Type": "Succeed"},
        "No": {"Type": "Succeed"},
    }
    execution = evaluated(states, data)
    assert execution.status == "SUCCEEDED", execution
    names = [
        event["stateEnteredEventDetails"]["name"] for event in execution.events if "stateEnteredEventDetails" in event
    ]
    return names[-1] == "Yes"


@pytest.mark.parametrize(
    ("comparison", "value", "matches"),
    [
        ({"TimestampGreaterThan": NOON}, "2026-01-31T12:00:00.001Z", True),
        ({"TimestampEquals": NOON}, "2026-01-31T13:00:00+01:00", True),
        ({"TimestampLessThan": NOON}, "2026-01-31 11:00:00Z", False),
        ({"IsTimestamp": True}, "2026-01-31T12:00:00.5-08:00", True),
        ({"IsTimestamp": True}, "2026-13-31T12:00:00Z", False),
        ({"StringMatches": "log-*.txt"}, "log-1.a.txt", True),
        ({"StringMatches": "[ab]?*"}, "a1", False),
        ({"StringMatches": "all\\*"}, "all*", True),
        ({"StringMatches": "all\\*"}, "alls", False),
        ({"NumericEquals": 1}, True, False),
        ({"NumericGreaterThanEquals": 1.5}, 2, True),
        ({"StringLessThan": "b"}, "a", True),
        ({"BooleanEquals": False}, False, True),
        ({"NumericGreaterThanPath": "$v"}, 5, True),
        ({"NumericLessThanPath": "$v"}, 5, False),
        ({"StringEqualsPath": "$$.State.Name"}, "C", True),
    ],
)
def test_comparisons(comparison: dict[str, Any], value: Any, matches: bool) -> None:
    assert chosen({"Variable": "$.x", **comparison}, {"x": value}, v=3) is matches


@pytest.mark.parametrize(
    ("data", "path", "output"),
    [
        ({"a": {"c": 2}}, "$.a.b", {"a": {"c": 2, "b": 1}}),
        ({}, "$.a['b c']", {"a": {"b c": 1}}),
        ({"a": [7, 8]}, "$.a[1]", {"a": [7, 1]}),
        ([7], "$", 1),
    ],
)
def test_a_result_is_put_where_its_path_leads(data: Any, path: str, output: Any) -> None:
    assert evaluated({"P": {"Type": "Pass", "Result": 1, "ResultPath": path, "End": True}}, data).output == output


@pytest.mark.parametrize(("data", "path"), [("x", "$.a"), ({"a": "x"}, "$.a.b"), ({"a": []}, "$.a[0]"), ([1], "$.a")])
def test_a_result_that_has_no_place_is_an_error_of_the_state(data: Any, path: str) -> None:
    execution = evaluated({"P": {"Type": "Pass", "Result": 1, "ResultPath": path, "End": True}}, data)
    assert execution.error == "States.ReferencePathConflict"
    assert str(execution.cause).startswith(f"Unable to apply ReferencePath {path} to input ")
