"""AWS's own policies, there when they are named; and what IAM says of permissions before they are used."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.local.conftest import RunningAccount

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)
FULL = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"


@pytest.fixture
def role(account: RunningAccount) -> str:
    name = f"managed-{uuid.uuid4().hex[:8]}"
    account.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    return name


def decisions(account: RunningAccount, name: str, *actions: str, **options: Any) -> dict[str, str]:
    arn = account.client("iam").get_role(RoleName=name)["Role"]["Arn"]
    pages = account.client("iam").get_paginator("simulate_principal_policy")
    found = pages.paginate(PolicySourceArn=arn, ActionNames=list(actions), PaginationConfig={"PageSize": 1}, **options)
    return {one["EvalActionName"]: one["EvalDecision"] for page in found for one in page["EvaluationResults"]}


@pytest.mark.parametrize(
    "arn",
    [
        FULL,
        "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
        "arn:aws:iam::aws:policy/PowerUserAccess",
    ],
)
def test_a_policy_of_aws_can_be_read_and_attached(account: RunningAccount, role: str, arn: str) -> None:
    iam = account.client("iam")
    policy = iam.get_policy(PolicyArn=arn)["Policy"]
    version = iam.get_policy_version(PolicyArn=arn, VersionId=policy["DefaultVersionId"])["PolicyVersion"]
    assert version["Document"]["Statement"]
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    assert attached == [{"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn}]


def test_an_unknown_policy_is_no_policy(account: RunningAccount, role: str) -> None:
    iam = account.client("iam")
    for arn in ("arn:aws:iam::aws:policy/NoSuchAccess", "arn:aws:iam::aws:policy/AWSLambdaBasicExecutionRole"):
        with pytest.raises(iam.exceptions.NoSuchEntityException):
            iam.attach_role_policy(RoleName=role, PolicyArn=arn)


def test_the_policies_of_aws_are_listed_and_do_not_stay(account: RunningAccount) -> None:
    pages = account.client("iam").get_paginator("list_policies")
    listed = [one["Arn"] for page in pages.paginate(Scope="AWS") for one in page["Policies"]]
    assert len(listed) == len(set(listed)) > 1000
    assert FULL in listed
    local = [one["Arn"] for page in pages.paginate(Scope="Local") for one in page["Policies"]]
    assert not [arn for arn in local if arn.startswith("arn:aws:iam::aws:")]


def test_a_role_is_simulated_with_its_policies_and_its_boundary(account: RunningAccount, role: str) -> None:
    iam = account.client("iam")
    actions = ("sagemaker:CreateTrainingJob", "iam:PassRole", "dynamodb:Query")
    assert set(decisions(account, role, *actions).values()) == {"implicitDeny"}
    iam.attach_role_policy(RoleName=role, PolicyArn=FULL)
    assert decisions(account, role, *actions) == {
        "sagemaker:CreateTrainingJob": "allowed", "iam:PassRole": "implicitDeny", "dynamodb:Query": "implicitDeny"
    }  # fmt: skip
    entries = [
        {
            "ContextKeyName": "iam:PassedToService",
            "ContextKeyType": "string",
            "ContextKeyValues": ["sagemaker.amazonaws.com"],
        }
    ]
    arns = ["arn:aws:iam::123456789012:role/AmazonSageMaker-ExecutionRole"]
    passed = decisions(account, role, "iam:PassRole", ContextEntries=entries, ResourceArns=arns)
    assert passed == {"iam:PassRole": "allowed"}
    deny = {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "sagemaker:Create*", "Resource": "*"}}
    iam.put_role_policy(RoleName=role, PolicyName="no", PolicyDocument=json.dumps(deny))
    assert decisions(account, role, actions[0]) == {actions[0]: "explicitDeny"}
    iam.put_role_permissions_boundary(
        RoleName=role, PermissionsBoundary="arn:aws:iam::aws:policy/AmazonDynamoDBFullAccess"
    )
    (found,) = iam.simulate_principal_policy(
        PolicySourceArn=iam.get_role(RoleName=role)["Role"]["Arn"], ActionNames=["sagemaker:ListModels"]
    )["EvaluationResults"]
    assert found["EvalDecision"] == "implicitDeny"
    assert found["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}
    assert "AmazonSageMakerFullAccess" in {one["SourcePolicyId"] for one in found["MatchedStatements"]}


def test_documents_are_simulated_and_missing_keys_named(account: RunningAccount) -> None:
    document = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Action": "s3:Get*",
            "Resource": "arn:aws:s3:::b/*",
            "Condition": {"StringEquals": {"aws:PrincipalTag/team": "red"}},
        },
    }
    (found,) = account.client("iam").simulate_custom_policy(
        PolicyInputList=[json.dumps(document)], ActionNames=["s3:GetObject"], ResourceArns=["arn:aws:s3:::b/k"]
    )["EvaluationResults"]
    assert (found["EvalDecision"], found["EvalResourceName"]) == ("implicitDeny", "arn:aws:s3:::b/k")
    assert found["MissingContextValues"] == ["aws:PrincipalTag/team"]


def test_who_is_simulated_has_to_exist(account: RunningAccount) -> None:
    iam = account.client("iam")
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.simulate_principal_policy(
            PolicySourceArn="arn:aws:iam::123456789012:role/nobody-there", ActionNames=["s3:GetObject"]
        )
