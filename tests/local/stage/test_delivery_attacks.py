"""Staging cannot reach production before somebody approves: attacks with copies of the deployed delivery's roles."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from infrastructure import delivery
from infrastructure.delivery import delivery_template
from local_account.authority.owner import owner_keys
from local_account.cloudformation.template import parse
from scones.stage.connection import Connection
from scones.stage.names import Names
from scones.stage.settings import Settings
from tests.local.conftest import RunningAccount
from tests.local.delivery_attacks import ATTACKS, EXEMPT
from tests.local.delivery_siege import (
    ACCOUNT,
    ADMINISTRATOR,
    ANYBODY,
    DELIVERY_BUCKET,
    HERE,
    PRODUCTION,
    PROJECT,
    REGION,
    STAGING,
    Attack,
    Given,
    Stage,
)
from tests.local.roles import allow, document, trust

OWNER = f"arn:aws:iam::{ACCOUNT}:root"
REFUSED = {"AccessDenied", "AccessDeniedException", "AuthorizationError"}
TRIED_ROLES = ("BuildRole", "StagingRole", "StagingStackRole")


@dataclass
class Siege:
    """Delivery, deployed; both stages' resources; and copies of its roles that a test can take."""

    account: RunningAccount
    staging: Stage
    production: Stage
    sessions: dict[str, boto3.Session] = field(default_factory=dict)
    clients: dict[tuple[str, str], Any] = field(default_factory=dict)

    def client(self, role: str, service: str) -> Any:
        if (role, service) not in self.clients:
            config = Config(retries={"total_max_attempts": 1})
            made = self.sessions[role].client(service, endpoint_url=self.account.endpoint_url, config=config)
            self.clients[role, service] = made
        return self.clients[role, service]

    def take(self, role: str, arn: str) -> None:
        """Assume a role that trusts the owner; its calls are those of ``role`` from now on."""
        given = self.account.client("sts").assume_role(RoleArn=arn, RoleSessionName="attacker")["Credentials"]
        self.sessions[role] = boto3.Session(
            given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name=REGION
        )

    def refusal(self, role: str, service: str, call: str, given: Given) -> str:
        """Why the policies refuse a call; empty when they let it through, whatever becomes of it then."""
        try:
            getattr(self.client(role, service), call)(**given)
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
            return message or code if code in REFUSED else ""
        return ""


@pytest.fixture(scope="module")
def siege(account: RunningAccount) -> Iterator[Siege]:
    settings = dataclasses.replace(Settings.load("local"), project=PROJECT, endpoint_url=account.endpoint_url)
    keys = owner_keys(account.state_dir)
    session = boto3.Session(keys.access_key, keys.secret_key, region_name=REGION)
    connection = Connection(settings, Names.of(settings, ACCOUNT), session)
    delivery.deploy(connection, lambda _: None)
    pages = account.client("cloudformation").describe_stack_resources(StackName=f"{PROJECT}-delivery")
    made = {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in pages["StackResources"]}
    found = Siege(account, *(_stage(account, made, which) for which in ("Staging", "Production")))
    for name in TRIED_ROLES:
        found.take(name, _copy(account, made[name], f"copy-of-{name}"))
    yield found
    for client in found.clients.values():
        client.close()
    delivery.destroy(connection, lambda _: None)
    for client in connection._clients.values():
        client.close()


def _stage(account: RunningAccount, made: dict[str, str], which: str) -> Stage:
    """A stage with what an attack needs that somebody is there: buckets, a key, a role within the boundary."""
    name = STAGING if which == "Staging" else PRODUCTION
    tags = [{"TagKey": "deployment", "TagValue": f"{PROJECT}-{name}"}]
    key = account.client("kms").create_key(Tags=tags)["KeyMetadata"]["Arn"]
    stack_role = f"arn:aws:iam::{ACCOUNT}:role/{made[f'{which}StackRole']}"
    stage = Stage(name, key, made[f"{which}Boundary"], stack_role)
    s3, iam = account.client("s3"), account.client("iam")
    for kind in ("data", "artifacts"):
        s3.create_bucket(Bucket=stage.bucket(kind))
        s3.put_object(Bucket=stage.bucket(kind), Key="x", Body=b"code")
    s3.put_object(Bucket=stage.bucket("data"), Key="plain", Body=b"data")
    encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    s3.put_object(Bucket=stage.bucket("data"), Key="source/secret", Body=b"secret", **encrypted)
    services = trust("lambda", "scheduler", "sagemaker")
    limited = {"AssumeRolePolicyDocument": services, "PermissionsBoundary": stage.boundary}
    iam.create_role(RoleName=stage.role.rpartition("/")[2], **limited)
    arn = f"arn:aws:sagemaker:{HERE}:training-job/pipelines-{name}"
    account.client("sagemaker").add_tags(ResourceArn=arn, Tags=stage.tags)
    return stage


def _copy(account: RunningAccount, role: str, name: str) -> str:
    """A role with exactly the policies, the tags and the boundary of another, which the owner may assume."""
    iam = account.client("iam")
    original = iam.get_role(RoleName=role)["Role"]
    copied = iam.create_role(
        RoleName=f"{PROJECT}-{name}", AssumeRolePolicyDocument=trust(AWS=OWNER), Tags=original.get("Tags", [])
    )["Role"]
    for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        iam.attach_role_policy(RoleName=copied["RoleName"], PolicyArn=policy["PolicyArn"])
    for policy_name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        found = iam.get_role_policy(RoleName=role, PolicyName=policy_name)["PolicyDocument"]
        put = {"RoleName": copied["RoleName"], "PolicyName": policy_name}
        iam.put_role_policy(**put, PolicyDocument=json.dumps(found))
    return str(copied["Arn"])


@pytest.fixture(scope="module")
def administrator(siege: Siege) -> str:
    """What a template in a commit can make of a role: all permissions, and a trust of its own."""
    name = f"{PROJECT}-{STAGING}-administrator"
    iam = siege.client("StagingStackRole", "iam")
    limited = {"AssumeRolePolicyDocument": trust(AWS=OWNER), "PermissionsBoundary": siege.staging.boundary}
    arn = iam.create_role(RoleName=name, Tags=siege.staging.tags, **limited)["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=document(allow("*", "*")))
    siege.take("StagingBoundary", arn)
    return str(arn)


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_what_staging_may_do_to_itself_it_may_not_do_to_production(
    siege: Siege, administrator: str, attack: Attack
) -> None:
    tried = (attack.role, attack.service, attack.call)
    assert "is not authorized to perform" in siege.refusal(*tried, attack.given(siege.production))
    assert siege.refusal(*tried, attack.given(siege.staging)) == ""


def test_every_statement_has_an_attack() -> None:
    resources = parse(delivery_template())["Resources"]
    policies = ["StackDataPolicy", "StackCodePolicy", "StagingRolesPolicy", "DeployPolicy", "StagingBoundary"]
    documents = [resources[name]["Properties"]["PolicyDocument"] for name in (*policies, "BuildPolicy")]
    documents += [policy["PolicyDocument"] for policy in resources["StagingRole"]["Properties"]["Policies"]]
    sids = {statement["Sid"] for each in documents for statement in each["Statement"]}
    tried = {attack.sid for attack in ATTACKS}
    assert sids - tried - set(EXEMPT) - {"NothingOfAnotherStage"} == set()  # tried wherever a tag decides
    assert (tried | set(EXEMPT)) - sids == set()


def test_a_key_of_production_cannot_be_made_stagings_own(siege: Siege, administrator: str) -> None:
    encrypted = siege.account.client("kms").encrypt(KeyId=siege.production.key, Plaintext=b"secret")["CiphertextBlob"]
    delivery_key = siege.account.client("s3").get_bucket_encryption(Bucket=DELIVERY_BUCKET)
    (rule,) = delivery_key["ServerSideEncryptionConfiguration"]["Rules"]
    for key in (siege.production.key, rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"]):
        for value in (siege.staging.prefix, siege.production.prefix):
            tags: Given = {"KeyId": key, "Tags": [{"TagKey": "deployment", "TagValue": value}]}
            assert siege.refusal("StagingStackRole", "kms", "tag_resource", tags)
        for role in (*TRIED_ROLES[1:], "StagingBoundary"):
            assert siege.refusal(role, "kms", "untag_resource", {"KeyId": key, "TagKeys": ["deployment"]})
            if key == siege.production.key:
                assert siege.refusal(role, "kms", "decrypt", {"KeyId": key, "CiphertextBlob": encrypted})
        assert siege.refusal("StagingStackRole", "kms", "schedule_key_deletion", {"KeyId": key})


def test_no_role_is_made_or_changed_without_the_boundary(siege: Siege, administrator: str) -> None:
    iam = siege.account.client("iam")
    by_hand = f"{PROJECT}-{STAGING}-by-hand"
    iam.create_role(RoleName=by_hand, AssumeRolePolicyDocument=trust(AWS=OWNER))
    own = administrator.rpartition("/")[2]
    new: Given = {"RoleName": f"{PROJECT}-{STAGING}-new", "AssumeRolePolicyDocument": trust(AWS=OWNER)}
    role: Given = {"RoleName": by_hand}
    boundary = siege.staging.boundary
    attempts: list[tuple[str, Given]] = [
        ("create_role", new),
        ("create_role", {**new, "PermissionsBoundary": ADMINISTRATOR}),
        ("create_role", {**new, "PermissionsBoundary": siege.production.boundary}),
        ("create_role", {**new, "PermissionsBoundary": boundary, "Tags": siege.production.tags[:1]}),
        ("create_role", {**new, "PermissionsBoundary": boundary, "Path": "/elsewhere/"}),
        ("put_role_policy", {**role, "PolicyName": "x", "PolicyDocument": document(allow("*", "*"))}),
        ("attach_role_policy", {**role, "PolicyArn": ADMINISTRATOR}),
        ("detach_role_policy", {**role, "PolicyArn": ADMINISTRATOR}),
        ("delete_role_policy", {**role, "PolicyName": "x"}),
        ("put_role_permissions_boundary", {"RoleName": own, "PermissionsBoundary": ADMINISTRATOR}),
        ("delete_role_permissions_boundary", {"RoleName": own}),
        ("create_policy_version", {"PolicyArn": boundary, "PolicyDocument": ANYBODY, "SetAsDefault": True}),
        ("set_default_policy_version", {"PolicyArn": boundary, "VersionId": "v1"}),
        ("delete_policy", {"PolicyArn": boundary}),
        ("create_user", {"UserName": f"{PROJECT}-{STAGING}-x"}),
    ]
    for taken in ("StagingStackRole", "StagingRole", "BuildRole", "StagingBoundary"):
        for call, given in attempts:
            assert siege.refusal(taken, "iam", call, given), (taken, call, given)


def test_a_role_of_staging_with_all_permissions_reaches_nothing_of_delivery(siege: Siege, administrator: str) -> None:
    """Beyond the stages: delivery's own roles, pipeline, builds and bucket, for every role before the approval."""
    production_role = siege.production.stack_role
    approval = {"summary": "", "status": "Approved"}
    gate = {"pipelineName": f"{PROJECT}-delivery", "stageName": "Approval", "actionName": "Approve", "token": "x" * 36}
    delivery_role = {"RoleName": production_role.rpartition("/")[2]}
    attempts: list[tuple[str, str, Given]] = [
        ("sts", "assume_role", {"RoleArn": production_role, "RoleSessionName": "attacker"}),
        ("iam", "update_assume_role_policy", {**delivery_role, "PolicyDocument": ANYBODY}),
        ("iam", "tag_role", {**delivery_role, "Tags": siege.staging.tags[:1]}),
        ("iam", "put_role_policy", {**delivery_role, "PolicyName": "x", "PolicyDocument": ANYBODY}),
        ("codepipeline", "put_approval_result", {**gate, "result": approval}),
        ("codepipeline", "start_pipeline_execution", {"name": f"{PROJECT}-delivery"}),
        ("codebuild", "start_build", {"projectName": f"{PROJECT}-delivery-deploy-{PRODUCTION}"}),
        ("codebuild", "update_project", {"name": f"{PROJECT}-delivery-deploy-{PRODUCTION}", "description": "x"}),
        ("cloudformation", "delete_stack", {"StackName": f"{PROJECT}-delivery"}),
        ("s3", "put_bucket_policy", {"Bucket": DELIVERY_BUCKET, "Policy": ANYBODY}),
        ("s3", "delete_object", {"Bucket": DELIVERY_BUCKET, "Key": "source/source.zip"}),
        ("events", "disable_rule", {"Name": f"{PROJECT}-delivery-ResultRule-x"}),
        ("logs", "delete_log_group", {"logGroupName": f"/aws/codebuild/{PROJECT}-delivery-build"}),
    ]
    for taken in (*TRIED_ROLES, "StagingBoundary"):
        for service, call, given in attempts:
            assert siege.refusal(taken, service, call, given), (taken, service, call)


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("BuildRole", {f"{PROJECT}-delivery/built/new", "cache/build/x"}),
        ("StagingRole", {f"cache/deploy-{STAGING}/x"}),
        ("StagingStackRole", set()),
    ],
)
def test_a_build_writes_its_own_artifacts_and_cache_only(siege: Siege, role: str, allowed: set[str]) -> None:
    pipeline = f"{PROJECT}-delivery"
    keys = {"source/source.zip", f"source/{'0' * 40}.zip", f"{pipeline}/source/new", f"{pipeline}/built/new"}
    keys |= {"cache/build/x", "cache/x", "x", *(f"cache/deploy-{stage}/x" for stage in (STAGING, PRODUCTION))}
    written = {
        key
        for key in keys
        if not siege.refusal(role, "s3", "put_object", {"Bucket": DELIVERY_BUCKET, "Key": key, "Body": b""})
    }
    assert written == allowed
    assert siege.refusal(role, "s3", "list_objects_v2", {"Bucket": siege.production.bucket("data")})
    assert siege.refusal(role, "kms", "generate_data_key", {"KeyId": siege.production.key, "KeySpec": "AES_256"})
    log = {"logGroupName": f"/aws/codebuild/{PROJECT}-delivery-deploy-{PRODUCTION}", "logStreamName": "forged"}
    assert siege.refusal(role, "logs", "create_log_stream", log)
