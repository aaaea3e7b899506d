"""AWS::LanguageExtensions: loops and defaults of maps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_account.cloudformation.language.errors import InvalidTemplateError
from local_account.cloudformation.transforms.apply import known_value, transforms_of
from local_account.cloudformation.transforms.loops import LanguageExtensions

TOPIC = {
    "Type": "AWS::SNS::Topic",
    "Properties": {"TopicName": {"Fn::Sub": "${Name}-topic"}, "DisplayName": {"Ref": "Name"}},
}


def extended(value: Any, **parameters: object) -> Any:
    mappings = {"Sizes": {"small": {"memory": "1"}}}
    return LanguageExtensions({**parameters, "AWS::Region": "us-east-1"}, mappings).extended(value)


def test_a_loop_makes_one_of_each() -> None:
    made = extended({"Fn::ForEach::Topics": ["Name", ["a", "b-c"], {"Topic&{Name}": TOPIC}], "Other": {}})
    assert sorted(made) == ["Other", "Topica", "Topicbc"]
    assert made["Topicbc"]["Properties"] == {"TopicName": {"Fn::Sub": "b-c-topic"}, "DisplayName": "b-c"}


def test_loops_stand_in_loops_and_go_through_parameters() -> None:
    inner = {"Fn::ForEach::Inner": ["B", {"Ref": "Names"}, {"${A}${B}": {"x": "${A}"}}]}
    made = extended({"Fn::ForEach::Outer": ["A", ["p", "q"], inner]}, Names=["1", "2"])
    assert made == {"p1": {"x": "p"}, "p2": {"x": "p"}, "q1": {"x": "q"}, "q2": {"x": "q"}}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["Sizes", "small", "memory", {"DefaultValue": "9"}], "1"),
        (["Sizes", "huge", "memory", {"DefaultValue": "9"}], "9"),
        (["Sizes", {"Ref": "Size"}, "memory", {"DefaultValue": "9"}], "1"),
        (
            ["Sizes", {"Ref": "T"}, "memory", {"DefaultValue": "9"}],
            {"Fn::FindInMap": ["Sizes", {"Ref": "T"}, "memory"]},
        ),
        (["Sizes", "small", "memory"], {"Fn::FindInMap": ["Sizes", "small", "memory"]}),
    ],
)
def test_a_map_may_have_a_default(arguments: list[object], expected: object) -> None:
    assert extended({"Fn::FindInMap": arguments}, Size="small") == expected


@pytest.mark.parametrize(
    "loop",
    [None, [], ["Name"], [1, [], {}], ["Name", "text", {}], ["Name", [{"Ref": "Topic"}], {}], ["Name", ["a"], []],
     ["Name", ["a", "b"], {"same": 1}]],
)  # fmt: skip
def test_what_is_no_loop_is_refused(loop: object) -> None:
    with pytest.raises(InvalidTemplateError, match="Transform AWS::LanguageExtensions failed with: "):
        extended({"Fn::ForEach::Loop": loop})


KEYS = st.sampled_from(["a", "Ref", "Fn::ForEach::L", "b${a}"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(JSON)
def test_any_document_is_extended_or_refused(document: Any) -> None:
    try:
        extended(document)
    except InvalidTemplateError as error:
        assert str(error).startswith("Transform AWS::LanguageExtensions failed with: ")


def test_the_transforms_of_a_template_are_named() -> None:
    part = '{"Fn::Transform": {"Name": "Inner"}}'
    assert transforms_of(f'{{"Transform": ["One", {{"Name": "Two"}}], "Resources": {{"A": {part}}}}}') == [
        "Inner",
        "One",
        "Two",
    ]
    assert transforms_of('{"Resources": {}}') == []
    with pytest.raises(InvalidTemplateError, match="Key Name of transform definition must be a string"):
        transforms_of('{"Transform": [{"Name": {"Ref": "X"}}]}')


@pytest.mark.parametrize(
    ("value", "known"),
    [
        ({"Ref": "Bucket"}, "parts"),
        ({"Fn::Sub": "s3://${Bucket}/${!Bucket}/a.yaml"}, "s3://parts/${Bucket}/a.yaml"),
        ({"Fn::Sub": ["${Own}-${AWS::Region}", {"Own": {"Ref": "Bucket"}}]}, "parts-us-east-1"),
        ({"Fn::Join": ["/", ["s3:/", {"Ref": "Bucket"}, "a.yaml"]]}, "s3://parts/a.yaml"),
        ({"deep": [{"Fn::Sub": "${Bucket}"}]}, {"deep": ["parts"]}),
        ({"Fn::Sub": "${Resource.Arn}"}, {"Fn::Sub": "${Resource.Arn}"}),
        ({"Fn::GetAtt": ["Resource", "Arn"]}, {"Fn::GetAtt": ["Resource", "Arn"]}),
    ],
)
def test_the_parameters_of_a_transform_are_what_is_known_of_them(value: object, known: object) -> None:
    assert known_value(value, {"Bucket": "parts", "AWS::Region": "us-east-1"}) == known
