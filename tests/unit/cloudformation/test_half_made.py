"""Whatever call of a resource's creation is refused: what the calls before it made is known, and can be removed.

The account is played by clients that know AWS's models, take every request that fits them and refuse the n-th call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import boto3
import pytest
from botocore.exceptions import ClientError

from local_account.account import Account
from local_account.cloudformation.resources.base import ApiKind, StackPlace
from local_account.cloudformation.resources.kinds import KINDS, kind_of

POLICY = {"PolicyName": "p", "PolicyDocument": {}}
CODE = {"ZipFile": "import cfnresponse"}
SAMPLES: dict[str, dict[str, Any]] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": {
        "ServiceNamespace": "sagemaker", "ResourceId": "r", "ScalableDimension": "d", "MinCapacity": 1,
    },
    "AWS::ApplicationAutoScaling::ScalingPolicy": {"PolicyName": "p", "ScalingTargetId": "a|b|c"},
    "AWS::Budgets::Budget": {"Budget": {"BudgetType": "COST", "TimeUnit": "MONTHLY"}},
    "AWS::CodeBuild::Project": {"Source": {"Type": "S3"}},
    "AWS::CodeBuild::ReportGroup": {"Type": "TEST"},
    "AWS::CodePipeline::Pipeline": {"DisableInboundStageTransitions": [{"StageName": "s", "Reason": "r"}]},
    "AWS::DynamoDB::Table": {
        "KeySchema": [], "TimeToLiveSpecification": {"AttributeName": "a", "Enabled": True},
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
    },
    "AWS::ECR::Repository": {"RepositoryPolicyText": {}, "LifecyclePolicy": {"LifecyclePolicyText": "{}"}},
    "AWS::Events::Rule": {"EventBusName": "bus", "Targets": [{"Id": "1", "Arn": "a"}]},
    "AWS::Glue::Database": {"CatalogId": "1" * 12, "DatabaseInput": {}},
    "AWS::Glue::Table": {"CatalogId": "1" * 12, "DatabaseName": "d", "TableInput": {"Name": "t"}},
    "AWS::IAM::AccessKey": {"UserName": "u", "Status": "Inactive"},
    "AWS::IAM::Group": {"Policies": [POLICY], "ManagedPolicyArns": ["a"]},
    "AWS::IAM::InstanceProfile": {"Roles": ["r"]},
    "AWS::IAM::ManagedPolicy": {"PolicyDocument": {}, "Roles": ["r"], "Users": ["u"], "Groups": ["g"]},
    "AWS::IAM::Policy": {**POLICY, "Roles": ["r", "s"], "Users": ["u"], "Groups": ["g"]},
    "AWS::IAM::Role": {"AssumeRolePolicyDocument": {}, "Policies": [POLICY], "ManagedPolicyArns": ["a", "b"]},
    "AWS::IAM::User": {
        "Policies": [POLICY], "ManagedPolicyArns": ["a"], "Groups": ["g"], "LoginProfile": {"Password": "p"},
    },
    "AWS::IAM::UserToGroupAddition": {"GroupName": "g", "Users": ["u", "v"]},
    "AWS::KMS::Alias": {"AliasName": "alias/a", "TargetKeyId": "k"},
    "AWS::KMS::Key": {"EnableKeyRotation": True, "Enabled": False, "KeyPolicy": {}},
    "AWS::SecretsManager::Secret": {"GenerateSecretString": {"GenerateStringKey": "k", "SecretStringTemplate": "{}"}},
    "AWS::Lambda::Alias": {"FunctionName": "f", "Name": "live", "FunctionVersion": "1"},
    "AWS::Lambda::EventInvokeConfig": {"FunctionName": "f", "Qualifier": "$LATEST"},
    "AWS::Lambda::EventSourceMapping": {"FunctionName": "f", "EventSourceArn": "a"},
    "AWS::Lambda::Function": {"Code": CODE, "Role": "r", "ReservedConcurrentExecutions": 1},
    "AWS::Lambda::LayerVersion": {"Content": {"S3Bucket": "b", "S3Key": "k"}},
    "AWS::Lambda::Permission": {"FunctionName": "f", "Action": "a", "Principal": "p"},
    "AWS::Lambda::Url": {"TargetFunctionArn": "f", "AuthType": "NONE"},
    "AWS::Lambda::Version": {"FunctionName": "f"},
    "AWS::Logs::LogGroup": {"RetentionInDays": 7, "KmsKeyId": "k"},
    "AWS::Logs::LogStream": {"LogGroupName": "g"},
    "AWS::Logs::MetricFilter": {"LogGroupName": "g", "FilterPattern": "", "MetricTransformations": []},
    "AWS::Logs::SubscriptionFilter": {"LogGroupName": "g", "FilterPattern": "", "DestinationArn": "a"},
    "AWS::S3::Bucket": {"VersioningConfiguration": {"Status": "Enabled"}, "Tags": [{"Key": "k", "Value": "v"}]},
    "AWS::S3::BucketPolicy": {"Bucket": "b", "PolicyDocument": {}},
    "AWS::SNS::Topic": {"FifoTopic": True, "Subscription": [{"Protocol": "sqs", "Endpoint": "e"}] * 2},
    "AWS::SNS::TopicPolicy": {"PolicyDocument": {}, "Topics": ["a", "b"]},
    "AWS::SQS::Queue": {"FifoQueue": "true"},
    "AWS::SQS::QueuePolicy": {"PolicyDocument": {}, "Queues": ["a", "b"]},
    "AWS::SSM::Parameter": {"Type": "String", "Value": "v"},
    "AWS::SageMaker::ModelPackageGroup": {"ModelPackageGroupName": "g", "ModelPackageGroupPolicy": {"a": 1}},
    "AWS::SageMaker::Pipeline": {
        "PipelineName": "p", "PipelineDefinition": {"PipelineDefinitionBody": "{}"}, "RoleArn": "r" * 20,
    },
    "AWS::StepFunctions::StateMachine": {"DefinitionString": "{}", "RoleArn": "r"},
}  # fmt: skip
ELSEWHERE = {
    "AWS::CDK::Metadata",
    "AWS::CloudFormation::CustomResource",
    "AWS::CloudFormation::Macro",
    "AWS::CloudFormation::Stack",
}
"""Types that other tests make half, since they wait for others, and types of which nothing is made."""


class Anything(dict[str, Any]):
    """An answer that has every member."""

    def __missing__(self, _key: str) -> Anything:
        return Anything()

    def __contains__(self, _key: object) -> bool:
        return True

    def __str__(self) -> str:
        return "arn:aws:service:us-east-1:123456789012:kind/name"


@dataclass
class Refusing:
    """Clients that refuse one of their calls, counted from 1; 0 for none."""

    refused: int = 0
    calls: list[str] = field(default_factory=list)
    account_id: str = "123456789012"
    region: str = "us-east-1"

    def client(self, service: str, _role: str = "") -> Any:
        return Client(service, self)

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{resource}"


SESSION = boto3.Session(region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="s")


class Client:
    """A client of a service as kinds use one."""

    def __init__(self, service: str, account: Refusing) -> None:
        self.meta = SESSION.client(service).meta  # type: ignore[call-overload]  # any service
        self._account = account

    def __getattr__(self, name: str) -> Any:
        def answer(**_request: object) -> Mapping[str, object]:
            if name.startswith("get_"):  # makes nothing
                return Anything()
            self._account.calls.append(name)
            if len(self._account.calls) == self._account.refused:
                raise ClientError({"Error": {"Code": "Refused", "Message": "in this test"}}, name)
            return Anything()

        return answer


def create(kind: str, account: Refusing) -> list[str]:
    """Make a resource; the physical ids that were told on the way."""
    told: list[str] = []
    place = StackPlace(cast("Account", account), "stack", "Thing", begun=told.append)
    try:
        kind_of(kind).create(place, SAMPLES[kind])
    except ClientError:
        assert account.refused
    return told


def test_every_kind_that_is_more_than_one_call_has_a_sample() -> None:
    single = {name for name, kind in KINDS.items() if isinstance(kind, ApiKind)}
    assert KINDS.keys() - single - ELSEWHERE == SAMPLES.keys()


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_what_a_refused_call_leaves_is_known(kind: str) -> None:
    whole = Refusing()
    create(kind, whole)
    for refused in range(2, len(whole.calls) + 1):
        account = Refusing(refused)
        assert create(kind, account), f"{account.calls[-1]} was refused after {account.calls[:-1]}"
