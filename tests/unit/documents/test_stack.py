"""Deploying and removing, against botocore's own checks of requests and answers, without any account."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from infrastructure import removal, stack
from infrastructure.change_set import PlannedChange, summary
from infrastructure.cloudformation import StackError, StageStack, Wanted

NOW = datetime(2026, 11, 21, tzinfo=UTC)
STACK_ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/shop/1"
CHANGE_SET = "arn:aws:cloudformation:us-east-1:123456789012:changeSet/deploy/1"
CHANGES = [
    {"Type": "Resource", "ResourceChange": change}
    for change in (
        {"Action": "Add", "LogicalResourceId": "Topic", "ResourceType": "AWS::SNS::Topic"},
        {
            "Action": "Modify",
            "LogicalResourceId": "Bucket",
            "PhysicalResourceId": "shop-bucket",
            "ResourceType": "AWS::S3::Bucket",
            "Replacement": "True",
            "Scope": ["Properties", "Tags"],
            "Details": [
                {"Target": {"Attribute": "Properties", "Name": "BucketName", "RequiresRecreation": "Always"}},
                {"Target": {"Attribute": "Tags", "RequiresRecreation": "Never"}},
            ],
        },
        {"Action": "Remove", "LogicalResourceId": "Queue", "ResourceType": "AWS::SQS::Queue"},
    )
]
NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."


class Account:
    """Stubbed clients of one account, and what was said."""

    def __init__(self, service: str) -> None:
        session = boto3.Session("key", "secret", region_name="us-east-1")
        self.client = session.client(service)
        self.stub = Stubber(self.client)
        self.said: list[str] = []

    def stack(self) -> StageStack:
        return StageStack("shop", self.client, sleep=lambda _: None)

    def describe(self, status: str, name: str = "shop") -> None:
        answer = {
            "StackName": "shop",
            "StackId": STACK_ID,
            "CreationTime": NOW,
            "StackStatus": status,
            "Outputs": [{"OutputKey": "WorkflowArn", "OutputValue": "arn"}],
        }
        self.stub.add_response("describe_stacks", {"Stacks": [answer]}, {"StackName": name})

    def no_stack(self) -> None:
        self.stub.add_client_error("describe_stacks", "ValidationError", "Stack with id shop does not exist")

    def events(self, *events: tuple[str, str, str], name: str = "shop") -> None:
        found = [
            {
                "StackId": STACK_ID,
                "EventId": f"{resource}-{status}",
                "StackName": "shop",
                "LogicalResourceId": resource,
                "ResourceType": "AWS::S3::Bucket",
                "ResourceStatus": status,
                "ResourceStatusReason": reason,
                "Timestamp": NOW,
            }
            for resource, status, reason in reversed(events)
        ]
        self.stub.add_response("describe_stack_events", {"StackEvents": found}, {"StackName": name})

    def change_set(
        self,
        kind: str,
        status: str = "CREATE_COMPLETE",
        reason: str = "",
        old_events: tuple[str, str, str] | None = None,
        agreed: bool = True,
    ) -> None:
        self.stub.add_response(
            "create_change_set",
            {"Id": CHANGE_SET, "StackId": STACK_ID},
            {
                "StackName": "shop",
                "ChangeSetName": ANY,
                "ChangeSetType": kind,
                "TemplateBody": "template",
                "Parameters": [{"ParameterKey": "Size", "ParameterValue": "3"}],
                "Capabilities": ["CAPABILITY_IAM"],
                "Tags": [{"Key": "stage", "Value": "test"}],
            },
        )
        expected = {"ChangeSetName": CHANGE_SET, "StackName": "shop"}
        self.stub.add_response("describe_change_set", {"Status": status, "StatusReason": reason}, expected)
        if status != "FAILED":
            self.stub.add_response("describe_change_set", {"Changes": CHANGES}, expected)
        if status == "FAILED" or not agreed:
            self.stub.add_response("delete_change_set", {}, expected)
            if kind == "CREATE":
                self.stub.add_response("delete_stack", {}, {"StackName": "shop"})
        else:
            if old_events:
                self.events(old_events)
            self.stub.add_response("execute_change_set", {}, expected)

    def apply(self, *, agreed: bool = True, template: str = "template") -> bool:
        wanted = Wanted(template, {"Size": "3"}, {"stage": "test"})
        return self.stack().apply(wanted, self.said.append, lambda _: agreed)


@pytest.fixture
def cloudformation() -> Iterator[Account]:
    account = Account("cloudformation")
    with account.stub:
        yield account
        account.stub.assert_no_pending_responses()


@pytest.fixture
def sagemaker() -> Iterator[Account]:
    account = Account("sagemaker")
    with account.stub:
        yield account
        account.stub.assert_no_pending_responses()


def test_a_stack_is_created_and_its_events_are_told_once(cloudformation: Account) -> None:
    started = ("Bucket", "CREATE_IN_PROGRESS", "")
    cloudformation.no_stack()
    cloudformation.change_set("CREATE")
    cloudformation.describe("CREATE_IN_PROGRESS")
    cloudformation.events(started)
    cloudformation.describe("CREATE_COMPLETE")
    cloudformation.events(started, ("Bucket", "CREATE_COMPLETE", ""))
    assert cloudformation.apply()
    assert cloudformation.said == ["CREATE_IN_PROGRESS Bucket", "CREATE_COMPLETE Bucket"]


def test_a_change_set_without_changes_changes_nothing(cloudformation: Account) -> None:
    cloudformation.describe("UPDATE_COMPLETE")
    cloudformation.change_set("UPDATE", "FAILED", NO_CHANGES)
    assert cloudformation.apply()
    assert cloudformation.said == ["stack shop is up to date"]


@pytest.mark.parametrize("status", [None, "UPDATE_COMPLETE"])
def test_changes_that_nobody_agrees_to_leave_nothing_behind(cloudformation: Account, status: str | None) -> None:
    if status:
        cloudformation.describe(status)
    else:
        cloudformation.no_stack()
    cloudformation.change_set("UPDATE" if status else "CREATE", agreed=False)
    assert not cloudformation.apply(agreed=False)


def test_a_change_says_what_becomes_of_the_resource() -> None:
    found = [PlannedChange.of(change["ResourceChange"]) for change in CHANGES]
    assert [(c.action, c.logical_id, c.properties) for c in found] == [
        ("add", "Topic", ()),
        ("replace", "Bucket", ("BucketName", "Tags")),
        ("remove", "Queue", ()),
    ]
    assert summary(found) == "1 to add, 1 to replace, 1 to remove"


def test_a_template_in_s3_goes_by_its_address() -> None:
    assert "TemplateURL" in Wanted("https://code.s3.us-east-1.amazonaws.com/t.yaml", {}, {}).request()


def test_a_rollback_that_failed_says_how_to_go_on(cloudformation: Account) -> None:
    cloudformation.describe("UPDATE_ROLLBACK_FAILED")
    with pytest.raises(StackError, match="continue-update-rollback --stack-name shop"):
        cloudformation.apply()


def test_a_failure_names_the_first_resource_and_its_reason(cloudformation: Account) -> None:
    old = ("Bucket", "CREATE_FAILED", "an old story")
    cloudformation.describe("UPDATE_COMPLETE")
    cloudformation.change_set("UPDATE", old_events=old)
    cloudformation.describe("UPDATE_ROLLBACK_COMPLETE")
    cloudformation.events(
        old, ("Role", "UPDATE_FAILED", "Resource update cancelled"), ("Rule", "UPDATE_FAILED", "no such target")
    )
    with pytest.raises(StackError, match=r"UPDATE_ROLLBACK_COMPLETE: Rule .*: no such target"):
        cloudformation.apply()


def test_a_stack_that_is_changing_is_left_alone(cloudformation: Account) -> None:
    cloudformation.describe("UPDATE_IN_PROGRESS")
    with pytest.raises(StackError, match="changing already"):
        cloudformation.apply()


def test_a_refused_change_set_gives_its_reason(cloudformation: Account) -> None:
    cloudformation.no_stack()
    cloudformation.change_set("CREATE", "FAILED", "Parameter Size is wrong")
    with pytest.raises(StackError, match="Parameter Size is wrong"):
        cloudformation.apply()


def test_the_outputs_of_a_stack_that_does_not_exist_say_what_to_do(cloudformation: Account) -> None:
    cloudformation.no_stack()
    with pytest.raises(StackError, match="scones deploy"):
        cloudformation.stack().outputs()


def test_deleting_waits_and_deleting_nothing_is_said(cloudformation: Account) -> None:
    cloudformation.describe("CREATE_COMPLETE")
    cloudformation.events(name=STACK_ID)
    cloudformation.stub.add_response("delete_stack", {}, {"StackName": "shop"})
    cloudformation.describe("DELETE_COMPLETE", name=STACK_ID)
    cloudformation.events(("Bucket", "DELETE_COMPLETE", ""), name=STACK_ID)
    cloudformation.no_stack()
    assert cloudformation.stack().delete(cloudformation.said.append)
    assert cloudformation.said == ["DELETE_COMPLETE Bucket"]
    assert not cloudformation.stack().delete(cloudformation.said.append)


TAGS = [{"Key": "stage", "Value": "test"}]
PIPELINE = {
    "PipelineName": "train",
    "PipelineDefinition": '{"Steps": []}',
    "RoleArn": "arn:aws:iam::123456789012:role/j",
}


@pytest.mark.parametrize(
    ("held", "outcome"),
    [
        (None, "created"),
        ({**PIPELINE, "PipelineDefinition": '{ "Steps":[] }'}, "is up to date"),
        ({**PIPELINE, "PipelineDefinition": '{"Steps": [1]}'}, "updated"),
        ({**PIPELINE, "RoleArn": "arn:aws:iam::123456789012:role/other"}, "updated"),
    ],
)
def test_a_pipeline_is_written_only_when_it_differs(
    sagemaker: Account, held: dict[str, str] | None, outcome: str
) -> None:
    arn = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/train"
    if held is None:
        sagemaker.stub.add_client_error("describe_pipeline", "ResourceNotFound")
        sagemaker.stub.add_response(
            "create_pipeline", {"PipelineArn": arn}, {**PIPELINE, "Tags": TAGS, "ClientRequestToken": ANY}
        )
    else:
        sagemaker.stub.add_response("describe_pipeline", held, {"PipelineName": "train"})
        if outcome == "updated":
            sagemaker.stub.add_response("update_pipeline", {"PipelineArn": arn}, PIPELINE)
    found = stack.upsert_pipeline(
        sagemaker.client, "train", PIPELINE["PipelineDefinition"], PIPELINE["RoleArn"], {"stage": "test"}
    )
    assert found == outcome


def test_removing_an_endpoint_removes_what_was_made_for_it_and_nothing_else(sagemaker: Account) -> None:
    stub = sagemaker.stub
    arn = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/shop"
    alive = {
        "EndpointName": "shop",
        "EndpointArn": arn,
        "EndpointConfigName": "shop-v1-0",
        "EndpointStatus": "InService",
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
    }
    stub.add_response("describe_endpoint", alive, {"EndpointName": "shop"})
    stub.add_response("describe_endpoint", {**alive, "EndpointStatus": "Updating"}, {"EndpointName": "shop"})
    stub.add_response("describe_endpoint", alive, {"EndpointName": "shop"})
    stub.add_response("delete_endpoint", {}, {"EndpointName": "shop"})
    stub.add_response("describe_endpoint", {**alive, "EndpointStatus": "Deleting"}, {"EndpointName": "shop"})
    stub.add_client_error("describe_endpoint", "ValidationException", "Could not find endpoint")
    configs = [
        {"EndpointConfigName": name, "EndpointConfigArn": f"{arn}-{name}", "CreationTime": NOW}
        for name in ("shop-v1-0", "other-shop-v1-0")
    ]
    stub.add_response("list_endpoint_configs", {"EndpointConfigs": configs}, {"NameContains": "shop"})
    stub.add_response("delete_endpoint_config", {}, {"EndpointConfigName": "shop-v1-0"})
    models = [{"ModelName": name, "ModelArn": f"{arn}-{name}", "CreationTime": NOW} for name in ("shop-v1", "workshop")]
    stub.add_response("list_models", {"Models": models}, {"NameContains": "shop"})
    stub.add_response("delete_model", {}, {"ModelName": "shop-v1"})
    removal.remove_endpoint(sagemaker.client, "shop", sagemaker.said.append, lambda _: None)
    assert sagemaker.said == ["endpoint shop", "endpoint configuration shop-v1-0", "model shop-v1"]


def test_emptying_a_bucket_deletes_old_versions_and_delete_markers() -> None:
    account = Account("s3")
    account.stub.add_response("head_bucket", {}, {"Bucket": "data"})
    account.stub.add_response(
        "list_object_versions",
        {
            "Versions": [{"Key": "a", "VersionId": "1"}, {"Key": "a", "VersionId": "2"}],
            "DeleteMarkers": [{"Key": "b", "VersionId": "3"}],
        },
        {"Bucket": "data"},
    )
    objects = [{"Key": "a", "VersionId": "1"}, {"Key": "a", "VersionId": "2"}, {"Key": "b", "VersionId": "3"}]
    account.stub.add_response("delete_objects", {}, {"Bucket": "data", "Delete": {"Objects": objects, "Quiet": True}})
    account.stub.add_client_error("head_bucket", "404")
    with account.stub:
        assert removal.empty_bucket(account.client, "data", account.said.append)
        assert not removal.empty_bucket(account.client, "data", account.said.append)
    assert account.said == ["3 object versions in bucket data"]


@pytest.mark.parametrize(
    ("region", "place"),
    [("us-east-1", {}), ("eu-west-1", {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}})],
)
def test_the_artifact_bucket_is_private(region: str, place: dict[str, Any]) -> None:
    account = Account("s3")
    account.stub.add_client_error("head_bucket", "404")
    account.stub.add_response("create_bucket", {}, {"Bucket": "code", **place})
    blocked = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    account.stub.add_response(
        "put_public_access_block", {}, {"Bucket": "code", "PublicAccessBlockConfiguration": blocked}
    )
    account.stub.add_response(
        "put_bucket_policy", {}, {"Bucket": "code", "Policy": json.dumps(stack.tls_only_policy("code"))}
    )
    account.stub.add_response(
        "put_bucket_tagging", {}, {"Bucket": "code", "Tagging": {"TagSet": [{"Key": "stage", "Value": "test"}]}}
    )
    with account.stub:
        stack.ensure_artifact_bucket(account.client, "code", region, {"stage": "test"}, account.said.append)
        account.stub.assert_no_pending_responses()
    assert account.said == ["created bucket code"]


def test_a_bucket_of_somebody_else_is_named() -> None:
    account = Account("s3")
    account.stub.add_client_error("head_bucket", "403", "Forbidden")
    with account.stub, pytest.raises(StackError, match="bucket code cannot be used: Forbidden"):
        stack.ensure_artifact_bucket(account.client, "code", "us-east-1", {}, account.said.append)
