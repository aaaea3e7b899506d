"""Any definition at all: it is refused with reasons, or it runs to an end."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_account.stepfunctions.backend import faults
from tests.unit.stepfunctions.evaluation import evaluated

Machine = dict[str, Any]
Machines = st.SearchStrategy[Machine]
SCALARS = st.none() | st.booleans() | st.integers(-3, 100) | st.floats(allow_nan=False, width=16) | st.text(max_size=5)
PATHS = st.sampled_from(("$", "$.a", "$.a[0]", "$.a[*].b", "$..a", "$.a[?(@.b==1)]", "$$.State.Name", "$v", "$v.a"))
CALLS = st.sampled_from(
    (
        *("States.Format('{}', $.a)", "States.MathAdd(1, $.a)", "States.UUID()", "States.ArrayGetItem($.a, 1)"),
        *("States.JsonMerge($.a, $, false)", "States.StringToJson($.a)", "States.Hash($.a, 'MD5')", "States.Array("),
        *("States.ArrayRange(1, 9, $.a)", "States.Base64Decode($.a)", "States.StringSplit($.a, ',')", "States.Nope(1)"),
    )
)
EXPRESSIONS = st.sampled_from(
    (
        *(
            "{% 1 %}",
            "{% $states.input %}",
            "{% $states.input.a %}",
            "{% $nope %}",
            "{% function($x){$x} %}",
            "{% ( %}",
        ),
        *("{% 1/0 %}", "{% $states.result %}", "{% $v.a %}", "{% $toMillis('x') %}", "{% $error('no') %}", "{%%}"),
        *("{% $parse('{') %}", "{% $string(1) & 2 %}", "{% $states.input.a > 'x' %}", "{% $states.context.State %}"),
    )
)
TEXTS = PATHS | CALLS | EXPRESSIONS | st.sampled_from(("A", "B", "States.ALL", "JSONata", "JSONPath", "E", "\ud800"))
NAMES = [
    *("Type", "Next", "End", "Default", "Choices", "Variable", "Condition", "StringEquals", "IsPresent", "And", "Not"),
    *(
        "Assign",
        "Output",
        "Parameters",
        "Arguments",
        "Result",
        "ResultPath",
        "ResultSelector",
        "InputPath",
        "OutputPath",
    ),
    *("Retry", "Catch", "ErrorEquals", "MaxAttempts", "Branches", "ItemProcessor", "Iterator", "ItemsPath", "Items"),
    *("ItemSelector", "MaxConcurrency", "MaxConcurrencyPath", "ToleratedFailureCount", "QueryLanguage", "Error"),
    *("Cause", "CausePath", "TimeoutSeconds", "Comment", "StartAt", "States", "ProcessorConfig", "a.$", "b"),
]
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS | st.sampled_from(NAMES), inner, max_size=2),
    max_leaves=4,
)
MEMBERS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=2)
DATA = st.just({}) | st.dictionaries(st.sampled_from("ab"), SCALARS | st.lists(SCALARS, max_size=3), max_size=2)
PLAIN = VALUES.map(lambda value: json.loads(json.dumps(value).replace("{%", "{").replace(".$", "")))


def _selected(values: st.SearchStrategy[Any]) -> Machines:
    """A template of JSONPath: members that are selected by paths and intrinsic functions, and others."""
    return st.builds(lambda chosen, other: {"x.$": chosen, "y": {"z": other}}, PATHS | CALLS, values)


def _machine(states: Machines, name: str) -> Machines:
    return states.map(lambda state: {"StartAt": name, "States": {name: state}})


def _holding(inner: Machines) -> Machines:
    parallel = inner.map(lambda branch: {"Type": "Parallel", "Branches": [branch], "End": True})
    return parallel | inner.map(lambda body: {"Type": "Map", "ItemProcessor": body, "End": True})


def _with(states: Machines, members: Machines) -> Machines:
    return st.builds(lambda state, more: {**state, **more}, states, members)


PASSES: Machines = st.sampled_from(({"Type": "Pass", "End": True}, {"Type": "Pass", "Result": [1, "x"], "End": True}))
ENDS: Machines = st.sampled_from(({"Type": "Succeed"}, {"Type": "Fail", "Error": "E"}))
CHOICES: Machines = st.builds(
    lambda rule, path: {"Type": "Choice", "Choices": [{**rule, "Variable": path, "Next": "Z"}]},
    st.sampled_from(
        ({"IsPresent": True}, {"NumericEqualsPath": "$.b"}, {"StringMatches": "x*"}, {"IsTimestamp": False})
    ),
    PATHS,
)
OF_JSONPATH = st.fixed_dictionaries(
    {},
    optional={
        "InputPath": PATHS,
        "OutputPath": PATHS,
        "Parameters": _selected(PLAIN),
        "ResultPath": st.sampled_from(("$", "$.a", "$.a.b", "$.a[0]", None)),
        "Assign": st.builds(lambda path: {"v.$": path}, PATHS | CALLS),
    },
)
OF_JSONATA = st.fixed_dictionaries(
    {}, optional={"Output": VALUES, "Assign": st.builds(lambda value: {"v": value}, VALUES)}
)
ANY = _with(PASSES | ENDS | _holding(_machine(PASSES | ENDS, "B")), MEMBERS)
PATHED = _with(PASSES, OF_JSONPATH)
LISTED = PATHS.map(lambda path: {"ItemsPath": path})
HOLDING = _with(_holding(_machine(PATHED, "B")), OF_JSONPATH) | _with(_holding(_machine(PATHED, "B")), LISTED)
DEFINITIONS = (
    _machine(ANY, "A")
    | _machine(PATHED | HOLDING, "A")
    | CHOICES.map(lambda choice: {"StartAt": "A", "States": {"A": choice, "Z": {"Type": "Succeed"}}})
    | _with(_machine(_with(PASSES, OF_JSONATA), "A"), st.just({"QueryLanguage": "JSONata"}))
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES | _with(DEFINITIONS, MEMBERS) | MEMBERS, st.sampled_from(["STANDARD", "EXPRESS"]))
def test_no_definition_is_a_fault_of_ours(definition: Any, kind: str) -> None:
    assert all(isinstance(fault, str) for fault in faults(json.dumps(definition), kind))


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(DEFINITIONS, DATA | VALUES)
def test_what_is_accepted_comes_to_an_end(caplog: pytest.LogCaptureFixture, definition: Machine, data: Any) -> None:
    if faults(json.dumps(definition), "STANDARD") or _goes_round(definition):
        return
    head = {name: value for name, value in definition.items() if name not in {"States", "StartAt"}}
    with caplog.at_level(logging.ERROR, logger="local_account"):
        execution = evaluated(definition["States"], data, **head)
    assert execution.status in {"SUCCEEDED", "FAILED"}
    assert [record.getMessage() for record in caplog.records if "broke off" in record.getMessage()] == []


def _goes_round(value: Any) -> bool:
    """Whether a state may lead to itself, which an execution would follow for 25,000 events."""
    if isinstance(value, dict):
        return bool({"A", "B"} & {str(value.get("Next")), str(value.get("Default"))}) or any(
            map(_goes_round, value.values())
        )
    return isinstance(value, list) and any(map(_goes_round, value))
