"""SAM templates: what AWS's transform makes of them is made, and runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.console_stage import until
from tests.local.cloudformation.test_transforms import failure
from tests.local.conftest import RunningAccount
from tests.local.foreign_functions import make_zip

SERVERLESS = "AWS::Serverless-2016-10-31"
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
CODE = """
import json, os, boto3
def handler(event, context):
    for record in event.get("Records", [event]):
        told = record.get("body") or record.get("s3", {}).get("object", {}).get("key") or record.get("told")
        boto3.resource("dynamodb").Table(os.environ["TABLE"]).put_item(Item={"id": told})
    return {"by": context.invoked_function_arn.split(":")[-1]}
"""
TEMPLATE = """
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31
Parameters:
  Depth: {Type: Number, Default: 5}
Globals:
  Function:
    Runtime: python3.11
    Timeout: 20
    Environment: {Variables: {TABLE: !Ref Seen}}
Resources:
  Work:
    Type: AWS::Serverless::Function
    Properties:
      Handler: main.handler
      CodeUri: s3://sam-packages/work.zip
      AutoPublishAlias: live
      Policies: [{DynamoDBCrudPolicy: {TableName: !Ref Seen}}, AWSLambdaBasicExecutionRole]
      EventInvokeConfig: {MaximumRetryAttempts: 0}
      FunctionUrlConfig: {AuthType: NONE}
      Events:
        Upload: {Type: S3, Properties: {Bucket: !Ref Files, Events: 's3:ObjectCreated:*'}}
        Message: {Type: SQS, Properties: {Queue: !GetAtt Messages.Arn, BatchSize: !Ref Depth}}
        Rule: {Type: EventBridgeRule, Properties: {Pattern: {source: [sam.test]}, InputPath: $.detail}}
        Daily: {Type: Schedule, Properties: {Schedule: rate(1 day), Input: '{"told": "daily"}'}}
        Nightly: {Type: ScheduleV2, Properties: {ScheduleExpression: cron(0 3 * * ? *)}}
  Seen: {Type: AWS::Serverless::SimpleTable, Properties: {PrimaryKey: {Name: id, Type: String}}}
  Files: {Type: AWS::S3::Bucket}
  Messages: {Type: AWS::SQS::Queue}
  Flow:
    Type: AWS::Serverless::StateMachine
    Properties:
      Definition:
        StartAt: Work
        States: {Work: {Type: Task, Resource: '${Work}', Parameters: {told: flow}, End: true}}
      DefinitionSubstitutions: {Work: !Ref Work.Alias}
      Policies: [{LambdaInvokePolicy: {FunctionName: !Ref Work}}]
Outputs:
  Files: {Value: !Ref Files}
  Messages: {Value: !Ref Messages}
  Seen: {Value: !Ref Seen}
  Flow: {Value: !Ref Flow}
"""


@pytest.fixture(scope="module")
def stacks(account: RunningAccount) -> Any:
    return account.client("cloudformation")


@pytest.fixture(scope="module")
def outputs(account: RunningAccount, stacks: Any) -> dict[str, str]:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="sam-packages")
    s3.put_object(Bucket="sam-packages", Key="work.zip", Body=make_zip({"main.py": CODE}))
    named = {"StackName": "sam-app", "ChangeSetName": "first", "ChangeSetType": "CREATE"}
    stacks.create_change_set(**named, TemplateBody=TEMPLATE, Capabilities=CAPABILITIES)  # as `sam deploy` does
    stacks.execute_change_set(StackName="sam-app", ChangeSetName="first")
    stacks.get_waiter("stack_create_complete").wait(StackName="sam-app", WaiterConfig={"Delay": 1})
    told = stacks.describe_stacks(StackName="sam-app")["Stacks"][0]["Outputs"]
    return {each["OutputKey"]: each["OutputValue"] for each in told}


def _by_upload(account: RunningAccount, made: dict[str, str]) -> None:
    account.client("s3").put_object(Bucket=made["Files"], Key="told", Body=b"")


def _by_message(account: RunningAccount, made: dict[str, str]) -> None:
    account.client("sqs").send_message(QueueUrl=made["Messages"], MessageBody="told")


def _by_event(account: RunningAccount, made: dict[str, str]) -> None:
    detail = json.dumps({"told": "told"})
    account.client("events").put_events(Entries=[{"Source": "sam.test", "DetailType": "t", "Detail": detail}])


@pytest.mark.parametrize("tell", [_by_upload, _by_message, _by_event])
def test_the_events_of_a_function_reach_it(
    account: RunningAccount, outputs: dict[str, str], tell: Callable[[RunningAccount, dict[str, str]], None]
) -> None:
    table = {"TableName": outputs["Seen"], "Key": {"id": {"S": "told"}}}
    dynamodb = account.client("dynamodb")
    tell(account, outputs)
    until(lambda: dynamodb.get_item(**table).get("Item"), "the function saw the event")
    dynamodb.delete_item(**table)


def test_a_state_machine_calls_the_alias_of_its_function(account: RunningAccount, outputs: dict[str, str]) -> None:
    states = account.client("stepfunctions")
    arn = states.start_execution(stateMachineArn=outputs["Flow"])["executionArn"]
    ended = until(lambda: states.describe_execution(executionArn=arn).get("output"), "the execution ended")
    assert json.loads(ended) == {"by": "live"}


def test_the_template_is_told_as_it_was_written_and_as_it_was_made(stacks: Any, outputs: dict[str, str]) -> None:
    assert outputs
    assert stacks.get_template(StackName="sam-app")["TemplateBody"] == TEMPLATE
    made = stacks.get_template(StackName="sam-app", TemplateStage="Processed")["TemplateBody"]
    assert {each["Type"].partition("::")[0] for each in made["Resources"].values()} == {"AWS"}
    assert not any("Serverless" in each["Type"] for each in made["Resources"].values())
    told = stacks.get_template_summary(TemplateBody=TEMPLATE)
    assert (told["DeclaredTransforms"], told["Capabilities"]) == ([SERVERLESS], ["CAPABILITY_AUTO_EXPAND"])


FUNCTION = {"Handler": "main.handler", "Runtime": "python3.11", "CodeUri": "s3://sam-packages/work.zip"}


@pytest.mark.parametrize(
    ("kind", "properties", "expected"),
    [
        ("Function", {**FUNCTION, "CodeUri": "./src"}, "[R] is invalid. 'CodeUri' is not a valid S3 Uri of the form"),
        ("Function", {"Runtime": "python3.11", "InlineCode": "x"}, "[R] is invalid. "),
        ("Function", [], "[R] is invalid. Attribute 'Properties' should be a map."),
        ("Function", {**FUNCTION, "Events": {"E": {"Type": "Owl"}}}, "[R] is invalid. Event with id [E] is invalid."),
        ("Application", {"Location": {"ApplicationId": "a", "SemanticVersion": "1.0.0"}}, "no application repository"),
    ],
)  # fmt: skip
def test_what_is_no_sam_template_has_the_stack_fail(stacks: Any, kind: str, properties: object, expected: str) -> None:
    template = {
        "Transform": SERVERLESS,
        "Resources": {"R": {"Type": f"AWS::Serverless::{kind}", "Properties": properties}},
    }
    assert expected in failure(stacks, "no-sam", template, Capabilities=CAPABILITIES)
