"""The stack's template: accepted by cfn-lint, least privilege, filled completely, and private buckets."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml

from infrastructure.stack import template_parameters, tls_only_policy
from infrastructure.template import PARTS, TemplateError, stage_template
from scones import artifacts
from scones.connection import Connection
from scones.names import Names
from scones.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
JOBS = {"JobPolicy", "ModelRole"}


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    document: dict[str, Any] = cfn_yaml.loads(stage_template())
    return document


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allow_statements(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        documents += [properties[key] for key in ("PolicyDocument",) if key in properties]
        for document in documents:
            for statement in document["Statement"]:
                if statement["Effect"] == "Allow":
                    yield name, statement


def test_cfn_lint_accepts_it(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(stage_template(), encoding="utf-8")
    linter = Path(sys.executable).with_name("cfn-lint")
    answer = subprocess.run([linter, str(tmp_path / "stack.yaml")], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (0, ""), answer.stdout + answer.stderr


def test_no_action_has_a_wildcard(template: dict[str, Any]) -> None:
    for name, statement in allow_statements(template):
        for action in as_list(statement["Action"]):
            assert "*" not in action, f"{name}: {action}"


def test_the_resource_star_is_for_documented_actions_only(template: dict[str, Any]) -> None:
    allowed = template["Metadata"]["WildcardResources"]
    used = set()
    for name, statement in allow_statements(template):
        for resource in as_list(statement["Resource"]):
            pattern = resource.get("Fn::Sub", "") if isinstance(resource, dict) else resource
            if pattern == "*":
                for action in as_list(statement["Action"]):
                    assert action in allowed, f"{name} may do {action} on every resource"
                    used.add(action)
            elif isinstance(pattern, str):
                # A star may end a name, not replace one: arn:aws:sagemaker:*:*:endpoint/* is refused.
                assert "*" not in pattern.removesuffix("*"), f"{name}: {pattern}"
                assert not pattern.endswith((":::*", "endpoint/*", "function:*", "role/*")), f"{name}: {pattern}"
    assert used == set(allowed)


def test_roles_are_passed_to_sagemaker_only(template: dict[str, Any]) -> None:
    passing = [s for _, s in allow_statements(template) if "iam:PassRole" in as_list(s["Action"])]
    assert len(passing) == 2
    for statement in passing:
        assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


def test_only_the_code_that_has_to_touches_sagemaker_or_s3(template: dict[str, Any]) -> None:
    services: dict[str, set[str]] = {}
    for name, statement in allow_statements(template):
        services.setdefault(name, set()).update(action.split(":")[0] for action in as_list(statement["Action"]))
    assert {name: found for name, found in services.items() if name not in JOBS} == {
        "SerializeImageRole": {"logs", "s3", "xray"},
        "ClassifyImageRole": {"logs", "s3", "sagemaker", "xray"},
        "FilterInferencesRole": {"logs", "ssm", "xray"},
        "ClassifyBatchRole": {"logs", "s3", "sagemaker", "sqs", "ssm", "xray"},
        "SummarizeBatchRole": {"logs", "s3", "xray"},
        "DeployApprovedModelRole": {
            "application-autoscaling",
            "cloudwatch",
            "dynamodb",
            "iam",
            "kms",
            "logs",
            "s3",
            "sagemaker",
            "sns",
            "sqs",
        },
        "DeleteIdleEndpointRole": {"cloudwatch", "dynamodb", "kms", "lambda", "logs", "sagemaker"},
        "DeploymentSchedulesRole": {"lambda"},
        "WorkflowRole": {"lambda", "logs", "sqs", "xray"},
        "BatchWorkflowRole": {"lambda", "logs", "s3", "states", "xray"},
        "NotificationTopicPolicy": {"sns"},
    }


def test_every_function_has_a_zip_a_limit_and_a_log_that_expires(template: dict[str, Any]) -> None:
    resources = template["Resources"]
    functions = {n: r for n, r in resources.items() if r["Type"] == "AWS::Lambda::Function"}
    handlers = {r["Properties"]["Handler"] for r in functions.values()}
    assert handlers == {f"lambdas.{handler}.handler" for handler in artifacts.handlers()}
    for name, function in functions.items():
        properties = function["Properties"]
        assert properties["Runtime"] == "python3.12"
        assert {"Timeout", "MemorySize", "Description"} <= set(properties)
        assert resources[f"{name}Logs"]["Properties"]["RetentionInDays"] == 30
        assert function["DependsOn"] == f"{name}Logs"
        assert properties["Role"]["Fn::GetAtt"][0] == f"{name}Role"


def test_the_functions_get_the_variables_they_read(template: dict[str, Any]) -> None:
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            properties = resource["Properties"]
            zipped = artifacts.function_zip(properties["Handler"].split(".")[1])
            with zipfile.ZipFile(io.BytesIO(zipped.data)) as archive:
                source = "".join(archive.read(name).decode() for name in archive.namelist())
            optional = {"_X_AMZN_TRACE_ID", "ENDPOINT_TIMEOUT_SECONDS"}
            read = set(re.findall(r'os\.environ(?:\.get\(|\[)"([A-Z_]+)"', source)) - optional
            if "aws_lambda_powertools" in source:
                read |= {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE"}
                assert "AWSLambdaPowertoolsPythonV3" in str(properties["Layers"])
            # Where the parameter is named, the plain value does not count.
            assert set(properties.get("Environment", {}).get("Variables", {})) == read - {"CONFIDENCE_THRESHOLD"}


def test_the_functions_that_scale_images_have_pillow(template: dict[str, Any]) -> None:
    functions = {
        r["Properties"]["Handler"].split(".")[1]: r["Properties"]
        for r in template["Resources"].values()
        if r["Type"] == "AWS::Lambda::Function"
    }
    scaling = {name for name, f in functions.items() if {"Ref": "ImageLayer"} in f.get("Layers", [])}
    assert scaling == {"serialize_image", "classify_image", "classify_batch"}


def test_review_messages_are_kept_long_and_failed_ones_aside(template: dict[str, Any]) -> None:
    queue = template["Resources"]["ReviewQueue"]["Properties"]
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["ReviewDeadLetterQueue", "Arn"]}


def test_every_state_machine_logs_its_failures_and_is_traced(template: dict[str, Any]) -> None:
    machines = [
        r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::StepFunctions::StateMachine"
    ]
    assert {"STANDARD", "EXPRESS"} == {m["StateMachineType"] for m in machines}
    for machine in machines:
        assert machine["LoggingConfiguration"]["Level"] == "ERROR"
        assert machine["TracingConfiguration"] == {"Enabled": True}


def test_the_template_fits_a_request() -> None:
    assert len(stage_template().encode()) <= 51_200  # CreateChangeSet, TemplateBody


def test_every_part_is_in_the_template(template: dict[str, Any]) -> None:
    parts = [cfn_yaml.load(str(path)) for path in PARTS.glob("*.yaml")]
    for section in ("Parameters", "Resources", "Outputs"):
        assert sorted(template[section]) == sorted(name for part in parts for name in part.get(section, {}))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("Resources:\n  Bucket: {}\n", r"Resources Bucket stands in a\.yaml and in b\.yaml"),
        ("Resource:\n  Queue: {}\n", r"b\.yaml: Resource is no section of a template"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path: Path, second: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text("Resources:\n  Bucket: {}\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text(second, encoding="utf-8")
    with pytest.raises(TemplateError, match=message):
        stage_template(tmp_path)


def test_the_data_bucket_is_private_versioned_and_encrypted(template: dict[str, Any]) -> None:
    bucket = template["Resources"]["DataBucket"]["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert "BucketEncryption" in bucket
    policy = template["Resources"]["DataBucketPolicy"]["Properties"]["PolicyDocument"]
    mine = tls_only_policy("bucket")
    assert policy["Statement"][0]["Condition"] == mine["Statement"][0]["Condition"]
    assert policy["Statement"][0]["Effect"] == "Deny"


def test_the_rule_sends_approvals_of_this_group_to_the_function(template: dict[str, Any]) -> None:
    rule = template["Resources"]["ApprovalRule"]["Properties"]
    assert rule["EventPattern"] == {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Model Package State Change"],
        "detail": {
            "ModelPackageGroupName": [{"Ref": "ModelPackageGroupName"}],
            "ModelApprovalStatus": ["Approved", "Rejected"],
        },
    }
    permission = template["Resources"]["ApprovalRuleMayInvoke"]["Properties"]
    assert permission["Principal"] == "events.amazonaws.com"
    assert permission["SourceArn"] == {"Fn::GetAtt": ["ApprovalRule", "Arn"]}


@pytest.mark.parametrize("stage", ["local", "staging", "production"])
def test_every_parameter_gets_a_value(template: dict[str, Any], stage: str) -> None:
    settings = Settings.load(stage)
    connection = Connection(settings, Names.of(settings, "123456789012"), None)
    built = artifacts.build(dict.fromkeys(("inference-workflow", "inference-express", "batch-workflow"), "{}"))
    given = template_parameters(connection, built, artifacts.packed("layers/pillow-{}.zip", {}))
    assert set(given) == {name for name, parameter in template["Parameters"].items() if "Default" not in parameter}
    assert all(isinstance(value, str) and value for value in given.values())
    # Longest names that the services allow: endpoint configurations carry `-v<version>-<8 characters>` in addition.
    assert len(given["EndpointName"]) <= 63 - len("-v1000-01234567")
    assert all(len(given[name]) <= 63 for name in ("DataBucketName", "ArtifactBucketName"))
    assert all(len(value) <= 64 for name, value in given.items() if name.endswith("Name") and "Bucket" not in name)
