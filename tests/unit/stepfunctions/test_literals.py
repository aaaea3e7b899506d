"""Texts in definitions: what JSON's escapes stand for, and those of intrinsic functions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_account.stepfunctions.backend import faults
from tests.unit.stepfunctions.evaluation import evaluated

PASS = {"Type": "Pass", "End": True}
# Without surrogates, which no JSON document of AWS has, and without what makes an expression or a path of a text.
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20).filter(lambda text: "{%" not in text)


def in_pass(**members: Any) -> dict[str, Any]:
    return {"P": {**PASS, **members}}


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_a_text_is_what_it_stands_for_wherever_it_is(text: str) -> None:
    plain = f"x{text}"
    assert evaluated(in_pass(Result={plain: plain})).output == {plain: plain}
    assert evaluated(in_pass(Parameters={"v": plain})).output == {"v": plain}
    jsonata = {"P": {**PASS, "Assign": {"a": plain}, "Output": {plain: plain}}}
    execution = evaluated(jsonata, QueryLanguage="JSONata")
    assert execution.output == {plain: plain}
    following = {"P": {"Type": "Pass", "Assign": {"a": plain}, "Next": "Q"}, "Q": {**PASS, "Parameters": {"v.$": "$a"}}}
    assert evaluated(following).output == {"v": plain}


@settings(max_examples=30, deadline=None)
@given(TEXTS)
def test_a_state_may_have_any_name(text: str) -> None:
    name = f"x{text}"
    execution = evaluated({name: {"Type": "Pass", "Next": "End"}, "End": PASS})
    assert execution.events[1]["stateEnteredEventDetails"]["name"] == name


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_an_intrinsic_function_takes_any_text(text: str) -> None:
    escaped = text
    for character in "\\'{}":
        escaped = escaped.replace(character, f"\\{character}")
    call = f"States.Format('<{escaped}> {{}}', 'y{escaped}')"
    assert evaluated(in_pass(Parameters={"v.$": call})).output == {"v": f"<{text}> y{text}"}


def test_an_escape_that_intrinsic_functions_do_not_have_is_refused() -> None:
    definition = (
        r'{"StartAt":"P","States":{"P":{"Type":"Pass","Parameters":{"v.$":"States.Format(\'\\\"\')"},"End":true}}}'
    )
    assert faults(definition.replace(r"\'", "'"), "STANDARD")


@pytest.mark.parametrize(
    ("choice", "language", "output"),
    [
        ({"Variable": "$.n", "IsPresent": True, "Assign": {"y": "rule"}}, "JSONPath", {"y": "rule"}),
        ({"Variable": "$.no", "IsPresent": True, "Assign": {"y": "rule"}}, "JSONPath", {"y": "state"}),
        ({"Condition": True, "Assign": {"y": "rule"}}, "JSONata", {"y": "rule"}),
    ],
)
def test_a_rule_assigns_for_itself_though_it_leads_where_the_default_does(
    choice: dict[str, Any], language: str, output: Any
) -> None:
    member = "Parameters" if language == "JSONPath" else "Output"
    value = {"y.$": "$y"} if language == "JSONPath" else {"y": "{% $y %}"}
    states = {
        "C": {"Type": "Choice", "Choices": [{**choice, "Next": "P"}], "Default": "P", "Assign": {"y": "state"}},
        "P": {**PASS, member: value},
    }
    assert evaluated(states, {"n": 1}, QueryLanguage=language).output == output
