"""Templates with transforms: macros of the account, AWS::Include and AWS::LanguageExtensions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.console_stage import until
from tests.local.conftest import RunningAccount
from tests.local.foreign_functions import Workshop

EXPAND = ["CAPABILITY_AUTO_EXPAND"]
PARAMETER = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "before"}}
UPPER = """
def handler(event, context):
    if event["params"].get("Fail"):
        return {"requestId": event["requestId"], "status": "failed", "errorMessage": event["params"]["Fail"]}
    if event["params"].get("Odd"):
        return event["params"]["Odd"]
    fragment = {**event["fragment"]}
    suffix = event["templateParameterValues"].get("Suffix", "") + event["params"].get("Suffix", "")
    for resource in fragment.get("Resources", {}).values():
        resource["Properties"]["Value"] = resource["Properties"]["Value"].upper() + suffix
    if "Value" in fragment:
        fragment["Value"] = fragment["Value"] + suffix
    return {"requestId": event["requestId"], "status": "success", "fragment": fragment}
"""


@pytest.fixture(scope="module")
def stacks(account: RunningAccount) -> Any:
    return account.client("cloudformation")


@pytest.fixture(scope="module")
def macro(account: RunningAccount, stacks: Any) -> str:
    function = Workshop(account).function(UPPER)
    properties = {"Name": "Upper", "FunctionName": function}
    make(stacks, "macros", {"Resources": {"M": {"Type": "AWS::CloudFormation::Macro", "Properties": properties}}})
    return "Upper"


def make(stacks: Any, name: str, template: dict[str, Any], **request: Any) -> dict[str, Any]:
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template), Capabilities=EXPAND, **request)
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    found: dict[str, Any] = stacks.describe_stacks(StackName=name)["Stacks"][0]
    return found


def refusal(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def value_of(stacks: Any, account: RunningAccount, stack: str, logical: str) -> str:
    found = stacks.describe_stack_resource(StackName=stack, LogicalResourceId=logical)["StackResourceDetail"]
    value: str = account.client("ssm").get_parameter(Name=found["PhysicalResourceId"])["Parameter"]["Value"]
    return value


def test_a_macro_changes_the_template(account: RunningAccount, stacks: Any, macro: str) -> None:
    suffix = {"Fn::Join": ["", [{"Ref": "Suffix"}]]}
    part = [{"Name": macro, "Parameters": {"Suffix": suffix}}]
    inner = {**PARAMETER, "Properties": {**PARAMETER["Properties"], "Fn::Transform": part}}  # type: ignore[dict-item]
    template = {
        "Transform": [macro], "Parameters": {"Suffix": {"Type": "String", "Default": "-x"}},
        "Resources": {"P": PARAMETER, "Q": inner},
    }  # fmt: skip
    make(stacks, "with-macro", template)
    assert [value_of(stacks, account, "with-macro", name) for name in "PQ"] == ["BEFORE-x", "BEFORE-X-X-x"]
    assert stacks.get_template(StackName="with-macro")["TemplateBody"] == template
    processed = stacks.get_template(StackName="with-macro", TemplateStage="Processed")["TemplateBody"]
    assert "Transform" not in processed
    assert processed["Resources"]["P"]["Properties"]["Value"] == "BEFORE-x"
    again = {"StackName": "with-macro", "UsePreviousTemplate": True, "Capabilities": EXPAND}
    stacks.update_stack(**again, Parameters=[{"ParameterKey": "Suffix", "ParameterValue": "-y"}])
    stacks.get_waiter("stack_update_complete").wait(StackName="with-macro", WaiterConfig={"Delay": 1})
    assert value_of(stacks, account, "with-macro", "P") == "BEFORE-y"


def failure(stacks: Any, name: str, template: dict[str, Any], **request: Any) -> str:
    """Why a stack of this template was rolled back before anything was made."""
    stack = stacks.create_stack(
        StackName=name, TemplateBody=json.dumps(template), **{"Capabilities": EXPAND, **request}
    )
    ended = lambda: stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] == "ROLLBACK_COMPLETE"  # noqa: E731
    until(ended, "the stack is rolled back")
    events = stacks.describe_stack_events(StackName=stack["StackId"])["StackEvents"]
    assert {each["ResourceType"] for each in events} == {"AWS::CloudFormation::Stack"}
    stacks.delete_stack(StackName=name)
    told: list[str] = [each.get("ResourceStatusReason", "") for each in events]
    return next(text for text in told if text.endswith(". Rollback requested by user."))


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ("NoSuchMacro", "No transform named NoSuchMacro found."),
        ({"Name": "Upper", "Parameters": {"Fail": "for a reason"}}, "::Upper failed with: for a reason"),
        ({"Name": "Upper", "Parameters": {"Odd": {"status": "success"}}}, "Received malformed response from transform"),
        ({"Name": "AWS::Include", "Parameters": {"Location": "nowhere"}}, "should be in the form s3://bucket/key"),
        ({"Name": "AWS::Include", "Parameters": {"Location": "s3://no-such-bucket/x"}}, "AWS::Include failed with"),
    ],
)
@pytest.mark.usefixtures("macro")
def test_a_transform_that_fails_has_the_stack_fail(stacks: Any, transform: object, expected: str) -> None:
    assert expected in failure(stacks, "failed", {"Transform": transform, "Resources": {"P": PARAMETER}})


def test_a_transform_that_fails_has_the_change_set_fail(stacks: Any) -> None:
    template = json.dumps({"Transform": "NoSuchMacro", "Resources": {"P": PARAMETER}})
    named = {"StackName": "failed-set", "ChangeSetName": "c"}
    stacks.create_change_set(**named, ChangeSetType="CREATE", TemplateBody=template)
    told = stacks.describe_change_set(**named)
    assert (told["Status"], told["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert told["StatusReason"] == "No transform named NoSuchMacro found."
    assert stacks.get_template(**named)["TemplateBody"] == json.loads(template)
    assert refusal(stacks.execute_change_set, **named)[0] == "InvalidChangeSetStatus"


def test_a_transform_that_fails_leaves_the_stack_as_it_was(account: RunningAccount, stacks: Any, macro: str) -> None:
    good = {"Transform": macro, "Resources": {"P": PARAMETER}}
    make(stacks, "kept", good)
    bad = json.dumps({"Transform": "NoSuchMacro", "Resources": {"Q": PARAMETER}})
    stacks.update_stack(StackName="kept", TemplateBody=bad, Capabilities=EXPAND)
    stack = stacks.describe_stacks(StackName="kept")["Stacks"][0]
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert stacks.get_template(StackName="kept")["TemplateBody"] == good
    assert value_of(stacks, account, "kept", "P") == "BEFORE"


def test_a_transform_of_aws_that_is_not_here_is_refused(stacks: Any) -> None:
    template = json.dumps({"Transform": "AWS::CodeStar", "Resources": {"P": PARAMETER}})
    _, message = refusal(stacks.create_stack, StackName="never", TemplateBody=template, Capabilities=EXPAND)
    assert message == "The stand-in account does not implement Transform (AWS::CodeStar)."
    assert refusal(stacks.describe_stacks, StackName="never")[0] == "ValidationError"


def test_who_makes_a_stack_has_to_expect_that_its_template_grows(stacks: Any, macro: str) -> None:
    template = json.dumps({"Transform": macro, "Resources": {"P": PARAMETER}})
    code, message = refusal(stacks.create_stack, StackName="unexpected", TemplateBody=template)
    assert (code, message) == ("InsufficientCapabilitiesException", "Requires capabilities : [CAPABILITY_AUTO_EXPAND]")
    told = stacks.validate_template(TemplateBody=template)
    assert (told["DeclaredTransforms"], told["Capabilities"]) == ([macro], EXPAND)


def test_parts_lie_in_s3_and_loops_are_unrolled(account: RunningAccount, stacks: Any) -> None:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="parts-of-templates")
    s3.put_object(
        Bucket="parts-of-templates",
        Key="more.yaml",
        Body=b"Q:\n  Type: AWS::SSM::Parameter\n  Properties: {Type: String, Value: there}\n",
    )
    include = {"Name": "AWS::Include", "Parameters": {"Location": {"Fn::Sub": "s3://${Parts}/more.yaml"}}}
    loop = ["Name", ["a", "b"], {"P${Name}": PARAMETER}]
    made = make(stacks, "extended", {
        "Transform": "AWS::LanguageExtensions",
        "Parameters": {"Parts": {"Type": "String", "Default": "parts-of-templates"}},
        "Resources": {"Fn::ForEach::All": loop, "Fn::Transform": include},
        "Outputs": {
            "Number": {"Value": {"Fn::Length": ["x", "y"]}}, "Text": {"Value": {"Fn::ToJsonString": {"a": [1]}}},
        },
    })  # fmt: skip
    assert {each["OutputKey"]: each["OutputValue"] for each in made["Outputs"]} == {"Number": "2", "Text": '{"a":[1]}'}
    assert value_of(stacks, account, "extended", "Q") == "there"
    listed = stacks.list_stack_resources(StackName="extended")["StackResourceSummaries"]
    assert sorted(each["LogicalResourceId"] for each in listed) == ["Pa", "Pb", "Q"]
