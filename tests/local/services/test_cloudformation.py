"""Stacks: foreign templates become resources that really run, change in place, roll back and go away."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

from tests.local.conftest import RunningAccount, owners_client
from tests.local.foreign_functions import Workshop, make_zip
from tests.local.foreign_models import MEAN, Deployer, archive

QUICKLY = {"Delay": 1, "MaxAttempts": 30}  # seconds, looks

# A template that the project does not contain, in the short forms of YAML.
GREETER = """
AWSTemplateFormatVersion: "2010-09-09"
Description: A greeter
Parameters:
  CodeKey: {Type: String}
  Greeting: {Type: String, Default: hello}
  WithAlarm: {Type: String, Default: "no", AllowedValues: ["yes", "no"]}
Conditions:
  HasAlarm: !Equals [!Ref WithAlarm, "yes"]
Mappings:
  Sizes: {small: {Memory: 256}}
Resources:
  Greet:
    Type: AWS::Lambda::Function
    Properties:
      Runtime: python3.11
      Handler: main.handler
      MemorySize: !FindInMap [Sizes, small, Memory]
      Timeout: "20"
      Role: !GetAtt Role.Arn
      Code: {S3Bucket: BUCKET, S3Key: !Ref CodeKey}
      Environment: {Variables: {GREETING: !Ref Greeting, FLAG: true}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: 2012-10-17
        Statement:
          - Effect: Allow
            Principal: {Service: [lambda.amazonaws.com, states.amazonaws.com, scheduler.amazonaws.com]}
            Action: sts:AssumeRole
      Policies:
        - PolicyName: any
          PolicyDocument:
            Version: 2012-10-17
            Statement: [{Effect: Allow, Action: ["s3:*", "lambda:InvokeFunction"], Resource: "*"}]
  Machine:
    Type: AWS::StepFunctions::StateMachine
    Properties:
      RoleArn: !GetAtt Role.Arn
      DefinitionString: |
        {"StartAt": "Greet", "States": {"Greet": {"Type": "Task", "Resource": "${GreetArn}", "End": true}}}
      DefinitionSubstitutions: {GreetArn: !GetAtt Greet.Arn}
  Inbox: {Type: AWS::SQS::Queue}
  InboxPolicy:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref Inbox]
      PolicyDocument: {Version: 2012-10-17, Statement: [{Effect: Allow, Principal: "*", Action: "sqs:SendMessage"}]}
  News:
    Type: AWS::SNS::Topic
  Subscription:
    Type: AWS::SNS::Subscription
    Properties: {TopicArn: !Ref News, Protocol: sqs, Endpoint: !GetAtt Inbox.Arn}
  Rule:
    Type: AWS::Events::Rule
    Properties:
      EventPattern: {source: [!Sub "greeter.${AWS::StackName}"]}
      Targets: [{Id: inbox, Arn: !GetAtt Inbox.Arn}]
  MayInvoke:
    Type: AWS::Lambda::Permission
    Properties: {Action: lambda:InvokeFunction, FunctionName: !Ref Greet, Principal: events.amazonaws.com}
  Nightly:
    Type: AWS::Scheduler::Schedule
    Properties:
      ScheduleExpression: cron(0 3 * * ? *)
      FlexibleTimeWindow: {Mode: "OFF"}
      Target: {Arn: !GetAtt Greet.Arn, RoleArn: !GetAtt Role.Arn}
  Alarm:
    Type: AWS::CloudWatch::Alarm
    Condition: HasAlarm
    Properties:
      Namespace: Greeter
      MetricName: Greetings
      Statistic: Sum
      Period: 60
      EvaluationPeriods: 1
      Threshold: 1
      ComparisonOperator: GreaterThanThreshold
      AlarmActions: [!Ref News]
  Logs: {Type: AWS::Logs::LogGroup, Properties: {RetentionInDays: 7}}
  Setting: {Type: AWS::SSM::Parameter, Properties: {Type: String, Value: !Join ["-", [a, !Ref Greeting]]}}
  Models:
    Type: AWS::SageMaker::ModelPackageGroup
    Properties: {ModelPackageGroupName: !Sub "${AWS::StackName}-models", ModelPackageGroupDescription: of a greeter}
Outputs:
  Machine: {Value: !Ref Machine}
  Function: {Value: !Ref Greet}
  Setting: {Value: !Ref Setting}
  Models: {Value: !GetAtt Models.ModelPackageGroupName}
  Inbox: {Value: !Ref Inbox}
  Source: {Value: !Sub "greeter.${AWS::StackName}"}
"""
GREETING_CODE = "import os\ndef handler(event, context):\n    return os.environ['GREETING'] + ' %s'\n"


class Stacks:
    """Creates, updates and deletes stacks as a client does, with waiters."""

    def __init__(self, account: RunningAccount) -> None:
        self.account = account
        self.client = account.client("cloudformation")
        self.name = f"stack-{uuid4().hex[:10]}"

    def arguments(self, template: Any, **parameters: str) -> dict[str, Any]:
        return {
            "StackName": self.name,
            "TemplateBody": template if isinstance(template, str) else json.dumps(template),
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
            "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
        }

    def create(self, template: Any, **parameters: str) -> dict[str, str]:
        self.client.create_stack(**self.arguments(template, **parameters))
        self.wait("stack_create_complete")
        return self.outputs()

    def update(self, template: Any, **parameters: str) -> dict[str, str]:
        self.client.update_stack(**self.arguments(template, **parameters))
        self.wait("stack_update_complete")
        return self.outputs()

    def wait(self, waiter: str, name: str | None = None) -> None:
        self.client.get_waiter(waiter).wait(StackName=name or self.name, WaiterConfig=QUICKLY)

    def settle(self) -> str:
        """Wait until nothing is in progress; the stack's status. No waiter of botocore's knows ROLLBACK_COMPLETE."""
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            status: str = self.describe()["StackStatus"]
            if not status.endswith("_IN_PROGRESS"):
                return status
            time.sleep(0.05)
        raise AssertionError(f"{self.name} is still busy")

    def delete(self) -> str:
        """Delete and wait; the stack's id, by which it can still be described."""
        stack_id: str = self.describe()["StackId"]
        self.client.delete_stack(StackName=self.name)
        self.wait("stack_delete_complete", stack_id)
        return stack_id

    def describe(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.describe_stacks(StackName=self.name)["Stacks"][0]
        return found

    def outputs(self) -> dict[str, str]:
        return {o["OutputKey"]: o["OutputValue"] for o in self.describe().get("Outputs", [])}

    def reason(self, logical: str) -> str:
        """Why a resource failed, out of the events."""
        events = self.client.describe_stack_events(StackName=self.describe()["StackId"])["StackEvents"]
        reasons = [
            e.get("ResourceStatusReason", "")
            for e in events
            if e["LogicalResourceId"] == logical and e["ResourceStatus"].endswith("_FAILED")
        ]
        return str(reasons[0])


@pytest.fixture
def stacks(account: RunningAccount) -> Stacks:
    return Stacks(account)


@pytest.fixture(scope="module")
def code_bucket(account: RunningAccount) -> str:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="stack-code")
    for version in ("one", "two"):
        s3.put_object(Bucket="stack-code", Key=f"{version}.zip", Body=make_zip({"main.py": GREETING_CODE % version}))
    return "stack-code"


def parameter(value: Any, **options: Any) -> dict[str, Any]:
    return {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": value, **options}}


def test_a_foreign_stack_runs_changes_and_goes_away(stacks: Stacks, code_bucket: str) -> None:
    template = GREETER.replace("BUCKET", code_bucket)
    outputs = stacks.create(template, CodeKey="one.zip")
    shop = Workshop(stacks.account)
    assert shop.output(outputs["Machine"]) == "hello one"
    assert stacks.account.client("ssm").get_parameter(Name=outputs["Setting"])["Parameter"]["Value"] == "a-hello"
    assert stacks.account.client("sagemaker").describe_model_package_group(ModelPackageGroupName=outputs["Models"])
    configuration = stacks.account.client("lambda").get_function_configuration(FunctionName=outputs["Function"])
    assert (configuration["MemorySize"], configuration["Timeout"]) == (256, 20)
    assert configuration["Environment"]["Variables"]["FLAG"] == "true"

    entry = {"Source": outputs["Source"], "DetailType": "t", "Detail": '{"n": 1}'}
    stacks.account.client("events").put_events(Entries=[entry])
    message = stacks.account.client("sqs").receive_message(QueueUrl=outputs["Inbox"], WaitTimeSeconds=10)["Messages"][0]
    assert json.loads(message["Body"])["detail"] == {"n": 1}

    resources = stacks.client.describe_stack_resources(StackName=stacks.name)["StackResources"]
    assert {r["ResourceStatus"] for r in resources} == {"CREATE_COMPLETE"}
    assert "Alarm" not in {r["LogicalResourceId"] for r in resources}

    changed = stacks.update(template, CodeKey="two.zip", Greeting="good day", WithAlarm="yes")
    assert changed["Machine"] == outputs["Machine"]
    assert shop.output(changed["Machine"]) == "good day two"
    alarms = stacks.account.client("cloudwatch").describe_alarms(AlarmNamePrefix=stacks.name)["MetricAlarms"]
    assert len(alarms) == 1

    stack_id = stacks.delete()
    assert stacks.client.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE"
    with pytest.raises(ClientError):
        stacks.account.client("lambda").get_function(FunctionName=outputs["Function"])
    with pytest.raises(ClientError, match="does not exist"):
        stacks.describe()


def test_a_change_set_shows_what_it_will_do_before_it_does_it(stacks: Stacks) -> None:
    resources = {"A": parameter("same"), "B": parameter({"Ref": "V"})}
    template = {"Parameters": {"V": {"Type": "String"}}, "Resources": resources}
    client = stacks.client
    first = client.create_change_set(ChangeSetName="c1", ChangeSetType="CREATE", **stacks.arguments(template, V="1"))
    client.get_waiter("change_set_create_complete").wait(ChangeSetName=first["Id"], WaiterConfig=QUICKLY)
    assert stacks.describe()["StackStatus"] == "REVIEW_IN_PROGRESS"
    shown = client.describe_change_set(ChangeSetName=first["Id"])["Changes"]
    assert [(c["ResourceChange"]["Action"], c["ResourceChange"]["LogicalResourceId"]) for c in shown] == [
        ("Add", "A"),
        ("Add", "B"),
    ]
    client.execute_change_set(ChangeSetName=first["Id"])
    stacks.wait("stack_create_complete")

    client.create_change_set(ChangeSetName="c2", **stacks.arguments(template, V="1"))
    same = client.describe_change_set(ChangeSetName="c2", StackName=stacks.name)
    assert same["Status"] == "FAILED"
    assert same["StatusReason"].startswith("The submitted information didn't contain changes.")
    with pytest.raises(WaiterError):
        client.get_waiter("change_set_create_complete").wait(
            ChangeSetName="c2", StackName=stacks.name, WaiterConfig=QUICKLY
        )
    with pytest.raises(ClientError, match="No updates are to be performed"):
        client.update_stack(**stacks.arguments(template, V="1"))

    client.create_change_set(ChangeSetName="c3", **stacks.arguments(template, V="2"))
    (change,) = client.describe_change_set(ChangeSetName="c3", StackName=stacks.name)["Changes"]
    assert change["ResourceChange"]["LogicalResourceId"] == "B"
    assert (change["ResourceChange"]["Action"], change["ResourceChange"]["Replacement"]) == ("Modify", "False")
    client.execute_change_set(ChangeSetName="c3", StackName=stacks.name)
    stacks.wait("stack_update_complete")


def test_a_request_without_a_required_member_is_refused(stacks: Stacks) -> None:
    careless = owners_client(
        "cloudformation", stacks.account.state_dir, stacks.account.port, Config(parameter_validation=False)
    )
    with pytest.raises(ClientError, match='Missing required parameter in input: "StackName"') as refused:
        careless.create_stack(TemplateBody="{}")
    assert refused.value.response["Error"]["Code"] == "ValidationError"


def test_an_unknown_type_fails_the_stack_and_rolls_it_back(stacks: Stacks) -> None:
    name = f"/rolled-back/{uuid4().hex}"
    template = {
        "Resources": {
            "Good": parameter("v", Name=name),
            "Bad": {"Type": "AWS::Cognito::UserPool", "DependsOn": "Good", "Properties": {}},
        }
    }
    stacks.client.create_stack(**stacks.arguments(template))
    with pytest.raises(WaiterError):
        stacks.wait("stack_create_complete")
    assert stacks.settle() == "ROLLBACK_COMPLETE"
    assert "does not implement the resource type AWS::Cognito::UserPool" in stacks.reason("Bad")
    with pytest.raises(ClientError, match="ParameterNotFound"):
        stacks.account.client("ssm").get_parameter(Name=name)


SAFE = """
Parameters: {Limit: {Type: Number}, Rotation: {Type: String}}
Resources:
  Key:
    Type: AWS::KMS::Key
    Properties:
      Description: !Sub "limit ${Limit}"
      EnableKeyRotation: !Ref Rotation
      KeyPolicy:
        Statement: [{Effect: Allow, Principal: {AWS: !Ref AWS::AccountId}, Action: "kms:*", Resource: "*"}]
  Name: {Type: AWS::KMS::Alias, Properties: {AliasName: !Sub "alias/${AWS::StackName}", TargetKeyId: !Ref Key}}
  Logs: {Type: AWS::Logs::LogGroup, Properties: {KmsKeyId: !GetAtt Key.Arn, RetentionInDays: 7}}
  Budget:
    Type: AWS::Budgets::Budget
    Properties:
      Budget: {BudgetType: COST, TimeUnit: MONTHLY, BudgetLimit: {Amount: !Ref Limit, Unit: USD}}
  Board: {Type: AWS::CloudWatch::Dashboard, Properties: {DashboardBody: '{"widgets": []}'}}
  Queue: {Type: AWS::SQS::Queue, Properties: {Tags: [{Key: stage, Value: mine}], VisibilityTimeout: !Ref Limit}}
Outputs: {Key: {Value: !Ref Key}, Logs: {Value: !Ref Logs}, Budget: {Value: !Ref Budget}, Queue: {Value: !Ref Queue}}
"""


def test_keys_and_budgets_change_in_place_and_tags_of_the_stack_go_everywhere(stacks: Stacks) -> None:
    kms, budgets, account = stacks.account.client("kms"), stacks.account.client("budgets"), "123456789012"
    tags = [{"Key": "stage", "Value": "test"}, {"Key": "project", "Value": "shop"}]
    arguments = stacks.arguments(SAFE, Limit="30", Rotation="true")
    stacks.client.create_stack(**arguments, Tags=tags)
    stacks.wait("stack_create_complete")
    made = stacks.outputs()
    encrypted = kms.encrypt(KeyId=f"alias/{stacks.name}", Plaintext=b"text")["CiphertextBlob"]
    assert kms.get_key_rotation_status(KeyId=made["Key"])["KeyRotationEnabled"] is True
    found = kms.list_resource_tags(KeyId=made["Key"])["Tags"]
    assert {tag["TagKey"]: tag["TagValue"] for tag in found} == {"stage": "test", "project": "shop"}
    queue_tags = stacks.account.client("sqs").list_queue_tags(QueueUrl=made["Queue"])["Tags"]
    assert queue_tags == {"stage": "mine", "project": "shop"}

    stacks.client.create_change_set(ChangeSetName="c", **stacks.arguments(SAFE, Limit="40", Rotation="false"))
    shown = stacks.client.describe_change_set(ChangeSetName="c", StackName=stacks.name)["Changes"]
    changes = {c["ResourceChange"]["LogicalResourceId"]: c["ResourceChange"] for c in shown}
    assert {c["Replacement"] for c in changes.values()} == {"False"}
    names = {detail["Target"]["Name"] for detail in changes["Key"]["Details"]}
    assert names == {"Description", "EnableKeyRotation"}
    assert stacks.update(SAFE, Limit="40", Rotation="false") == made
    assert kms.describe_key(KeyId=made["Key"])["KeyMetadata"]["Description"] == "limit 40"
    assert kms.get_key_rotation_status(KeyId=made["Key"])["KeyRotationEnabled"] is False
    assert kms.decrypt(CiphertextBlob=encrypted)["Plaintext"] == b"text"
    budget = budgets.describe_budget(AccountId=account, BudgetName=made["Budget"])["Budget"]
    assert budget["BudgetLimit"] == {"Amount": "40", "Unit": "USD"}
    logs = stacks.account.client("logs")
    (group,) = logs.describe_log_groups(logGroupNamePrefix=made["Logs"])["logGroups"]
    assert group["kmsKeyId"].endswith(made["Key"])

    stacks.update(SAFE.replace("KmsKeyId: !GetAtt Key.Arn, ", ""), Limit="40", Rotation="false")
    (group,) = logs.describe_log_groups(logGroupNamePrefix=made["Logs"])["logGroups"]
    assert "kmsKeyId" not in group
    stacks.delete()
    assert kms.describe_key(KeyId=made["Key"])["KeyMetadata"]["KeyState"] == "PendingDeletion"
    with pytest.raises(ClientError, match="Unable to get budget"):
        budgets.describe_budget(AccountId=account, BudgetName=made["Budget"])


def test_a_template_may_lie_in_s3_and_be_longer_than_a_request_may(stacks: Stacks, code_bucket: str) -> None:
    names = [f"A{number}" for number in range(3)]
    text = json.dumps({"Resources": {name: parameter("v" * 4000, Description="d" * 900) for name in names}}, indent=2)
    text += " " * 51_200
    stacks.account.client("s3").put_object(Bucket=code_bucket, Key="templates/long.json", Body=text.encode())
    arguments = stacks.arguments("") | {
        "TemplateURL": f"https://{code_bucket}.s3.us-east-1.amazonaws.com/templates/long.json"
    }
    del arguments["TemplateBody"]
    with pytest.raises(ClientError, match="51200"):
        stacks.client.create_stack(**stacks.arguments(text))
    stacks.client.create_change_set(ChangeSetName="c", ChangeSetType="CREATE", **arguments)
    stacks.client.execute_change_set(ChangeSetName="c", StackName=stacks.name)
    stacks.wait("stack_create_complete")
    assert len(stacks.client.describe_stack_resources(StackName=stacks.name)["StackResources"]) == 3


def test_an_unknown_property_fails_the_resource_by_name(stacks: Stacks) -> None:
    stacks.client.create_stack(**stacks.arguments({"Resources": {"P": parameter("v", Colour="red")}}))
    assert stacks.settle() == "ROLLBACK_COMPLETE"
    assert "#: extraneous key [Colour] is not permitted" in stacks.reason("P")


@pytest.mark.parametrize(
    ("kind", "properties", "problem"),
    [
        (
            "AWS::Events::Rule",
            {"EventPattern": {"source": ["s"]}, "Targets": {"Id": "1"}},
            "#/Targets: expected type: JSONArray, found: JSONObject",
        ),
        ("AWS::SNS::TopicPolicy", {"PolicyDocument": {"Statement": []}}, "#: required key [Topics] not found"),
        ("AWS::Lambda::Function", {"Role": "r", "Code": "print()"}, "#/Code: expected type: JSONObject, found: String"),
        ("AWS::Logs::LogGroup", {"RetentionInDays": 17}, "#/RetentionInDays: 17 is not a valid enum value"),
    ],
)
def test_a_property_of_a_wrong_kind_fails_the_stack_by_name(
    stacks: Stacks, kind: str, properties: Any, problem: str
) -> None:
    stacks.client.create_stack(**stacks.arguments({"Resources": {"Wrong": {"Type": kind, "Properties": properties}}}))
    assert stacks.settle() == "ROLLBACK_COMPLETE"
    events = stacks.client.describe_stack_events(StackName=stacks.name)["StackEvents"]
    assert any(problem in event.get("ResourceStatusReason", "") for event in events)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"Conditions": {"C": "yes"}}, "Template validation error: 'yes' cannot be used as a condition"),
        (
            {"Resources": {"A": {"Type": "AWS::Nothing::Here"}}},
            "Template format error: Unrecognized resource types: [AWS::Nothing::Here]",
        ),
        (
            {"Outputs": {"O": {"Value": {"Fn::FindInMap": ["M", "a", "b"]}}}, "Mappings": {"M": {"a": {"c": "d"}}}},
            "Template error: Unable to get mapping for M::a::b",
        ),
        (
            {
                "Conditions": {"Never": {"Fn::Equals": ["a", "b"]}},
                "Resources": {"A": parameter({"Ref": "B"}), "B": {**parameter("v"), "Condition": "Never"}},
            },
            "Template format error: Unresolved resource dependencies [B] in the Resources block of the template",
        ),
        (
            {
                "Conditions": {"Never": {"Fn::Equals": ["a", "b"]}},
                "Resources": {"A": parameter("v"), "B": {**parameter("v"), "Condition": "Never"}},
                "Outputs": {"O": {"Value": {"Ref": "B"}}},
            },
            "Unresolved resource dependencies [B] in the Outputs block of the template",
        ),
        (
            {"Rules": {"R": {"Assertions": [{"Assert": {"Fn::Equals": ["a", "b"]}, "AssertDescription": "a is b"}]}}},
            "Template error: a is b",
        ),
        (
            {"Parameters": {"P": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/is/not/there"}}},
            "Unable to fetch parameters [/is/not/there] from parameter store for this account.",
        ),
    ],
)
def test_what_can_never_be_made_is_refused_when_it_is_asked_for(stacks: Stacks, sections: Any, message: str) -> None:
    with pytest.raises(ClientError) as refused:
        stacks.client.create_stack(**stacks.arguments({"Resources": {"A": parameter("v")}, **sections}))
    assert refused.value.response["Error"]["Message"] == message
    with pytest.raises(ClientError, match="does not exist"):
        stacks.describe()


def test_a_failed_update_goes_back_to_what_was(stacks: Stacks) -> None:
    name = f"/goes-back/{uuid4().hex}"
    stacks.create({"Resources": {"A": parameter("before", Name=name)}})
    broken = {"Resources": {"A": parameter("after", Name=name), "B": parameter("v", Type="NoSuchType")}}
    broken["Resources"]["B"]["DependsOn"] = "A"
    stacks.client.update_stack(**stacks.arguments(broken))
    assert stacks.settle() == "UPDATE_ROLLBACK_COMPLETE"
    assert stacks.account.client("ssm").get_parameter(Name=name)["Parameter"]["Value"] == "before"
    assert len(stacks.client.describe_stack_resources(StackName=stacks.name)["StackResources"]) == 1


def test_a_resource_that_cannot_change_in_place_is_replaced(stacks: Stacks) -> None:
    first, second = f"/replaced/{uuid4().hex}", f"/replacement/{uuid4().hex}"
    stacks.create({"Resources": {"A": parameter("v", Name=first)}})
    stacks.update({"Resources": {"A": parameter("v", Name=second)}})
    ssm = stacks.account.client("ssm")
    assert ssm.get_parameter(Name=second)["Parameter"]["Value"] == "v"
    with pytest.raises(ClientError, match="ParameterNotFound"):
        ssm.get_parameter(Name=first)


def test_a_bucket_with_objects_is_not_deleted_and_says_why(stacks: Stacks) -> None:
    bucket = f"full-{uuid4().hex}"
    stacks.create({"Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": bucket}}}})
    s3 = stacks.account.client("s3")
    s3.put_object(Bucket=bucket, Key="precious", Body=b"1")
    stacks.client.delete_stack(StackName=stacks.name)
    with pytest.raises(WaiterError):
        stacks.wait("stack_delete_complete")
    assert stacks.describe()["StackStatusReason"] == "The following resource(s) failed to delete: [Bucket]. "
    assert "not empty" in stacks.reason("Bucket")
    s3.delete_object(Bucket=bucket, Key="precious")
    stacks.delete()


def test_a_bucket_has_the_settings_of_the_template(stacks: Stacks) -> None:
    template = """
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    Properties:
      VersioningConfiguration: {Status: Enabled}
      PublicAccessBlockConfiguration: {BlockPublicAcls: true, BlockPublicPolicy: true}
      BucketEncryption: {ServerSideEncryptionConfiguration: [{ServerSideEncryptionByDefault: {SSEAlgorithm: AES256}}]}
      LifecycleConfiguration: {Rules: [{Id: r, Status: Enabled, Prefix: tmp/, ExpirationInDays: 3}]}
      Tags: [{Key: k, Value: v}]
  Policy:
    Type: AWS::S3::BucketPolicy
    Properties:
      Bucket: !Ref Bucket
      PolicyDocument:
        Version: 2012-10-17
        Statement: [{Effect: Deny, Principal: "*", Action: "s3:DeleteBucket", Resource: !GetAtt Bucket.Arn}]
Outputs: {Bucket: {Value: !Ref Bucket}}
"""
    bucket = stacks.create(template)["Bucket"]
    s3 = stacks.account.client("s3")
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]["BlockPublicAcls"] is True
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert (rule["ID"], rule["Expiration"]["Days"]) == ("r", 3)
    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"][0]["Effect"] == "Deny"
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "k", "Value": "v"}]


def test_a_state_machine_from_s3_follows_its_definition(stacks: Stacks, code_bucket: str) -> None:
    s3 = stacks.account.client("s3")
    role = Workshop(stacks.account).role
    for number in (1, 2):
        states = {"Only": {"Type": "Pass", "Result": f"{number} ${{Word}}", "End": True}}
        s3.put_object(Bucket=code_bucket, Key=f"{number}.json", Body=json.dumps({"StartAt": "Only", "States": states}))
    template = {
        "Parameters": {"Key": {"Type": "String"}},
        "Resources": {
            "Machine": {
                "Type": "AWS::StepFunctions::StateMachine",
                "Properties": {
                    "RoleArn": role,
                    "DefinitionS3Location": {"Bucket": code_bucket, "Key": {"Ref": "Key"}},
                    "DefinitionSubstitutions": {"Word": "word"},
                },
            }
        },
        "Outputs": {"Arn": {"Value": {"Ref": "Machine"}}},
    }
    arn = stacks.create(template, Key="1.json")["Arn"]
    assert Workshop(stacks.account).output(arn) == "1 word"
    assert stacks.update(template, Key="2.json")["Arn"] == arn
    assert Workshop(stacks.account).output(arn) == "2 word"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("Resources: [", "Template format error: YAML not well-formed."),
        ({"Resources": {}}, "At least one Resources member"),
        ({"Resources": {"A": parameter("v")}, "Resorces": {}}, "Resorces"),
        ({"Resources": {"A": parameter({"Ref": "Nobody"})}}, "Unresolved resource dependencies [Nobody]"),
        ({"Resources": {"A": parameter("v")}, "Transform": "AWS::CodeStar"}, "not implement Transform"),
        ({"Parameters": {"P": {"Type": "String"}}, "Resources": {"A": parameter("v")}}, "[P] must have values"),
    ],
)
def test_a_template_that_is_wrong_is_refused(stacks: Stacks, template: Any, message: str) -> None:
    with pytest.raises(ClientError) as raised:
        stacks.client.create_stack(**stacks.arguments(template))
    assert message in raised.value.response["Error"]["Message"]


def test_values_pass_from_stack_to_stack(account: RunningAccount) -> None:
    giver, taker = Stacks(account), Stacks(account)
    export = f"export-{uuid4().hex}"
    giver.create({"Resources": {"A": parameter("v")}, "Outputs": {"O": {"Value": "given", "Export": {"Name": export}}}})
    imported = {"Fn::ImportValue": export}
    outputs = taker.create({"Resources": {"A": parameter(imported)}, "Outputs": {"O": {"Value": imported}}})
    assert outputs == {"O": "given"}


def test_roles_need_the_callers_word(stacks: Stacks) -> None:
    resources = yaml.safe_load("{R: {Type: 'AWS::IAM::Role', Properties: {AssumeRolePolicyDocument: {}}}}")
    with pytest.raises(ClientError, match="InsufficientCapabilities"):
        stacks.client.create_stack(StackName=stacks.name, TemplateBody=json.dumps({"Resources": resources}))


def test_the_aws_command_line_deploys(account: RunningAccount, tmp_path: Path) -> None:
    template = tmp_path / "template.json"
    template.write_text(json.dumps({"Resources": {"A": parameter("v")}}))
    command = [sys.executable, str(Path(sys.executable).with_name("aws")), "cloudformation", "deploy"]
    command += ["--stack-name", f"cli-{uuid4().hex[:8]}", "--template-file", str(template)]
    for expected in ("Successfully created/updated stack", "No changes to deploy"):
        run = subprocess.run(
            command, env=account.environment(), capture_output=True, text=True, timeout=120, check=False
        )
        assert expected in run.stdout + run.stderr, run


def test_a_stack_waits_for_its_endpoint_and_fails_with_it(account: RunningAccount) -> None:
    deployer = Deployer(account, f"stack-{uuid4().hex[:8]}")
    slow = deployer.model("slow", archive(f"import time\ntime.sleep(3)\n{MEAN}"))
    broken = deployer.model("broken", archive("raise ValueError('no model here')\n"))
    cloudformation, name = account.client("cloudformation"), f"{deployer.prefix}-endpoint"

    def template(config: str) -> str:
        properties = {"EndpointName": name, "EndpointConfigName": config}
        return json.dumps({"Resources": {"Endpoint": {"Type": "AWS::SageMaker::Endpoint", "Properties": properties}}})

    good, bad = deployer.config("good", {"A": slow}), deployer.config("bad", {"A": broken})
    cloudformation.create_stack(StackName=name, TemplateBody=template(good))
    assert cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] == "CREATE_IN_PROGRESS"
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=QUICKLY)
    assert deployer.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService"
    cloudformation.update_stack(StackName=name, TemplateBody=template(bad))
    with pytest.raises(WaiterError):
        cloudformation.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig=QUICKLY)
    cloudformation.get_waiter("stack_rollback_complete").wait(StackName=name, WaiterConfig=QUICKLY)
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    assert any("no model here" in event.get("ResourceStatusReason", "") for event in events)
    assert deployer.sagemaker.describe_endpoint(EndpointName=name)["EndpointConfigName"] == good
    cloudformation.delete_stack(StackName=name)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig=QUICKLY)
