"""Stacks of other people: options that are acted on, references, functions' own resources, stacks in stacks."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import RunningAccount
from tests.local.services.test_cloudformation import Stacks, parameter

ROLE: dict[str, Any] = {
    "Type": "AWS::IAM::Role",
    "Properties": {
        "AssumeRolePolicyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
            ],
        }
    },
}
ANSWERING = """
import cfnresponse
def handler(event, context):
    given = event["ResourceProperties"]
    if event["RequestType"] != "Delete" and given.get("Fail") == "true":
        cfnresponse.send(event, context, cfnresponse.FAILED, {}, "thing-1", reason="it was to fail")
        return
    data = {"Doubled": str(2 * int(given["Number"])), "Was": event["RequestType"]}
    cfnresponse.send(event, context, cfnresponse.SUCCESS, data, "thing-" + given["Number"])
"""


@pytest.fixture
def stacks(account: RunningAccount) -> Stacks:
    return Stacks(account)


def function(code: str, **more: Any) -> dict[str, Any]:
    properties = {"Runtime": "python3.11", "Handler": "index.handler", "Role": {"Fn::GetAtt": ["Role", "Arn"]}}
    return {"Type": "AWS::Lambda::Function", "Properties": {**properties, "Code": {"ZipFile": code}, **more}}


def message_of(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return str(refused.value.response["Error"]["Message"])


def test_a_protected_stack_cannot_be_deleted(stacks: Stacks) -> None:
    arguments = stacks.arguments({"Resources": {"A": parameter("v")}})
    stacks.client.create_stack(**arguments, EnableTerminationProtection=True)
    stacks.wait("stack_create_complete")
    stack = stacks.describe()
    assert stack["EnableTerminationProtection"] is True
    refusal = f"Stack [{stack['StackId']}] cannot be deleted while TerminationProtection is enabled"
    assert message_of(stacks.client.delete_stack, StackName=stacks.name) == refusal
    stacks.client.update_termination_protection(StackName=stacks.name, EnableTerminationProtection=False)
    stacks.delete()


def test_a_stack_policy_keeps_a_resource_as_it_is(stacks: Stacks) -> None:
    policy = {
        "Statement": [
            {"Effect": "Deny", "Action": "Update:*", "Principal": "*", "Resource": "LogicalResourceId/Kept"},
            {"Effect": "Allow", "Action": "Update:*", "Principal": "*", "Resource": "*"},
        ]
    }
    stacks.create({"Resources": {"Free": parameter("v"), "Kept": parameter("v")}})
    assert "StackPolicyBody" not in stacks.client.get_stack_policy(StackName=stacks.name)
    wrong = {"StackName": stacks.name, "StackPolicyBody": '{"Statement": [{"Effect": "Deny", "Action": "Delete:*"}]}'}
    assert message_of(stacks.client.set_stack_policy, **wrong) == "Error validating stack policy: Invalid stack policy"
    stacks.client.set_stack_policy(StackName=stacks.name, StackPolicyBody=json.dumps(policy))
    stacks.update({"Resources": {"Free": parameter("w"), "Kept": parameter("v")}})
    stacks.client.update_stack(**stacks.arguments({"Resources": {"Free": parameter("x"), "Kept": parameter("w")}}))
    assert stacks.settle() == "UPDATE_ROLLBACK_COMPLETE"
    assert stacks.reason("Kept").startswith("Action denied by stack policy: Statement [#1]")
    body = stacks.client.get_stack_policy(StackName=stacks.name)["StackPolicyBody"]
    assert (json.loads(body) if isinstance(body, str) else body) == policy


def test_events_go_to_the_topics_of_the_stack(stacks: Stacks) -> None:
    outputs = Stacks(stacks.account).create(
        {
            "Resources": {
                "Queue": {"Type": "AWS::SQS::Queue"},
                "Topic": {
                    "Type": "AWS::SNS::Topic",
                    "Properties": {"Subscription": [{"Protocol": "sqs", "Endpoint": {"Fn::GetAtt": ["Queue", "Arn"]}}]},
                },
                "Policy": {
                    "Type": "AWS::SQS::QueuePolicy",
                    "Properties": {
                        "Queues": [{"Ref": "Queue"}],
                        "PolicyDocument": {
                            "Version": "2012-10-17",
                            "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage"}],
                        },
                    },
                },
            },
            "Outputs": {"Queue": {"Value": {"Ref": "Queue"}}, "Topic": {"Value": {"Ref": "Topic"}}},
        }
    )
    arguments = stacks.arguments({"Resources": {"A": parameter("v")}})
    stacks.client.create_stack(**arguments, NotificationARNs=[outputs["Topic"]])
    stacks.wait("stack_create_complete")
    sqs, told = stacks.account.client("sqs"), []
    while not any("LogicalResourceId='A'" in each and "CREATE_COMPLETE" in each for each in told):
        found = sqs.receive_message(QueueUrl=outputs["Queue"], WaitTimeSeconds=10, MaxNumberOfMessages=10)
        told += [json.loads(each["Body"])["Message"] for each in found["Messages"]]
    assert stacks.describe()["NotificationARNs"] == [outputs["Topic"]]


def test_types_that_the_caller_did_not_name_are_refused(stacks: Stacks) -> None:
    arguments = stacks.arguments({"Resources": {"A": parameter("v")}}) | {"ResourceTypes": ["AWS::EC2::*"]}
    expected = "Resource type AWS::SSM::Parameter is not allowed by parameter ResourceTypes [AWS::EC2::*]"
    assert message_of(stacks.client.create_stack, **arguments) == expected


def test_what_is_to_be_retained_outlives_its_replacement_and_its_stack(stacks: Stacks) -> None:
    first, second, ssm = f"/kept/{uuid4().hex}", f"/kept/{uuid4().hex}", stacks.account.client("ssm")
    policies = {"UpdateReplacePolicy": "Retain", "DeletionPolicy": "Retain"}
    stacks.create({"Resources": {"A": {**parameter("v", Name=first), **policies}}})
    stacks.update({"Resources": {"A": {**parameter("w", Name=second), **policies}}})
    stack_id = stacks.delete()
    assert [ssm.get_parameter(Name=name)["Parameter"]["Value"] for name in (first, second)] == ["v", "w"]
    events = stacks.client.describe_stack_events(StackName=stack_id)["StackEvents"]
    assert [e["ResourceStatus"] for e in events].count("DELETE_SKIPPED") == 2


def test_nothing_of_a_resource_that_failed_half_made_is_left(stacks: Stacks) -> None:
    name = f"half-{uuid4().hex[:8]}"
    role = {
        "Type": ROLE["Type"],
        "Properties": {**ROLE["Properties"], "RoleName": name, "ManagedPolicyArns": ["arn:x"]},
    }  # type: ignore[dict-item]
    stacks.client.create_stack(**stacks.arguments({"Resources": {"Role": role}}))
    assert stacks.settle() == "ROLLBACK_COMPLETE"
    assert stacks.describe()["StackStatusReason" if "StackStatusReason" in stacks.describe() else "StackStatus"]
    with pytest.raises(ClientError, match="NoSuchEntity"):
        stacks.account.client("iam").get_role(RoleName=name)


def test_dynamic_references_become_values_or_are_refused(stacks: Stacks) -> None:
    tag = uuid4().hex[:8]
    stacks.account.client("ssm").put_parameter(Name=f"/plain/{tag}", Value="plain", Type="String")
    template = {
        "Resources": {"Plain": parameter({"Fn::Sub": f"is {{{{resolve:ssm:/plain/{tag}:1}}}} in ${{AWS::Region}}"})},
        "Outputs": {"Plain": {"Value": {"Ref": "Plain"}}},
    }
    plain = stacks.create(template)["Plain"]
    assert stacks.account.client("ssm").get_parameter(Name=plain)["Parameter"]["Value"] == "is plain in us-east-1"
    for reference, refusal in (
        ("ssm:/not/there", "Parameters: [ssm:/not/there] cannot be found."),
        ("ssm-secure:/x:1", "SSM Secure reference is not supported in: [/x:1]"),
        ("secretsmanager:not-there:SecretString:k", "Secrets Manager can't find the specified secret."),
    ):
        arguments = Stacks(stacks.account).arguments({"Resources": {"A": parameter(f"{{{{resolve:{reference}}}}}")}})
        assert message_of(stacks.client.create_stack, **arguments) == refusal


def test_a_stack_makes_a_secret_and_refers_to_what_it_holds(stacks: Stacks) -> None:
    secrets, name = stacks.account.client("secretsmanager"), f"secret-{uuid4().hex[:8]}"
    made_up = {"SecretStringTemplate": '{"user": "u"}', "GenerateStringKey": "password", "PasswordLength": 24}
    secret = {"Type": "AWS::SecretsManager::Secret", "Properties": {"Name": name, "GenerateSecretString": made_up}}
    arn = stacks.create({"Resources": {"Secret": secret}, "Outputs": {"Arn": {"Value": {"Ref": "Secret"}}}})["Arn"]
    held = json.loads(secrets.get_secret_value(SecretId=arn)["SecretString"])
    assert (held["user"], len(held["password"])) == ("u", 24)
    other = Stacks(stacks.account)
    template = {
        "Resources": {"User": parameter(f"{{{{resolve:secretsmanager:{name}:SecretString:user}}}}")},
        "Outputs": {"User": {"Value": {"Ref": "User"}}},
    }
    named = other.create(template)["User"]
    assert stacks.account.client("ssm").get_parameter(Name=named)["Parameter"]["Value"] == "u"
    stacks.delete()
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        secrets.describe_secret(SecretId=name)


def test_users_groups_and_keys_of_iam_come_and_go(stacks: Stacks) -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    policy = {"PolicyName": "p", "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
    resources = {
        "Team": {"Type": "AWS::IAM::Group", "Properties": {"Policies": [policy]}},
        "User": {"Type": "AWS::IAM::User", "Properties": {"Groups": [{"Ref": "Team"}], "Policies": [policy]}},
        "Key": {"Type": "AWS::IAM::AccessKey", "Properties": {"UserName": {"Ref": "User"}}},
        "Profile": {"Type": "AWS::IAM::InstanceProfile", "Properties": {"Roles": [{"Ref": "Role"}]}},
        "Role": ROLE,
    }
    secret = {"Value": {"Fn::GetAtt": ["Key", "SecretAccessKey"]}}
    outputs = {"User": {"Value": {"Ref": "User"}}, "Key": {"Value": {"Ref": "Key"}}, "Secret": secret}
    made, iam = stacks.create({"Resources": resources, "Outputs": outputs}), stacks.account.client("iam")
    assert iam.list_access_keys(UserName=made["User"])["AccessKeyMetadata"][0]["AccessKeyId"] == made["Key"]
    assert iam.list_groups_for_user(UserName=made["User"])["Groups"]
    assert len(made["Secret"]) > 20
    stacks.delete()
    with pytest.raises(ClientError, match="NoSuchEntity"):
        iam.get_user(UserName=made["User"])


def test_a_function_makes_changes_and_removes_its_own_resource(stacks: Stacks) -> None:
    def template(number: int, fail: bool = False) -> dict[str, Any]:
        own = {"ServiceToken": {"Fn::GetAtt": ["Maker", "Arn"]}, "Number": number, "Fail": fail}
        resources = {"Role": ROLE, "Maker": function(ANSWERING), "Own": {"Type": "Custom::Own", "Properties": own}}
        outputs: dict[str, Any] = {n: {"Value": {"Fn::GetAtt": ["Own", n]}} for n in ("Doubled", "Was")}
        return {"Resources": resources, "Outputs": {**outputs, "Own": {"Value": {"Ref": "Own"}}}}

    assert stacks.create(template(4)) == {"Doubled": "8", "Was": "Create", "Own": "thing-4"}
    assert stacks.update(template(5)) == {"Doubled": "10", "Was": "Update", "Own": "thing-5"}
    stacks.client.update_stack(**stacks.arguments(template(6, fail=True)))
    assert stacks.settle() == "UPDATE_ROLLBACK_COMPLETE"
    assert "it was to fail" in stacks.reason("Own")
    assert stacks.outputs()["Own"] == "thing-5"
    stacks.delete()
    names = [each["Name"] for each in stacks.account.client("s3").list_buckets()["Buckets"]]
    assert [name for name in names if "custom-resource-response" in name] == []


def test_a_stack_in_a_stack_comes_and_goes_with_it(stacks: Stacks) -> None:
    s3, bucket = stacks.account.client("s3"), f"nested-{uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    inner = {
        "Parameters": {"V": {"Type": "String"}},
        "Resources": {"A": parameter({"Ref": "V"})},
        "Outputs": {"Name": {"Value": {"Ref": "A"}}},
    }
    s3.put_object(Bucket=bucket, Key="inner.json", Body=json.dumps(inner).encode())

    def outer(value: str) -> dict[str, Any]:
        url = f"https://{bucket}.s3.amazonaws.com/inner.json"
        nested = {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": url, "Parameters": {"V": value}}}
        outputs = {"Name": {"Value": {"Fn::GetAtt": ["Inner", "Outputs.Name"]}}, "Inner": {"Value": {"Ref": "Inner"}}}
        return {"Resources": {"Inner": nested, "Cdk": {"Type": "AWS::CDK::Metadata"}}, "Outputs": outputs}

    made, ssm = stacks.create(outer("one")), stacks.account.client("ssm")
    assert ssm.get_parameter(Name=made["Name"])["Parameter"]["Value"] == "one"
    (child,) = stacks.client.describe_stacks(StackName=made["Inner"])["Stacks"]
    assert child["ParentId"] == child["RootId"] == stacks.describe()["StackId"]
    assert stacks.update(outer("two")) == made
    assert ssm.get_parameter(Name=made["Name"])["Parameter"]["Value"] == "two"
    stacks.delete()
    assert stacks.client.describe_stacks(StackName=made["Inner"])["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE"


def test_versions_and_aliases_of_functions_and_rules_on_buses(stacks: Stacks) -> None:
    template = {
        "Resources": {
            "Role": ROLE,
            "F": function("def handler(event, context):\n    return 1\n"),
            "V": {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "F"}}},
            "Live": {
                "Type": "AWS::Lambda::Alias",
                "Properties": {
                    "FunctionName": {"Ref": "F"}, "Name": "live", "FunctionVersion": {"Fn::GetAtt": ["V", "Version"]},
                },
            },
            "Retries": {
                "Type": "AWS::Lambda::EventInvokeConfig",
                "Properties": {"FunctionName": {"Ref": "F"}, "Qualifier": "$LATEST", "MaximumRetryAttempts": 0},
            },
            "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": stacks.name}},
            "Rule": {
                "Type": "AWS::Events::Rule",
                "Properties": {"EventBusName": {"Ref": "Bus"}, "Name": "r", "EventPattern": {"source": ["s"]}},
            },
            "Fifo": {"Type": "AWS::SQS::Queue", "Properties": {"FifoQueue": True}},
        },
        "Outputs": {
            "Rule": {"Value": {"Ref": "Rule"}},
            "Live": {"Value": {"Ref": "Live"}},
            "V": {"Value": {"Ref": "V"}},
            "Fifo": {"Value": {"Fn::GetAtt": ["Fifo", "QueueName"]}},
        },
    }  # fmt: skip
    made = stacks.create(template)
    assert made["Rule"] == f"{stacks.name}|r"
    assert made["V"].endswith(":1")
    assert made["Live"].endswith(":live")
    assert made["Fifo"].endswith(".fifo")
    answer = stacks.account.client("lambda").invoke(FunctionName=made["Live"])
    assert json.loads(answer["Payload"].read()) == 1
    stacks.delete()


def test_an_attribute_that_a_type_does_not_have_ends_the_stack_before_anything_is_made(stacks: Stacks) -> None:
    template = {"Resources": {"A": parameter("v")}, "Outputs": {"O": {"Value": {"Fn::GetAtt": ["A", "Invalid"]}}}}
    stacks.client.create_stack(**stacks.arguments(template))
    assert stacks.settle() == "ROLLBACK_COMPLETE"
    events = stacks.client.describe_stack_events(StackName=stacks.name)["StackEvents"]
    assert [event["ResourceStatus"] for event in events] == [
        "ROLLBACK_COMPLETE", "ROLLBACK_IN_PROGRESS", "CREATE_IN_PROGRESS",
    ]  # fmt: skip
    assert events[1]["ResourceStatusReason"] == (
        "[Error] /Outputs/O/Value/Fn::GetAtt: Resource type AWS::SSM::Parameter does not support attribute {Invalid}. "
        "Rollback requested by user."
    )


@pytest.mark.parametrize(
    ("kind", "properties", "reason"),
    [
        (
            "AWS::S3::Bucket",
            {"LifecycleConfiguration": {"Rules": [{"Status": "Enabled", "ExpirationInDays": -1}]}},
            "'Days' for Expiration action must be a positive integer",
        ),
        (
            "AWS::S3::Bucket",
            {
                "NotificationConfiguration": {
                    "LambdaConfigurations": [
                        {
                            "Event": "s3:ObjectCreated:*",
                            "Function": "arn:aws:lambda:us-east-1:123456789012:function:is-not-there",
                        }
                    ]
                }
            },
            "Unable to validate the following destination configurations",
        ),
        ("AWS::SQS::Queue", {"VisibilityTimeout": 50000}, "#/VisibilityTimeout: 50000 is not less or equal to 43200"),
    ],
)
def test_what_a_service_refuses_does_not_end_in_create_complete(
    stacks: Stacks, kind: str, properties: dict[str, Any], reason: str
) -> None:
    stacks.client.create_stack(**stacks.arguments({"Resources": {"A": {"Type": kind, "Properties": properties}}}))
    assert stacks.settle() == "ROLLBACK_COMPLETE"
    assert reason in stacks.reason("A")


def test_a_change_set_says_why_each_property_changes_and_to_what(stacks: Stacks) -> None:
    def template(**first: str) -> dict[str, Any]:
        topics = {
            "A": {"Type": "AWS::SNS::Topic", "Properties": first},
            "B": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Ref": "A"}}},
        }
        return {"Resources": topics}

    name = stacks.name
    stacks.create(template(TopicName=f"{name}-1", DisplayName="one"))
    made = stacks.client.create_change_set(
        ChangeSetName="c", **stacks.arguments(template(TopicName=f"{name}-2", DisplayName="one"))
    )
    told = stacks.client.describe_change_set(ChangeSetName=made["Id"], IncludePropertyValues=True)
    first, second = (change["ResourceChange"] for change in told["Changes"])
    arn = f"arn:aws:sns:us-east-1:123456789012:{name}-1"
    assert (first["Replacement"], first["PolicyAction"], first["PhysicalResourceId"]) == (
        "True",
        "ReplaceAndDelete",
        arn,
    )
    assert json.loads(first["AfterContext"]) == {"Properties": {"TopicName": f"{name}-2", "DisplayName": "one"}}
    assert first["Details"] == [
        {
            "Target": {
                "Attribute": "Properties",
                "Name": "TopicName",
                "RequiresRecreation": "Always",
                "Path": "/Properties/TopicName",
                "BeforeValue": f"{name}-1",
                "AfterValue": f"{name}-2",
                "AttributeChangeType": "Modify",
            },
            "Evaluation": "Static",
            "ChangeSource": "DirectModification",
        }
    ]
    assert [(d["Evaluation"], d["ChangeSource"], d.get("CausingEntity")) for d in second["Details"]] == [
        ("Static", "ResourceReference", "A"),
        ("Dynamic", "DirectModification", None),
    ]
    assert second["Details"][0]["Target"]["AfterValue"] == "{{changeSet:KNOWN_AFTER_APPLY}}"
    plain = stacks.client.describe_change_set(ChangeSetName=made["Id"])["Changes"][1]["ResourceChange"]
    target = {"Attribute": "Properties", "Name": "DisplayName", "RequiresRecreation": "Never"}
    assert [detail["Target"] for detail in plain["Details"]] == [target]
    assert "AfterContext" not in plain


def test_change_sets_and_stacks_that_are_not_there_are_told_in_the_words_of_aws(stacks: Stacks) -> None:
    client, template = stacks.client, json.dumps({"Resources": {"A": parameter("v")}})
    unknown = "arn:aws:cloudformation:us-east-1:123456789012:changeSet/x/1"
    told = {
        f"Stack [{stacks.name}] does not exist": (client.describe_change_set, {"ChangeSetName": "c"}),
        "StackName is a required parameter.": (client.get_template, {"ChangeSetName": "c", "StackName": None}),
        "StackName must be specified if ChangeSetName is not specified as an ARN.": (
            client.delete_change_set,
            {"ChangeSetName": "c", "StackName": None},
        ),
        f"ChangeSet [{unknown}] does not exist": (client.describe_change_set, {"ChangeSetName": unknown}),
        f"Stack with id {stacks.name} does not exist": (client.get_template, {}),
    }
    for message, (call, members) in told.items():
        arguments = {"StackName": stacks.name, **members}
        assert message_of(call, **{k: v for k, v in arguments.items() if v is not None}) == message
    made = client.create_change_set(
        StackName=stacks.name, ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=template
    )
    refusal = "GetTemplateSummary cannot be called on REVIEW_IN_PROGRESS stacks."
    assert message_of(client.get_template_summary, StackName=stacks.name) == refusal
    client.create_stack(StackName=stacks.name, TemplateBody=template)
    stacks.wait("stack_create_complete")
    assert client.describe_change_set(ChangeSetName=made["Id"])["ExecutionStatus"] == "OBSOLETE"
    again = f"Stack [{stacks.name}] already exists and cannot be created again with the changeSet [d]."
    arguments = {"ChangeSetName": "d", "ChangeSetType": "CREATE", "TemplateBody": template}
    assert message_of(client.create_change_set, StackName=stacks.name, **arguments) == again


def test_an_alarm_takes_an_operation_back(stacks: Stacks) -> None:
    cloudwatch, name = stacks.account.client("cloudwatch"), f"alarm-{uuid4().hex[:8]}"
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="Nothing",
        MetricName="m",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="LessThanThreshold",
        TreatMissingData="breaching",
    )
    trigger = {"Arn": f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{name}", "Type": "AWS::CloudWatch::Alarm"}
    arguments = stacks.arguments({"Resources": {"A": parameter("v")}})
    stacks.client.create_stack(**arguments, RollbackConfiguration={"RollbackTriggers": [trigger]})
    assert stacks.settle() == "ROLLBACK_COMPLETE"
    assert stacks.describe()["RollbackConfiguration"] == {"RollbackTriggers": [trigger]}
    other = Stacks(stacks.account)
    wrong = {"RollbackTriggers": [{**trigger, "Type": "AWS::S3::Bucket"}]}
    arguments = {**other.arguments({"Resources": {"A": parameter("v")}}), "RollbackConfiguration": wrong}
    assert message_of(other.client.create_stack, **arguments) == "Rollback Trigger Type not supported"
