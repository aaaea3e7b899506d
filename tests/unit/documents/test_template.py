"""The stack's template: accepted by cfn-lint, filled completely, and complete. Permissions: test_permissions.py."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml

from infrastructure.stack import template_parameters, tls_only_policy
from infrastructure.template import PARTS, TemplatePartsError, stage_template
from scones.artifacts import build as artifacts
from scones.stage.connection import Connection
from scones.stage.names import Names
from scones.stage.settings import Settings


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    document: dict[str, Any] = cfn_yaml.loads(stage_template())
    return document


def test_cfn_lint_accepts_it(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(stage_template(), encoding="utf-8")
    linter = Path(sys.executable).with_name("cfn-lint")
    answer = subprocess.run([linter, str(tmp_path / "stack.yaml")], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (0, ""), answer.stdout + answer.stderr


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


def test_the_template_is_within_cloudformation_s_limits(template: dict[str, Any]) -> None:
    """AWS CloudFormation user guide, quotas: a template in S3, its sections."""
    assert len(stage_template().encode()) <= 1_000_000
    assert len(template["Resources"]) <= 500
    assert len(template["Parameters"]) <= 200
    assert len(template["Outputs"]) <= 200


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
    with pytest.raises(TemplatePartsError, match=message):
        stage_template(tmp_path)


def test_the_data_bucket_is_reached_through_tls_only(template: dict[str, Any]) -> None:
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


def test_whatever_starts_something_by_itself_can_be_stopped_at_once(template: dict[str, Any]) -> None:
    """`scones destroy` does so first: what a rule or a schedule starts would make again what was just removed."""
    starting = {"AWS::Events::Rule", "AWS::Scheduler::Schedule"}
    found = {n: r["Properties"].get("State") for n, r in template["Resources"].items() if r["Type"] in starting}
    reports = found.pop("MonitoringSchedule")
    assert reports == {"Fn::If": ["ReportsOnSchedule", {"Ref": "Triggers"}, "DISABLED"]}
    assert found and set(map(str, found.values())) == {"{'Ref': 'Triggers'}"}, found


@pytest.mark.parametrize("stage", ["local", "staging", "production"])
def test_every_parameter_gets_a_value(template: dict[str, Any], stage: str) -> None:
    settings = Settings.load(stage)
    connection = Connection(settings, Names.of(settings, "123456789012"), None)
    built = artifacts.build(dict.fromkeys(("inference-workflow", "inference-express", "batch-workflow"), "{}"))
    given = template_parameters(connection, built, artifacts.packed("layers/pillow-{}.zip", {}))
    assert set(given) == {name for name, parameter in template["Parameters"].items() if "Default" not in parameter}
    may_be_empty = {"SubnetIds", "SecurityGroupIds", "NotificationEmail", "ProductionAccountId", "MlflowServerArn"}
    assert all(isinstance(value, str) and (value or name in may_be_empty) for name, value in given.items())
    # Longest names that the services allow: endpoint configurations carry `-v<version>-<8 characters>` in addition.
    assert len(given["EndpointName"]) <= 63 - len("-v1000-01234567")
    assert all(len(given[name]) <= 63 for name in ("DataBucketName", "ArtifactBucketName"))
    assert all(len(value) <= 64 for name, value in given.items() if name.endswith("Name") and "Bucket" not in name)
