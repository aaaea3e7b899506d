"""The policies of docs/policies: enough to deploy and run a stage, by AWS's own word and by the code, and no more."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from infrastructure.delivery import delivery_template
from infrastructure.template import stage_template
from local_account.cloudformation.template import parse
from scones.stage.settings import PROJECT_ROOT
from tests.unit.documents.test_permissions import ACTIONS, PREFIXES, as_list, operations

POLICIES = PROJECT_ROOT / "docs" / "policies"
OWN, OF_THE_STACK, BOUNDARY = ("deploy", "operate"), ("stack-data", "stack-code", "stack-roles"), "boundary"
# Managed policy size, without whitespace (IAM User Guide, "IAM and AWS STS quotas").
POLICY_CHARACTERS = 6144
# What AWS's schemas ask of a handler for features that the template does not use.
UNUSED_FEATURES = (
    r"(billing|elasticfilesystem|firehose|kinesis|s3files|s3tables):.*",
    r"dynamodb:(\w*Replica|ImportTable|DescribeImport|(Enable|Disable|Update)Kinesis\w+|UpdateContributorInsights)",
    r"dynamodb:((Put|Delete)ResourcePolicy|BatchWriteItem|(Get|Put|Update|Delete)Item|Query|Scan)",
    r"glue:(\w*Connection|GetSchemaVersion|\w*Integration\w*|\w*Tags?|TagResource|UntagResource|\w*Catalog\w*)",
    r"s3:PutObject",  # tables of Iceberg
    r"(kafka|lakeformation|redshift|redshift-serverless|secretsmanager|s3tables):.*",
    r"iam:((Attach|Detach)(Group|User)Policy|DeleteRolePermissionsBoundary|CreateServiceLinkedRole)",
    r"kms:Disable\w+",
    r"lambda:((Put|Delete)Function(CodeSigningConfig|Concurrency|RecursionConfig|ScalingConfig)|PublishVersion)",
    r"lambda:(AssociateRuntimeAlias|GetCodeSigningConfig|PassCapacityProvider|PutRuntimeManagementConfig)",
    r"logs:((Put|Delete)(DataProtection|Index|Resource)Policy|DescribeResourcePolicies|PutBearerTokenAuthentication)",
    r"logs:(CreateLogDelivery|CreateLogStream|DescribeLogStreams|PutLogEvents|PutLogGroupDeletionProtection)",
    r"s3:\w*(Abac|Accelerate|Acl|Analytics|Annotation|Cors|CORS|IntelligentTiering|Inventory|Journal|Logging)\w*",
    r"s3:\w*(Metadata|Metrics|Notification|ObjectLock|Replication|Website)\w*",
    r"s3:(DeleteObject|DeleteBucket(Encryption|Lifecycle)|REST\.PUT\.OBJECT)",
    r"sns:PutDataProtectionPolicy",
)
# The schemas have them for what CloudFormation calls on its own, or leave them out.
IMPLIED = {
    "cloudformation:TagResource",  # a stack with tags
    "glue:GetDatabase",  # Athena asks with the caller's permissions
    "glue:GetTable",
    "iam:GetPolicyVersion",
    "sagemaker:AddTags",  # pipelines with tags
    "kms:CreateGrant",  # a table that is encrypted with a key
    "kms:DescribeKey",
    "kms:GenerateDataKey",
    "s3:GetObjectVersion",
    "s3:DeleteObjectVersion",  # to delete an object with all its versions
    "s3:AbortMultipartUpload",  # of a large upload that fails
    "kms:Decrypt",
    "iam:PassRole",
}
MODULES = sorted(
    path
    for folder in ("infrastructure", "scones", "scones/commands")
    for path in (PROJECT_ROOT / folder).rglob("*.py")
    if "delivery" not in path.name  # has policies of its own
)
NAMED = ACTIONS | {
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:CopyObject": "s3:PutObject",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "lambda:Invoke": "lambda:InvokeFunction",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
}


def policy(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((POLICIES / f"{name}.json").read_text(encoding="utf-8"))
    return document


def actions(*names: str) -> set[str]:
    allowing = [s for name in names for s in policy(name)["Statement"] if s["Effect"] == "Allow"]
    return {action for statement in allowing for action in as_list(statement["Action"])}


@cache
def handlers() -> dict[str, set[str]]:
    """Handler -> what CloudFormation calls in it for the types of the template, by AWS's resource schemas."""
    found: dict[str, set[str]] = {}
    for kind in {resource["Type"] for resource in parse(stage_template())["Resources"].values()}:
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
        for handler, described in schema["handlers"].items():
            found.setdefault(handler, set()).update(described.get("permissions", []))
    return found


def test_the_stack_may_make_change_and_remove_every_type_of_the_template() -> None:
    needed = handlers()["create"] | handlers()["update"] | handlers()["delete"]
    needed = {action for action in needed if not any(re.fullmatch(p, action) for p in UNUSED_FEATURES)}
    assert len(needed) > 100
    assert not sorted(needed - actions(*OF_THE_STACK))


def test_the_stack_may_do_nothing_that_no_type_of_the_template_needs() -> None:
    assert not sorted(actions(*OF_THE_STACK) - set().union(*handlers().values()) - IMPLIED)


def called() -> list[set[str]]:
    """The calls of boto3 in `scones` and `infrastructure`, each as the actions that it may need."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in MODULES]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    services = {
        str(node.args[0].value)
        for node in nodes
        if isinstance(node.func, ast.Attribute) and node.func.attr == "client" and node.args
        if isinstance(node.args[0], ast.Constant)
    }
    assert services >= {"s3", "sagemaker", "cloudformation", "stepfunctions"}
    found = []
    for node in nodes:
        methods = {part.attr for part in (node.func, *node.args) if isinstance(part, ast.Attribute)}
        if {"get_paginator", "get_waiter"} & methods and isinstance(node.args[0], ast.Constant):
            methods = {str(node.args[0].value)}
        for method in methods - {"search"}:
            needed = {
                _action(service, operations(service)[method]) for service in services if method in operations(service)
            }
            if needed:
                found.append(needed)
    return found


def _action(service: str, operation: str) -> str:
    prefix = {"stepfunctions": "states", **PREFIXES}.get(service, service)
    action = f"{prefix}:{operation}"
    return NAMED.get(action, action)


def test_whoever_deploys_and_operates_may_do_what_scones_calls() -> None:
    may = actions(*OWN)
    missing = [needed for needed in called() if not needed & may]
    assert not missing


def test_whoever_deploys_and_operates_may_do_nothing_else() -> None:
    assert not sorted(actions(*OWN) - set().union(*called()) - IMPLIED)


@pytest.mark.parametrize("name", [*OWN, *OF_THE_STACK, BOUNDARY])
def test_a_policy_names_its_resources_and_is_short_enough(name: str) -> None:
    document = policy(name)
    for statement in document["Statement"]:
        if statement["Effect"] == "Deny" or name == BOUNDARY:  # limits, and gives nothing
            continue
        assert not [action for action in as_list(statement["Action"]) if "*" in action]
        for resource in as_list(statement["Resource"]):
            limited = (
                re.search("PREFIX|PROJECT/STAGE|pipelines-|Powertools|:catalog", resource) or "Condition" in statement
            )
            assert limited or statement["Sid"] in (
                "Find",
                "AskAthena",
                "FindAliases",
                "FindTheKey",
                "SayWhoItIs",
                "ReadLogs",
                "StopScaling",
                "OpenMlflow",  # whose servers have names of their own
                "LookAtTransformJobs",  # so have these
            ), statement
    text = json.dumps(document, separators=(",", ":"))
    for placeholder, longest in {"PREFIX": "x" * 24, "ACCOUNT": "1" * 12, "REGION": "ap-southeast-2"}.items():
        text = text.replace(placeholder, longest)
    assert len(text) <= POLICY_CHARACTERS


def test_delivery_gives_cloudformation_the_same_policies() -> None:
    """They differ in how a stage is named: there by a tag of the role, or by a parameter where tags can be forged."""
    resources = parse(delivery_template())["Resources"]
    by_tag, by_parameter = "${!aws:PrincipalTag/stage}", "${StagingStage}"
    for name, resource, stage in (
        ("stack-data", "StackDataPolicy", by_tag),
        ("stack-code", "StackCodePolicy", by_tag),
        ("stack-roles", "StagingRolesPolicy", by_parameter),
        (BOUNDARY, "StagingBoundary", by_parameter),
    ):
        names = {"arn:aws:iam::ACCOUNT:policy/boundary-PREFIX": "StagingBoundary"}
        names |= {
            "PROJECT/STAGE": f"${{Project}}/{stage}",
            "PREFIX": f"${{Project}}-{stage}",
            '"STAGE"': '"StagingStage"',
        }
        names |= {"arn:aws:": "arn:${AWS::Partition}:", "ACCOUNT": "${AWS::AccountId}", "REGION": "${AWS::Region}"}
        expected = json.dumps(policy(name)["Statement"])
        for placeholder, known in names.items():
            expected = expected.replace(placeholder, known)
        found = resources[resource]["Properties"]["PolicyDocument"]["Statement"]
        assert _without_subs(found) == json.loads(expected)


def _without_subs(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) in ({"Fn::Sub"}, {"Ref"}):
            return next(iter(value.values()))
        return {name: _without_subs(inner) for name, inner in value.items()}
    return [_without_subs(item) for item in value] if isinstance(value, list) else value


def test_every_policy_stands_in_the_docs() -> None:
    documented = (PROJECT_ROOT / "docs" / "aws.md").read_text(encoding="utf-8")
    files = {path.stem for path in POLICIES.glob("*.json")}
    assert files == {*OWN, *OF_THE_STACK, BOUNDARY}
    assert all(f"policies/{name}.json" in documented for name in files)
