"""Least privilege: every role has one user, every permission a call in the code, and every call its permission."""

from __future__ import annotations

import ast
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from cfnlint.decode import cfn_yaml

from infrastructure.template import stage_template
from scones.artifacts import build as artifacts
from scones.stage.settings import PROJECT_ROOT

# IAM names what S3's and some batch operations need in its own way (service authorization reference).
ACTIONS = {
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "s3:UploadFile": "s3:PutObject",
    "s3:DownloadFile": "s3:GetObject",
    "lambda:Invoke": "lambda:InvokeFunction",
}
TRANSACTION = {f"dynamodb:{what}Item" for what in ("Put", "Update", "Delete")}
# Of boto3, beside the operations.
TRANSFERS = {"upload_file": "UploadFile", "download_file": "DownloadFile"}
PREFIXES = {"sagemaker-runtime": "sagemaker"}
# What a role may do although no line calls it: an action -> one of these has to be called, or a feature be used.
IMPLIED = {
    "kms:Decrypt": {"s3:GetObject", "s3:PutObject", "sns:Publish", "dynamodb:GetItem"},
    "kms:GenerateDataKey": {"s3:PutObject", "sns:Publish", "dynamodb:PutItem"},
    "s3:AbortMultipartUpload": {"s3:PutObject"},  # of a large file's upload that fails
    "s3:ListBucket": {"s3:GetObject"},  # else S3 answers "forbidden" for what does not exist
    "sagemaker:AddTags": {"sagemaker:CreateModel", "sagemaker:CreateEndpointConfig", "sagemaker:CreateEndpoint"},
    "iam:PassRole": {"sagemaker:CreateModel"},
    # What the target's policy and role need is asked of the caller as well (Application Auto Scaling user guide).
    "cloudwatch:PutMetricAlarm": {"application-autoscaling:PutScalingPolicy"},
    "cloudwatch:DeleteAlarms": {"application-autoscaling:DeregisterScalableTarget"},
    "iam:CreateServiceLinkedRole": {"application-autoscaling:RegisterScalableTarget"},
    # Updating an endpoint with alarms that undo it (SageMaker AI developer guide, auto-rollback configuration).
    "cloudwatch:DescribeAlarms": {"sagemaker:UpdateEndpoint"},
    # The same for what scaling does to an endpoint (SageMaker AI developer guide, auto scaling prerequisites).
    "sagemaker:DescribeEndpointConfig": {"application-autoscaling:RegisterScalableTarget"},
    "sagemaker:UpdateEndpointWeightsAndCapacities": {"application-autoscaling:RegisterScalableTarget"},
}
SCALING = {
    "sagemaker:DescribeEndpointConfig",
    "sagemaker:UpdateEndpointWeightsAndCapacities",
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:DeleteAlarms",
    "iam:CreateServiceLinkedRole",
}
LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
TRACES = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
JOB_ROLES = {"EvaluationRole": "processing.evaluate", "ProcessingRole": "processing.filter_cifar"}


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    document: dict[str, Any] = cfn_yaml.loads(stage_template())
    return document


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def of_type(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {name: found for name, found in template["Resources"].items() if found["Type"] == kind}


def statements(template: dict[str, Any], effect: str = "Allow") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement of every policy: roles', managed ones, and those of buckets, topics, queues and keys."""
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        documents += [properties[key] for key in ("PolicyDocument", "KeyPolicy") if key in properties]
        for document in documents:
            for statement in document["Statement"]:
                chosen = statement["Fn::If"][1] if "Fn::If" in statement else statement
                if chosen["Effect"] == effect:
                    yield name, chosen


def allowed(template: dict[str, Any], role: str) -> set[str]:
    """The actions in a role's own policies."""
    return {action for name, s in statements(template) if name == role for action in as_list(s["Action"])}


@cache
def operations(service: str) -> dict[str, str]:
    """boto3's method -> the operation."""
    model = botocore.session.get_session().get_service_model(service)
    return {xform_name(name): name for name in model.operation_names} | (TRANSFERS if service == "s3" else {})


def calls(sources: list[str]) -> list[set[str]]:
    """The boto3 calls that the first source reaches, each as the IAM actions that it may need.

    More than one where several of the services that the code names know the method.
    """
    reached = list(_reached([ast.parse(source) for source in sources]))
    known = set(botocore.session.get_session().get_available_services())
    constants = {node.value for node in reached if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    services = constants & known
    found = []
    for node in (node for node in reached if isinstance(node, ast.Call)):
        methods = [part.attr for part in (node.func, *node.args) if isinstance(part, ast.Attribute)]
        if {"get_paginator", "get_waiter"} & set(methods) and isinstance(node.args[0], ast.Constant):
            methods = [str(node.args[0].value)]
        for method in set(methods) - {"search"}:  # of a regular expression
            if actions := {a for s in services for a in _actions(s, method)}:
                found.append(actions)
    return found


def _actions(service: str, method: str) -> set[str]:
    operation = operations(service).get(method)
    if operation is None:
        return set()
    action = f"{PREFIXES.get(service, service)}:{operation}"
    return TRANSACTION if operation == "TransactWriteItems" else {ACTIONS.get(action, action)}


def _reached(modules: list[ast.Module]) -> Iterator[ast.AST]:
    """Every node of the first module, and of what others define under a name that is used in what is reached."""
    definitions: dict[str, list[ast.stmt]] = {}
    waiting: list[ast.stmt] = list(modules[0].body)
    for module in modules[1:]:
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef):
                definitions.setdefault(node.name, []).append(node)
        waiting += [node for node in module.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    while waiting:
        for node in ast.walk(waiting.pop()):
            yield node
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
            waiting += definitions.pop(name, [])


def sources_of(handler: str) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(artifacts.function_zip(handler).data)) as archive:
        first = f"lambdas/{handler}.py"
        names = [first, *(name for name in archive.namelist() if name != first)]
        return [archive.read(name).decode() for name in names]


@pytest.mark.parametrize("handler", artifacts.handlers())
def test_a_function_may_do_what_it_calls_and_nothing_else(template: dict[str, Any], handler: str) -> None:
    (function,) = (
        f["Properties"]
        for f in of_type(template, "AWS::Lambda::Function").values()
        if f["Properties"]["Handler"] == f"lambdas.{handler}.handler"
    )
    called = calls(sources_of(handler))
    may = allowed(template, function["Role"]["Fn::GetAtt"][0])
    missing = [actions for actions in called if not actions & may]
    assert not missing, f"{handler} calls what its role does not allow: {missing}"
    features = LOGS | (TRACES if "TracingConfig" in function else set())
    features |= {"sqs:SendMessage"} if "DeadLetterConfig" in function else set()
    used = set[str]().union(*called)
    unused = {a for a in may - used - features if not IMPLIED.get(a, set()) & used}
    assert not unused, f"{handler} may do what it never calls: {sorted(unused)}"
    assert features <= may | {"sqs:SendMessage"}


def test_whoever_scales_an_endpoint_may_what_scaling_does(template: dict[str, Any]) -> None:
    assert allowed(template, "DeployApprovedModelRole") >= SCALING | {"application-autoscaling:PutScalingPolicy"}


def test_the_model_may_read_the_alarms_that_undo_an_update(template: dict[str, Any]) -> None:
    """An update reads them as the model's role (SageMaker AI developer guide, auto-rollback configuration)."""
    watched = {
        str(resource)
        for name, statement in statements(template)
        if name == "ModelRole" and "cloudwatch:DescribeAlarms" in as_list(statement["Action"])
        for resource in statement["Resource"]
    }
    variables = template["Resources"]["DeployApprovedModel"]["Properties"]["Environment"]["Variables"]
    alarms = [template["Resources"][alarm["Ref"]] for alarm in variables["ALARM_NAMES"]["Fn::Join"][1]]
    assert len(alarms) == len(watched) == 3
    for alarm in alarms:
        assert any(f"alarm:${{{alarm['Properties']['AlarmName']['Ref']}}}" in resource for resource in watched)


@pytest.mark.parametrize(("role", "module"), JOB_ROLES.items())
def test_a_job_may_do_what_it_calls(template: dict[str, Any], role: str, module: str) -> None:
    missing = [actions for actions in calls(_job_sources(module)) if not actions & allowed(template, role)]
    assert not missing, f"{module} calls what {role} does not allow: {missing}"


def _job_sources(module: str) -> list[str]:
    waiting, seen = [module], dict[str, str]()
    while waiting:
        name = waiting.pop()
        path = PROJECT_ROOT / (name.replace(".", "/") + ".py")
        if name in seen or not path.is_file() or name == "reporting.tracking":  # that one's calls are MLflow's
            continue
        seen[name] = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(seen[name])):
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return list(seen.values())


def test_the_collector_finds_calls() -> None:
    """It would prove nothing if it found none."""
    found = set[str]().union(*calls(sources_of("classify_batch")))
    assert found >= {"s3:GetObject", "sagemaker:InvokeEndpoint", "sqs:SendMessage", "ssm:GetParameter"}
    assert {"sagemaker:ListModelPackages"} in calls(_job_sources("processing.evaluate"))


def test_no_action_has_a_wildcard(template: dict[str, Any]) -> None:
    documented = template["Metadata"]["WildcardActions"]
    used = {
        action if name not in of_type(template, "AWS::IAM::Role") else f"{name}: {action}"
        for name, statement in statements(template)
        for action in as_list(statement["Action"])
        if "*" in action
    }
    assert used == set(documented)


def test_the_resource_star_is_for_documented_actions_only(template: dict[str, Any]) -> None:
    documented = template["Metadata"]["WildcardResources"]
    keys = of_type(template, "AWS::KMS::Key")  # in a key's policy the star is the key
    used = set()
    for name, statement in statements(template):
        for resource in [] if name in keys else as_list(statement["Resource"]):
            pattern = resource.get("Fn::Sub", "") if isinstance(resource, dict) else resource
            if pattern == "*":
                for action in as_list(statement["Action"]):
                    assert action in documented, f"{name} may do {action} on every resource"
                    used.add(action)
            elif isinstance(pattern, str):
                # A star may end a name, not replace one: arn:aws:sagemaker:*:*:endpoint/* is refused.
                assert "*" not in pattern.removesuffix("*"), f"{name}: {pattern}"
                assert not pattern.endswith((":::*", "endpoint/*", "function:*", "role/*")), f"{name}: {pattern}"
    assert used == set(documented)


def test_whoever_passes_a_role_says_which_and_to_whom(template: dict[str, Any]) -> None:
    passing = [(name, s) for name, s in statements(template) if "iam:PassRole" in as_list(s["Action"])]
    assert passing
    for name, statement in passing:
        assert as_list(statement["Action"]) == ["iam:PassRole"], name
        assert all("Fn::GetAtt" in resource for resource in as_list(statement["Resource"])), name
        assert statement["Condition"]["StringEquals"]["iam:PassedToService"], name


def test_no_two_functions_or_state_machines_share_a_role(template: dict[str, Any]) -> None:
    users = Counter(
        str(resource["Properties"].get("Role") or resource["Properties"].get("RoleArn"))
        for kind in ("AWS::Lambda::Function", "AWS::StepFunctions::StateMachine")
        for resource in of_type(template, kind).values()
    )
    assert users and set(users.values()) == {1}


def test_no_two_kinds_of_job_share_a_role(template: dict[str, Any]) -> None:
    passed = [r["Fn::GetAtt"][0] for _, s in statements(template) for r in as_list(s["Resource"]) if _passes(s)]
    assert set(passed) >= {
        f"{kind}Role" for kind in ("Processing", "Training", "Evaluation", "Transform", "Monitoring", "Model")
    }
    assert len(passed) == len(set(passed))


def _passes(statement: dict[str, Any]) -> bool:
    return as_list(statement["Action"]) == ["iam:PassRole"]


def test_only_services_and_this_account_are_let_in_from_outside(template: dict[str, Any]) -> None:
    for name, statement in statements(template):
        principal = statement.get("Principal")
        if principal is None:
            continue
        assert principal != "*", name
        assert set(principal) <= {"Service", "AWS"}, name
        if "AWS" in principal:
            assert re.fullmatch(
                r"arn:.*:iam::\$\{(AWS::AccountId|ProductionAccountId)\}:root", principal["AWS"]["Fn::Sub"]
            ), name
        else:
            assert statement.get("Condition"), f"{name} lets {principal} in for every account"


def test_everything_that_is_stored_is_encrypted_and_expires(template: dict[str, Any]) -> None:
    key = {"Fn::GetAtt": ["DataKey", "Arn"]}
    for name, bucket in of_type(template, "AWS::S3::Bucket").items():
        properties = bucket["Properties"]
        (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}, name
        assert rule["BucketKeyEnabled"] is True
        assert properties["LifecycleConfiguration"]["Rules"], name
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}, name
        assert properties["VersioningConfiguration"] == {"Status": "Enabled"}, name
    for name, group in of_type(template, "AWS::Logs::LogGroup").items():
        assert group["Properties"]["KmsKeyId"] == key, name
        assert group["Properties"]["RetentionInDays"] <= 90, name
    for name, queue in of_type(template, "AWS::SQS::Queue").items():
        properties = queue["Properties"]
        assert properties.get("SqsManagedSseEnabled") is True or "KmsMasterKeyId" in properties, name
        assert properties["MessageRetentionPeriod"] <= 14 * 86_400, name
    for name, topic in of_type(template, "AWS::SNS::Topic").items():
        assert "KmsMasterKeyId" in topic["Properties"], name
    for name, table in of_type(template, "AWS::DynamoDB::Table").items():
        assert table["Properties"]["SSESpecification"]["SSEEnabled"] is True, name
    assert all(k["Properties"]["EnableKeyRotation"] for k in of_type(template, "AWS::KMS::Key").values())


def test_whatever_is_called_without_waiting_keeps_what_failed(template: dict[str, Any]) -> None:
    """Rules name a dead-letter queue, or their function does; what a schedule starts comes again by itself."""
    functions = of_type(template, "AWS::Lambda::Function")
    for name, rule in of_type(template, "AWS::Events::Rule").items():
        for target in rule["Properties"]["Targets"]:
            function = functions.get((target["Arn"].get("Fn::GetAtt") or [""])[0], {"Properties": {}})
            assert "DeadLetterConfig" in target or "DeadLetterConfig" in function["Properties"], f"{name} loses events"
