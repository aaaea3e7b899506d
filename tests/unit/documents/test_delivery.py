"""Delivery's template and buildspecs: accepted by cfn-lint, least privilege, and nothing but make and `scones`."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cfnlint.decode import cfn_yaml

from infrastructure.delivery import BUILDSPEC, delivery_template, template_parameters
from infrastructure.template import stage_template
from local_account.codebuild.buildspec import Buildspec, BuildspecError, parse
from scones.cli import VERBS
from scones.errors import SconesError
from scones.lazy_verbs import whole_group
from scones.runs.delivery_runs import source_zip
from scones.runs.start_training import git_commit
from scones.stage.connection import Connection
from scones.stage.names import Names
from scones.stage.settings import Settings
from tests.places import ROOT

BUILDSPECS = ("buildspec.yml", "buildspec-deploy.yml")
# A managed policy's quota without its spaces (IAM User Guide, "IAM and AWS STS quotas").
POLICY_CHARACTERS = 6144


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    document: dict[str, Any] = cfn_yaml.loads(delivery_template())
    return document


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in template["Resources"].items():
        properties = resource["Properties"]
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            documents.append(properties["PolicyDocument"])
        for document in documents:
            for statement in document["Statement"]:
                chosen = statement.get("Fn::If", [None, statement])[1]
                if chosen["Effect"] == "Allow":
                    yield name, chosen


def test_cfn_lint_accepts_the_template(tmp_path: Path) -> None:
    linter, written = Path(sys.executable).with_name("cfn-lint"), tmp_path / "delivery.yaml"
    written.write_text(delivery_template(), encoding="utf-8")
    answer = subprocess.run([linter, str(written)], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (0, ""), answer.stdout + answer.stderr


def test_no_action_has_a_wildcard_and_the_resource_star_is_explained(template: dict[str, Any]) -> None:
    explained, used = template["Metadata"]["WildcardResources"], set()
    for name, statement in statements(template):
        for action in as_list(statement["Action"]):
            assert "*" not in action, f"{name}: {action}"
            if "*" in as_list(statement["Resource"]):
                used.add(action)
    assert used == set(explained)


def test_a_role_touches_the_stage_of_its_tag_only(template: dict[str, Any]) -> None:
    for name, statement in statements(template):
        if name in ("DeployPolicy", "StackDataPolicy", "StackCodePolicy") and statement["Resource"] != "*":
            text = json.dumps(statement)
            # Jobs that pipelines start have names of SageMaker's own; layers of AWS are everybody's.
            reads = all(re.search(r":(Describe|GetLayerVersion)", action) for action in as_list(statement["Action"]))
            assert "aws:PrincipalTag/stage" in text or reads, f"{name}: {statement['Sid']}"
    for which in ("Staging", "Production"):
        for role in (f"{which}Role", f"{which}StackRole"):
            assert template["Resources"][role]["Properties"]["Tags"] == [
                {"Key": "stage", "Value": {"Ref": f"{which}Stage"}}
            ]


def test_roles_are_passed_to_named_services_only(template: dict[str, Any]) -> None:
    passing = [statement for _, statement in statements(template) if "iam:PassRole" in as_list(statement["Action"])]
    assert len(passing) == 7  # two of them in the boundaries
    assert all("iam:PassedToService" in statement["Condition"]["StringEquals"] for statement in passing)


def test_managed_policies_are_short_enough(template: dict[str, Any]) -> None:
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            text = json.dumps(resource["Properties"]["PolicyDocument"], separators=(",", ":"))
            # With the longest names that fill the placeholders, the prefix of every resource name among them.
            filled = re.sub(r"\$\{AWS::\w+\}", "123456789012", text).replace("${Project}", "x" * 12)
            filled = filled.replace('{"Fn::Sub":', "").replace('"}', '"')
            assert len(filled) <= POLICY_CHARACTERS, f"{name}: {len(filled)}"


@pytest.mark.parametrize("boundary", ["StagingBoundary", "ProductionBoundary"])
def test_a_boundary_allows_what_a_role_of_any_stage_does(template: dict[str, Any], boundary: str) -> None:
    """Of a stage with every option: in a network, with jobs of its own, with a budget."""
    wanted = {
        action for _, found in statements(cfn_yaml.loads(stage_template())) for action in as_list(found["Action"])
    }
    allowed = {
        action for name, found in statements(template) if name == boundary for action in as_list(found["Action"])
    }
    assert len(wanted) > 50
    assert wanted <= allowed


def test_builds_are_encrypted_limited_and_logged(template: dict[str, Any]) -> None:
    projects = {n: r["Properties"] for n, r in template["Resources"].items() if r["Type"] == "AWS::CodeBuild::Project"}
    assert set(projects) == {"Build", "DeployStaging", "DeployProduction"}
    for name, properties in projects.items():
        assert {"EncryptionKey", "TimeoutInMinutes", "Cache", "LogsConfig"} <= set(properties), name
        logs = template["Resources"][properties["LogsConfig"]["CloudWatchLogs"]["GroupName"]["Ref"]]
        assert logs["Properties"]["RetentionInDays"] == 30
    assert len({str(properties["ServiceRole"]) for properties in projects.values()}) == 3


@pytest.mark.parametrize("stage", ["local", "production"])
def test_every_parameter_without_a_default_gets_a_value(template: dict[str, Any], stage: str) -> None:
    settings = Settings.load(stage)
    given = template_parameters(Connection(settings, Names.of(settings, "123456789012"), None))
    needed = {name for name, parameter in template["Parameters"].items() if "Default" not in parameter}
    assert needed <= set(given) <= set(template["Parameters"])


def test_the_stages_that_delivery_deploys_exist() -> None:
    for stage in ("local", "production"):
        for delivered in Settings.load(stage).delivery.stages:
            assert Settings.load(delivered).project == Settings.load(stage).project


def buildspec(name: str) -> Buildspec:
    return parse((ROOT / name).read_text(encoding="utf-8"))


def verbs(command: Any, prefix: str = "") -> Iterator[str]:
    for name, child in getattr(command, "commands", {}).items():
        yield f"{prefix}{name}"
        yield from verbs(child, f"{prefix}{name} ")


@pytest.mark.parametrize("name", BUILDSPECS)
def test_a_buildspec_calls_make_targets_and_verbs_that_exist(name: str) -> None:
    targets = set(re.findall(r"^(\w+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    known = set(verbs(whole_group(VERBS)))
    commands = [command for phase in buildspec(name).phases.values() for command in (*phase.commands, *phase.last)]
    assert commands
    for command in commands:
        program, *words = command.split()
        if "source.tar.gz" in command or command == "mkdir -p build":  # before anything that came from the build runs
            continue
        if program == "make":
            assert words[0] in targets, command
        else:
            assert program == ".venv/bin/scones", command
            assert " ".join(words[:2]) in known or words[0] in known, command


def test_the_buildspecs_report_cache_and_end_with_the_training_pipeline() -> None:
    build, deploy = (buildspec(name) for name in BUILDSPECS)
    assert {report.format for report in build.reports.values()} == {"JUNITXML", "COBERTURAXML"}
    assert build.cache == deploy.cache == ("/root/.cache/pip/**/*",)
    last = deploy.phases["post_build"].commands[-1]
    assert last == '.venv/bin/scones pipeline run --stage "$STAGE"'
    assert deploy.variables == {"SCONES_WAIT": "0"}


def test_what_is_deployed_is_checked_before_anything_of_it_runs(template: dict[str, Any]) -> None:
    check, unpack, *_ = buildspec("buildspec-deploy.yml").phases["install"].commands
    assert check == 'echo "$SOURCE_SHA256  source.tar.gz" | sha256sum --check --strict'
    assert unpack == "tar -xzf source.tar.gz"
    projects = {n: r["Properties"] for n, r in template["Resources"].items() if r["Type"] == "AWS::CodeBuild::Project"}
    for name in ("DeployStaging", "DeployProduction"):
        assert projects[name]["Source"]["BuildSpec"] == {"Ref": "DeployBuildspec"}
    stages = {s["Name"]: s["Actions"][0] for s in template["Resources"]["Pipeline"]["Properties"]["Stages"]}
    for name in ("Staging", "Production"):
        given = {v["name"]: v["value"] for v in json.loads(stages[name]["Configuration"]["EnvironmentVariables"])}
        assert given["SOURCE_SHA256"] == "#{Build.SOURCE_SHA256}"
    assert len(BUILDSPEC.read_bytes()) <= 4096  # the longest value of a parameter (CloudFormation quotas)


def test_builds_share_neither_prefix_nor_cache_nor_log(template: dict[str, Any]) -> None:
    places: dict[str, set[str]] = {}
    for name, statement in statements(template):
        if name in ("BuildRole", "StagingRole", "ProductionRole") and "s3:PutObject" in as_list(statement["Action"]):
            places.setdefault(name, set()).add(json.dumps(statement["Resource"]))
    assert len(places) == 3
    assert not set.intersection(*places.values()) and sum(map(len, places.values())) == len(
        set().union(*places.values())
    )
    projects = [r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::CodeBuild::Project"]
    assert len({str(properties["Cache"]["Location"]) for properties in projects}) == len(projects)


def test_services_take_a_role_for_this_account_only_where_they_say_for_whom(template: dict[str, Any]) -> None:
    """Lambda and CloudFormation document no source for the roles that they take; a role is never passed abroad."""
    for document in (template, cfn_yaml.loads(stage_template())):
        for name, resource in document["Resources"].items():
            if resource["Type"] != "AWS::IAM::Role":
                continue
            (statement,) = resource["Properties"]["AssumeRolePolicyDocument"]["Statement"]
            if statement["Principal"]["Service"] not in ("lambda.amazonaws.com", "cloudformation.amazonaws.com"):
                assert statement["Condition"]["StringEquals"]["aws:SourceAccount"] == {"Ref": "AWS::AccountId"}, name


in_a_repository = pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="these files are of a zip, not of a repository"
)


@in_a_repository
def test_the_zip_of_a_commit_knows_the_commit() -> None:
    commit, content = source_zip("HEAD")
    archived = zipfile.ZipFile(io.BytesIO(content)).read("scones/commit.txt").decode().strip()
    assert archived == commit
    with pytest.raises(SconesError, match="there is no such commit"):
        source_zip("no-such-branch")


@in_a_repository
def test_a_build_knows_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEBUILD_RESOLVED_SOURCE_VERSION", "a" * 40)
    assert git_commit() == "a" * 40
    monkeypatch.setenv("CODEBUILD_RESOLVED_SOURCE_VERSION", "some-version-of-a-zip")
    assert git_commit() != "some-version-of-a-zip"


GOOD = {"version": 0.2, "phases": {"build": {"commands": ["true"]}}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 0.1}, "version must be 0.2"),
        ({"phases": {}}, "at least one phase"),
        ({"phases": {"bild": {}}}, "'bild', which is unknown"),
        ({"phases": {"build": {"commands": [{"echo a": "b"}]}}}, "a colon in a command needs quotes"),
        ({"phases": {"build": {"run-as": "root", "commands": []}}}, "'run-as', which is unknown or not done here"),
        ({"phases": {"build": {"on-failure": "RETRY-2", "commands": []}}}, "ABORT or CONTINUE"),
        ({"env": {"secrets-manager": {}}}, "'secrets-manager', which is unknown or not done here"),
        ({"reports": {"r": {"files": ["x"], "file-format": "NUNITXML"}}}, "must be one of JUNITXML"),
        ({"artifacts": {"files": []}}, "at least one file"),
        ({"batch": {}}, "'batch'"),
    ],
)
def test_a_buildspec_that_is_wrong_or_asks_too_much_is_refused(change: dict[str, Any], message: str) -> None:
    assert parse(yaml.safe_dump(GOOD)).phases["build"].commands == ("true",)
    with pytest.raises(BuildspecError, match=message):
        parse(yaml.safe_dump(GOOD | change))
