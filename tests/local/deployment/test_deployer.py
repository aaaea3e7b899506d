"""The policies of docs/policies, tried: `scones` deploys a stage with them alone."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from infrastructure import stack
from infrastructure.delivery import delivery_template
from local_account.authority.conditions import RequestContext
from local_account.authority.evaluation import Policies, decide
from local_account.authority.policies import Principal
from local_account.cloudformation.template import parse
from scones.stage.connection import Connection
from scones.stage.names import Names
from scones.stage.settings import PROJECT_ROOT, Settings
from tests.local.conftest import RunningAccount
from tests.local.roles import allow, document, make_role, trust

ACCOUNT_ID, REGION = "123456789012", "us-east-1"


@pytest.fixture
def deployer(account: RunningAccount) -> Iterator[Connection]:
    """Whoever has the two policies that are not CloudFormation's, for a stage of a project of its own."""
    settings = replace(Settings.load("local"), project="by-policy", endpoint_url=account.endpoint_url)
    names = Names.of(settings, ACCOUNT_ID)
    role = make_role(account, "deployer", trusted=trust(AWS=f"arn:aws:iam::{ACCOUNT_ID}:root"))
    account.client("iam").delete_role_policy(RoleName="deployer", PolicyName="own")
    filling = {
        "PREFIX": names.prefix,
        "PROJECT": "by-policy",
        "STAGE": "local",
        "REGION": REGION,
        "ACCOUNT": ACCOUNT_ID,
    }
    for name in ("deploy", "operate"):
        text = (PROJECT_ROOT / "docs" / "policies" / f"{name}.json").read_text(encoding="utf-8")
        for placeholder, value in filling.items():
            text = text.replace(placeholder, value)
        account.client("iam").put_role_policy(RoleName="deployer", PolicyName=name, PolicyDocument=text)
    given = account.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name=REGION)
    connection = Connection(settings, names, session)
    yield connection
    for client in connection._clients.values():
        client.close()


@pytest.fixture
def stack_role(account: RunningAccount, deployer: Connection, monkeypatch: pytest.MonkeyPatch) -> str:
    """CloudFormation's role as delivery makes it for a stage, which the deployer may hand over."""
    role = make_role(account, "stack", trusted=trust("cloudformation"))
    iam = account.client("iam")
    iam.tag_role(RoleName="stack", Tags=[{"Key": "stage", "Value": "local"}])
    iam.delete_role_policy(RoleName="stack", PolicyName="own")
    values = {"AWS::Partition": "aws", "AWS::AccountId": ACCOUNT_ID, "AWS::Region": REGION, "Project": "by-policy"}
    values |= {"StagingStage": "local"}
    resources = parse(delivery_template())["Resources"]
    limits = substituted(resources["StagingBoundary"]["Properties"]["PolicyDocument"], values)
    made = iam.create_policy(PolicyName="boundary-of-by-policy", PolicyDocument=json.dumps(limits))
    values["StagingBoundary"] = made["Policy"]["Arn"]
    monkeypatch.setenv("SCONES_PERMISSIONS_BOUNDARY", values["StagingBoundary"])
    for name in ("StackDataPolicy", "StackCodePolicy", "StagingRolesPolicy"):
        policy = substituted(resources[name]["Properties"]["PolicyDocument"], values)
        iam.put_role_policy(RoleName="stack", PolicyName=name, PolicyDocument=json.dumps(policy))
    handing = allow("iam:PassRole", role, StringEquals={"iam:PassedToService": "cloudformation.amazonaws.com"})
    iam.put_role_policy(RoleName="deployer", PolicyName="hand-over", PolicyDocument=document(handing))
    return role


def substituted(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [substituted(item, values) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Ref"}:
        return values[value["Ref"]]
    if set(value) != {"Fn::Sub"}:
        return {name: substituted(item, values) for name, item in value.items()}
    text: str = value["Fn::Sub"]
    for name, known in values.items():
        text = text.replace(f"${{{name}}}", known)
    return text.replace("${!", "${")


def test_a_stage_is_deployed_with_the_documented_policies(
    deployer: Connection, account: RunningAccount, stack_role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCONES_EXECUTION_ROLE", stack_role)
    told: list[str] = []
    outputs = stack.deploy(deployer, told.append)
    assert outputs is not None and outputs.data_bucket == deployer.names.data_bucket
    (found,) = deployer.client("cloudformation").describe_stacks(StackName=deployer.names.stack)["Stacks"]
    assert found["RoleARN"] == stack_role
    assert not list(beyond_the_boundary(account, os.environ["SCONES_PERMISSIONS_BOUNDARY"], "by-policy-local"))
    s3 = deployer.client("s3")
    s3.put_object(Bucket=outputs.data_bucket, Key="source/image.png", Body=b"encrypted with the stage's key")
    assert s3.get_object(Bucket=outputs.data_bucket, Key="source/image.png")["Body"].read().startswith(b"encrypted")
    # Neither another bucket nor a permission of its own.
    account.client("s3").create_bucket(Bucket="of-somebody-else")
    for service, call, arguments in (
        ("s3", "put_object", {"Bucket": "of-somebody-else", "Key": "x", "Body": b""}),
        ("iam", "put_role_policy", {"RoleName": "deployer", "PolicyName": "more", "PolicyDocument": "{}"}),
    ):
        with pytest.raises(ClientError, match="is not authorized to perform"):
            getattr(deployer.client(service), call)(**arguments)

    def tell(line: str) -> None:
        told.append(line)
        if line.startswith("removed pipeline"):
            for state in trigger_states(deployer.names, account):
                assert state == "DISABLED", "whatever a rule or a schedule starts makes again what was removed"
        if line == "DELETE_COMPLETE DeployApprovedModel":  # what an invocation did that had begun before
            late = f"{deployer.names.endpoint}-v1"
            container = {"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/late:1"}
            account.client("sagemaker").create_model(ModelName=late, PrimaryContainer=container)

    stack.destroy(deployer, tell)
    assert f"removed stack {deployer.names.stack}" in told
    assert f"removed model {deployer.names.endpoint}-v1" in told


def beyond_the_boundary(account: RunningAccount, boundary: str, prefix: str) -> Iterator[tuple[str, str, str]]:
    """Roles of a stage with what their policies allow and their boundary does not; nothing where they fit."""
    iam = account.client("iam")
    limits = Policies(["{}"], boundary=json.dumps(_version(iam, boundary)))
    roles = [each["RoleName"] for each in iam.list_roles()["Roles"] if each["RoleName"].startswith(f"{prefix}-")]
    assert len(roles) > 15
    for role in roles:
        found = iam.get_role(RoleName=role)["Role"]
        assert found["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary, role
        caller = Principal(found["Arn"], ACCOUNT_ID, found["Arn"])
        for statement in _statements(iam, role):
            given = {key: value for block in statement.get("Condition", {}).values() for key, value in block.items()}
            given = {key: value[0] if isinstance(value, list) else value for key, value in given.items()}
            context = RequestContext({"aws:ResourceTag/deployment": prefix, **given})
            for action in _listed(statement["Action"]):
                for resource in _listed(statement["Resource"]):
                    allowing = dataclasses.replace(limits, identity=[document(allow(action, "*"))])
                    if not decide(caller, action, resource.replace("*", "x"), context, allowing).allowed:
                        yield role, action, resource


def _statements(iam: Any, role: str) -> Iterator[dict[str, Any]]:
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        yield from iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]
    for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        yield from _version(iam, policy["PolicyArn"])["Statement"]


def _version(iam: Any, arn: str) -> dict[str, Any]:
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    found: dict[str, Any] = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    return found


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def trigger_states(names: Names, account: RunningAccount) -> Iterator[str]:
    for rule in (names.approval_rule, names.endpoint_rule):
        yield account.client("events").describe_rule(Name=rule)["State"]
    for schedule in (names.reconcile_schedule, names.idle_schedule):
        yield account.client("scheduler").get_schedule(Name=schedule)["State"]
