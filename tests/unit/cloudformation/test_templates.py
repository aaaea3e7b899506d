"""Templates in process: their expressions and parameters, and what AWS refuses at the call."""

from __future__ import annotations

import contextlib
import json
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_account.account import Account
from local_account.cloudformation.changes import Preview, without_values
from local_account.cloudformation.language.errors import InvalidTemplateError
from local_account.cloudformation.language.expressions import TemplateScope
from local_account.cloudformation.language.parameters import parameter_values
from local_account.cloudformation.language.references import creation_order
from local_account.cloudformation.language.rules import check_rules
from local_account.cloudformation.language.values import check_properties
from local_account.cloudformation.record import KnownStack, outputs
from local_account.cloudformation.template import parse
from tests.unit.cloudformation.test_half_made import Refusing


def scope(document: dict[str, Any], **parameters: str) -> TemplateScope:
    return TemplateScope(
        document,
        parameter_values(document, parameters),
        {"AWS::Region": "us-east-1", "AWS::StackName": "s"},
        ref=lambda name: f"ref-{name}",
        attribute=lambda name, attribute: f"{name}.{attribute}",
        imported=lambda name: f"imported-{name}",
    )


DOCUMENT = """
Parameters:
  Stage: {Type: String, Default: dev}
  Ports: {Type: CommaDelimitedList, Default: "80, 443"}
Conditions:
  IsDev: !Equals [!Ref Stage, dev]
  IsOther: !Not [!Condition IsDev]
  Both: !And [!Condition IsDev, !Condition IsOther]
Resources:
  A: {Type: T}
  B: {Type: T, Condition: IsOther}
"""


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("!Ref A", "ref-A"),
        ("!GetAtt A.Some.Arn", "A.Some.Arn"),
        ("!Sub '${A}/${A.Arn}/${AWS::Region}/${!Literal}/${Stage}'", "ref-A/A.Arn/us-east-1/${Literal}/dev"),
        ("!Sub '${!aws:PrincipalTag/x}-${Stage}'", "${aws:PrincipalTag/x}-dev"),
        ("!Sub ['${X}-${Stage}', {X: !Ref A}]", "ref-A-dev"),
        ("!Join ['-', [a, !Ref A, 1]]", "a-ref-A-1"),
        ("!Select [1, !Ref Ports]", "443"),
        ("!Split [',', 'a,b']", ["a", "b"]),
        ("!If [IsDev, yes-it-is, no]", "yes-it-is"),
        ("!If [Both, x, !Ref 'AWS::NoValue']", "gone"),
        ("!Base64 text", "dGV4dA=="),
        ("!ImportValue name", "imported-name"),
        ("2012-10-17", "2012-10-17"),
    ],
)
def test_functions_of_templates(expression: str, value: Any) -> None:
    document = parse(DOCUMENT + f"Outputs: {{O: {{Value: {expression}}}}}\n")
    found = scope(document).resolve(document["Outputs"]["O"])
    assert found == ({} if value == "gone" else {"Value": value})


def test_resources_whose_condition_is_false_are_left_out() -> None:
    assert list(scope(parse(DOCUMENT)).active_resources()) == ["A"]
    assert list(scope(parse(DOCUMENT), Stage="production").active_resources()) == ["A", "B"]


def test_resources_come_after_what_they_need() -> None:
    resources = {
        "First": {"Type": "T", "Properties": {"X": {"Fn::Sub": "${Second}"}}},
        "Second": {"Type": "T", "DependsOn": ["Third"]},
        "Third": {"Type": "T"},
    }
    assert creation_order(resources) == ["Third", "Second", "First"]
    resources["Third"]["Properties"] = {"X": {"Fn::GetAtt": ["First", "Arn"]}}
    with pytest.raises(InvalidTemplateError, match="Circular dependency"):
        creation_order(resources)


@pytest.mark.parametrize(
    ("declaration", "value", "problem"),
    [
        ({"Type": "Number"}, "many", "must be a number"),
        ({"Type": "Number", "MinValue": 0, "MaxValue": 1}, "2", "not greater than 1"),
        ({"Type": "String", "AllowedValues": ["a", "b"]}, "c", "must be one of AllowedValues"),
        ({"Type": "String", "AllowedPattern": "[a-z]+"}, "A", "must match pattern"),
        ({"Type": "String", "MinLength": 3}, "ab", "at least 3 characters"),
    ],
)
def test_parameters_are_checked(declaration: dict[str, Any], value: str, problem: str) -> None:
    with pytest.raises(InvalidTemplateError, match=problem):
        parameter_values({"Parameters": {"P": declaration}}, {"P": value})


def test_templates_cannot_make_python_objects() -> None:
    hostile = "Resources: {A: {Type: T, Properties: {X: !!python/object/apply:os.getcwd []}}}"
    document = None
    with pytest.raises(InvalidTemplateError):
        document = parse(hostile)
    assert document is None


def template(**sections: Any) -> str:
    return json.dumps({"Resources": {"A": {"Type": "AWS::SNS::Topic"}}, **sections})


def topic(**properties: Any) -> dict[str, Any]:
    return {"A": {"Type": "AWS::SNS::Topic", "Properties": properties}}


REFUSED = [
    # Recorded answers of AWS.
    ("{", "Template format error: JSON not well-formed. (line 1, column 2)"),
    ("Resources:\n  A:\n   B: [\n", "Template format error: YAML not well-formed. (line 4, column 1)"),
    ("{}", "Template format error: At least one Resources member must be defined."),
    (template(Resources={"A": "x"}), "Template format error: Any Resources member must be an object."),
    (
        template(Resources={"A": {"Properties": {}}}),
        "Template format error: [/Resources/A] Every Resources object must contain a Type member.",
    ),
    (
        template(Resources={"A": {"Type": "AWS::SNS::Topic", "Invalid": 10}}),
        "Invalid template resource property 'Invalid'",
    ),
    (template(Outputs={"O": {"Value": None}}), "[/Outputs/O/Value] 'null' values are not allowed in templates"),
    (template(Outputs={"O": {}}), "Template format error: Every Outputs member must contain a Value object"),
    (
        template(Mappings={"M": {"A": "x"}}),
        "Template format error: Every Mappings member A must be a map",
    ),
    (
        template(Mappings={"M": {"A": {"B": {"Ref": "C"}}}}),
        "Template format error: Every Mappings attribute must be a String or a List.",
    ),
    (
        template(Resources={"A": {"Type": "AWS::SNS::Topic", "DependsOn": "B"}}),
        "Template format error: Unresolved resource dependencies [B] in the Resources block of the template",
    ),
    (
        template(Conditions={"C": {"Fn::Equals": ["a"]}}),
        "Template error: every Fn::Equals object requires a list of 2 string parameters.",
    ),
    # Told of in public reports.
    (
        template(Conditions={"C": {"Fn::Equals": [{"Ref": "A"}, "x"]}}),
        "Template format error: Unresolved dependencies [A]. Cannot reference resources in the Conditions block of the "
        "template",
    ),
    (
        template(Resources=topic(TopicName={"Fn::If": ["No", "a", "b"]})),
        "Template error: unresolved condition dependency No in Fn::If",
    ),
    (
        template(Resources={"A": {"Type": "AWS::SNS::Topic", "Condition": "No"}}),
        "Template format error: Unresolved condition dependency No in the Resources block of the template",
    ),
    (
        template(Resources=topic(TopicName={"Fn::GetAtt": ["B", "Arn"]})),
        "Template error: instance of Fn::GetAtt references undefined resource B",
    ),
    (
        template(Resources={"A": {"Type": "AWS::SNS::Topic", "DeletionPolicy": {"Fn::If": ["C", "Delete", "Retain"]}}}),
        "Template format error: Every DeletionPolicy member must be a string.",
    ),
    (
        template(Resources=topic(TopicName={"Fn::Select": ["0"]})),
        "Template error: Fn::Select requires a list argument with two elements: an integer index and a list",
    ),
]


@pytest.mark.parametrize(("body", "message"), REFUSED)
def test_what_leads_nowhere_is_refused_in_the_words_of_aws(body: str, message: str) -> None:
    with pytest.raises(InvalidTemplateError) as refused:
        parse(body)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("!FindInMap [Sizes, large, Memory]", "Template error: Unable to get mapping for Sizes::large::Memory"),
        ("!Select [2, [a, b]]", "Template error: Fn::Select cannot select nonexistent value at index 2"),
        (
            "!FindInMap [Nothing, a, b]",
            "Template error: Mapping named 'Nothing' is not present in the 'Mappings' section of template.",
        ),
    ],
)
def test_what_cannot_be_evaluated_says_why_in_the_words_of_aws(expression: str, message: str) -> None:
    document = parse(
        DOCUMENT + f"Mappings: {{Sizes: {{small: {{Memory: 1}}}}}}\nOutputs: {{O: {{Value: {expression}}}}}\n"
    )
    with pytest.raises(InvalidTemplateError) as refused:
        scope(document).resolve(document["Outputs"]["O"])
    assert str(refused.value) == message


WORDS = st.sampled_from(
    ["A", "B", "C", "x", "", "AWS::Region", "${A.Arn}", "{{resolve:foo:bar}}", "1", "-1", "%", "a.b"]
)
FUNCTIONS = st.sampled_from(
    ["Ref", "Condition", *(f"Fn::{name}" for name in (
        "Sub", "GetAtt", "If", "Select", "Join", "FindInMap", "Equals", "Not", "And", "Or", "Split", "Base64", "Cidr",
        "ImportValue", "GetAZs", "Transform", "Length", "ToJsonString"))]
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(WORDS, st.integers(-3, 3), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(WORDS, inner, max_size=2),
        st.builds(lambda name, argument: {name: argument}, FUNCTIONS, inner),
    ),
    max_leaves=8,
)
SECTIONS = st.sampled_from(["Resources", "Parameters", "Conditions", "Mappings", "Outputs", "Rules", "Description"])
NAMES = st.sampled_from(["A", "B", "C"])
PARAMETER = st.fixed_dictionaries(
    {"Type": st.sampled_from(["String", "Number", "CommaDelimitedList", "List<Number>"])},
    optional=dict.fromkeys(("Default", "AllowedValues", "MinValue", "MaxLength", "AllowedPattern", "NoEcho"), VALUES),
)
RESOURCE = st.fixed_dictionaries(
    {"Type": st.sampled_from(["AWS::SNS::Topic", "AWS::SQS::Queue"])},
    optional={
        "Properties": st.dictionaries(st.sampled_from(["TopicName", "Tags", "DelaySeconds"]), VALUES, max_size=2),
        "DependsOn": NAMES,
        "Condition": NAMES,
    },
)
RULE = st.fixed_dictionaries({"Assertions": st.lists(st.fixed_dictionaries({"Assert": VALUES}), max_size=2)})
TEMPLATES = st.fixed_dictionaries(
    {"Resources": st.dictionaries(NAMES, RESOURCE, min_size=1)},
    optional={
        "Parameters": st.dictionaries(NAMES, PARAMETER, max_size=2),
        "Conditions": st.dictionaries(NAMES, VALUES, max_size=2),
        "Mappings": st.dictionaries(NAMES, st.dictionaries(NAMES, st.dictionaries(NAMES, WORDS), max_size=2)),
        "Outputs": st.dictionaries(NAMES, st.fixed_dictionaries({"Value": VALUES}), max_size=1),
        "Rules": st.dictionaries(NAMES, RULE, max_size=1),
    },
)
ANY_TEMPLATE = st.one_of(
    TEMPLATES, TEMPLATES, st.builds(lambda whole, name, wild: {**whole, name: wild}, TEMPLATES, SECTIONS, VALUES)
)


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(ANY_TEMPLATE)
def test_any_template_is_read_and_evaluated_or_refused(document: dict[str, Any]) -> None:
    stack = KnownStack.new(cast("Account", Refusing(1)), "s", dict)
    stack.record["Resources"]["A"] = {
        "PhysicalResourceId": "a",
        "ResourceType": "AWS::SNS::Topic",
        "Properties": {"TopicName": "x"},
        "Attributes": {},
        "DeletionPolicy": "Delete",
    }
    with contextlib.suppress(InvalidTemplateError):
        read = parse(json.dumps(document))
        values = parameter_values(read, {})
        preview = Preview(stack, read, values, {})
        found = preview.scope()
        check_rules(found)
        for name in read.get("Conditions") or {}:
            found.condition(name)
        for declared in found.active_resources().values():
            check_properties("A", declared["Type"], found.properties(declared))
        without_values(preview.changes())
        outputs(preview.scope())


CONSTRAINTS = ("AllowedValues", "MinValue", "MaxValue", "MinLength", "MaxLength", "AllowedPattern", "NoEcho", "Zzz")
DECLARED = st.fixed_dictionaries(
    {
        "Type": st.sampled_from(["String", "Number", "CommaDelimitedList", "List<Number>"]),
        "Default": st.sampled_from(["1", "x", "", 3, True]),
    },
    optional=dict.fromkeys(CONSTRAINTS, VALUES),
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(DECLARED)
def test_any_parameter_is_read_or_refused(declared: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidTemplateError):
        parameter_values(parse(template(Parameters={"P": declared})), {})
