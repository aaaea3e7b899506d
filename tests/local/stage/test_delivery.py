"""Delivery: the deployed template takes a zip through tests, staging, approval and production, for real.

The zip is a small project with buildspecs of its own; the pipeline, the projects and the roles are those of the
template, so that every call of a build or of the pipeline is checked against its role's policies.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError
from click.testing import Result
from typer.testing import CliRunner

from scones.cli import app
from tests.local.conftest import RunningAccount

TIMEOUT_S = 300.0  # the machine may be busy with other tests
BUCKET = "scones-delivery-123456789012-us-east-1"
STAGES = ["Source", "Build", "Staging", "Approval", "Production"]

BUILDSPEC = """
version: 0.2
env:
  variables: {TESTS: test_right.py}
  exported-variables: [ANSWER, SOURCE_SHA256]
phases:
  install:
    runtime-versions: {python: "3.11"}
    commands:
      - mkdir -p kept build
      - ls kept
      - tar --exclude=./build --exclude=./kept -czf build/source.tar.gz .
      - export SOURCE_SHA256=$(sha256sum build/source.tar.gz | cut -d ' ' -f 1)
  build:
    commands:
      - case "$TESTS" in test_*) ;; *) TESTS=test_right.py ;; esac
      - python3 -m pytest -q $TESTS --junitxml=reports/junit.xml --cov=answer --cov-report=xml:reports/coverage.xml
    finally:
      - echo "$CODEBUILD_INITIATOR ran $TESTS"
  post_build:
    commands:
      - test "$CODEBUILD_BUILD_SUCCEEDING" = 1
      - export ANSWER=$(python3 -c 'import answer; print(answer.of(6))')
      - date > kept/mark
reports:
  tests: {files: [junit.xml], base-directory: reports, file-format: JUNITXML}
  coverage: {files: [coverage.xml], base-directory: reports, file-format: COBERTURAXML}
artifacts: {files: [source.tar.gz], base-directory: build}
cache: {paths: [kept/**/*]}
"""
# The deployments run the repository's own buildspec-deploy.yml, which calls make and `scones`.
MAKEFILE = """
build:
	@mkdir -p .venv/bin && cp scones.sh .venv/bin/scones && chmod +x .venv/bin/scones && ls
"""
SCONES = """#!/bin/sh
test "$1" != deploy || exec python3 deploy.py
"""
DEPLOY_CODE = """
import os
import answer
import boto3

bucket = "scones-%s-artifacts-123456789012-us-east-1"
s3 = boto3.client("s3")
s3.create_bucket(Bucket=bucket % os.environ["STAGE"])
text = f"the answer is {answer.of(6)}\\n".encode()
s3.put_object(Bucket=bucket % os.environ["STAGE"], Key="answer.txt", Body=text)
try:
    s3.create_bucket(Bucket=bucket % "other")
except s3.exceptions.ClientError as error:
    print(error)
else:
    raise SystemExit("a stage's role could touch another stage")
"""
PROJECT = {
    "buildspec.yml": BUILDSPEC,
    "Makefile": MAKEFILE,
    "scones.sh": SCONES,
    "deploy.py": DEPLOY_CODE,
    "answer.py": "def of(number):\n    if number < 0:\n        return 0\n    return number * 7\n",
    "test_right.py": "import answer\n\ndef test_answer():\n    assert answer.of(6) == 42\n",
    "test_switch.py": (
        "import answer\nfrom pathlib import Path\n\ndef test_switch():\n    assert Path(SWITCH).exists(), 'it is off'\n"
    ),
    "test_endless.py": (
        "import os, time\nfrom pathlib import Path\n\n"
        "def test_endless():\n    Path(SWITCH).write_text(str(os.getpid()))\n    time.sleep(600)\n"
    ),
}


@dataclass
class Delivery:
    """The deployed delivery pipeline and the ways to drive it."""

    account: RunningAccount
    switch: Path
    name: str = "scones-delivery"

    @property
    def client(self) -> Any:
        return self.account.client("codepipeline")

    def aws(self, *arguments: str) -> Any:
        aws = Path(sys.executable).with_name("aws")
        command = [sys.executable, str(aws), *arguments, "--output", "json"]
        answer = subprocess.run(command, env=self.account.environment(), capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)

    def start(self, **variables: str) -> str:
        given = [f"name={name},value={value}" for name, value in variables.items()]
        options = ["--variables", *given] if given else []
        answer = self.aws("codepipeline", "start-pipeline-execution", "--name", self.name, *options)
        return str(answer["pipelineExecutionId"])

    def scones(self, *arguments: str) -> Result:
        """A verb of the command line; in this process, where it is loaded already."""
        environment = self.account.environment() | {"SCONES_HOME": str(self.switch.parent)}
        return CliRunner().invoke(app, ["delivery", *arguments], env=environment)

    def execution(self, execution_id: str) -> dict[str, Any]:
        answer = self.client.get_pipeline_execution(pipelineName=self.name, pipelineExecutionId=execution_id)
        found: dict[str, Any] = answer["pipelineExecution"]
        return found

    def actions(self, execution_id: str) -> list[tuple[str, str]]:
        wanted = {"pipelineExecutionId": execution_id}
        answer = self.client.list_action_executions(pipelineName=self.name, filter=wanted)
        return [(each["stageName"], each["status"]) for each in reversed(answer["actionExecutionDetails"])]

    def approval(self) -> dict[str, Any]:
        state = self.client.get_pipeline_state(name=self.name)["stageStates"][STAGES.index("Approval")]
        found: dict[str, Any] = state["actionStates"][0].get("latestExecution", {})
        return found

    def rest(self, execution_id: str) -> str:
        """Wait until the execution has ended or waits for an approval; its status."""

        def rests() -> str:
            status: str = self.execution(execution_id)["status"]
            if status not in ("InProgress", "Stopping"):
                return status
            return (
                "waits"
                if ("Approval", "InProgress") in self.actions(execution_id) and self.approval().get("token")
                else ""
            )

        return until(rests)

    def decide(self, status: str) -> None:
        self.client.put_approval_result(
            pipelineName=self.name,
            stageName="Approval",
            actionName="Approve",
            result={"summary": "looked at it", "status": status},
            token=self.approval()["token"],
        )

    def build(self, execution_id: str, stage: str = "Build") -> dict[str, Any]:
        wanted = {"pipelineExecutionId": execution_id}
        details = self.client.list_action_executions(pipelineName=self.name, filter=wanted)["actionExecutionDetails"]
        ids = [d["output"]["executionResult"]["externalExecutionId"] for d in details if d["stageName"] == stage]
        found: dict[str, Any] = self.account.client("codebuild").batch_get_builds(ids=ids[:1])["builds"][0]
        return found

    def log(self, build: dict[str, Any]) -> str:
        place = {"logGroupName": build["logs"]["groupName"], "logStreamName": build["logs"]["streamName"]}
        events = self.account.client("logs").get_log_events(**place, startFromHead=True)["events"]
        return "\n".join(event["message"] for event in events)


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + TIMEOUT_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)
    return found


def source_zip(switch: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in PROJECT.items():
            archive.writestr(name, text.replace("SWITCH", repr(str(switch))))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def delivery(account: RunningAccount, tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    found = Delivery(account, tmp_path_factory.mktemp("delivery") / "switch")
    answer = found.scones("deploy")
    assert answer.exit_code == 0, answer.output
    return found


@pytest.fixture(scope="module")
def delivered(delivery: Delivery) -> str:
    """An execution that a new zip started, approved, to its end."""
    first = until(
        lambda: delivery.client.list_pipeline_executions(pipelineName=delivery.name)["pipelineExecutionSummaries"]
    )
    assert (
        delivery.rest(first[0]["pipelineExecutionId"]) == "Failed"
    )  # AWS starts one at once, and there is no source yet
    delivery.account.client("s3").put_object(Bucket=BUCKET, Key="source/source.zip", Body=source_zip(delivery.switch))
    listed = until(lambda: _newer(delivery, len(first)))
    execution: str = listed[0]["pipelineExecutionId"]
    assert delivery.rest(execution) == "waits", delivery.scones("status", "--execution", execution).output
    answer = delivery.scones("approve", "--reason", "it works in staging")
    assert answer.exit_code == 0, answer.output
    assert delivery.rest(execution) == "Succeeded", delivery.scones("status", "--execution", execution).output
    return execution


def _newer(delivery: Delivery, count: int) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = delivery.client.list_pipeline_executions(pipelineName=delivery.name)[
        "pipelineExecutionSummaries"
    ]
    return listed if len(listed) > count else []


def test_a_new_zip_goes_through_tests_staging_and_approval_to_production(delivery: Delivery, delivered: str) -> None:
    assert delivery.actions(delivered) == [(stage, "Succeeded") for stage in STAGES]
    for stage in ("rehearsal", "local"):
        bucket = f"scones-{stage}-artifacts-123456789012-us-east-1"
        body = delivery.account.client("s3").get_object(Bucket=bucket, Key="answer.txt")["Body"].read()
        assert body == b"the answer is 42\n"


def test_a_deployment_sees_what_was_built_and_may_touch_its_own_stage_only(delivery: Delivery, delivered: str) -> None:
    build = delivery.build(delivered, "Production")
    log = delivery.log(build)
    assert "source.tar.gz: OK" in log
    assert "deploy.py\nscones.sh\nsource.tar.gz" in log
    assert "AccessDenied" in log
    assert build["serviceRole"].rpartition("/")[2].startswith("scones-delivery-ProductionRole")


def test_a_build_tells_its_phases_variables_and_log(delivery: Delivery, delivered: str) -> None:
    build = delivery.build(delivered)
    phases = {phase["phaseType"]: phase.get("phaseStatus") for phase in build["phases"]}
    assert list(phases)[:4] == ["SUBMITTED", "QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE"]
    assert all(status == "SUCCEEDED" for name, status in phases.items() if name != "COMPLETED")
    exported = {each["name"]: each["value"] for each in build["exportedEnvironmentVariables"]}
    assert exported["ANSWER"] == "42"
    approval = delivery.client.list_action_executions(
        pipelineName=delivery.name, filter={"pipelineExecutionId": delivered}
    )["actionExecutionDetails"][1]
    assert exported["SOURCE_SHA256"] in approval["input"]["resolvedConfiguration"]["CustomData"]  # what one approves
    assert build["initiator"] == "codepipeline/scones-delivery"
    log = delivery.log(build)
    assert "codepipeline/scones-delivery ran test_right.py" in log
    assert "1 passed" in log
    assert log.index("Entering phase BUILD") < log.index("1 passed") < log.index("Phase complete: UPLOAD_ARTIFACTS")
    assert "1 passed" in delivery.scones("logs", "Build").stdout


def test_results_and_coverage_become_reports(delivery: Delivery, delivered: str) -> None:
    codebuild = delivery.account.client("codebuild")
    arns = delivery.build(delivered)["reportArns"]
    tests, coverage = codebuild.batch_get_reports(reportArns=arns)["reports"]
    assert tests["reportGroupArn"].endswith("report-group/scones-delivery-build-tests")
    assert (tests["status"], tests["testSummary"]["statusCounts"]["SUCCEEDED"]) == ("SUCCEEDED", 1)
    summary = coverage["codeCoverageSummary"]
    assert (summary["linesCovered"], summary["linesMissed"], summary["lineCoveragePercentage"]) == (3, 1, 75.0)
    cases = codebuild.describe_test_cases(reportArn=tests["arn"])["testCases"]
    assert [(case["name"], case["status"]) for case in cases] == [("test_answer", "SUCCEEDED")]


def test_status_shows_stages_and_times(delivery: Delivery, delivered: str) -> None:
    answer = delivery.scones("status", "--execution", delivered, "--json")
    assert answer.exit_code == 0, answer.output
    document = json.loads(answer.stdout)
    assert [action["stage"] for action in document["actions"]] == STAGES
    assert all(action["seconds"] >= 0 for action in document["actions"])
    assert document["actions"][3]["message"] == "it works in staging"


def test_a_failing_test_stops_the_pipeline_until_the_stage_is_retried(delivery: Delivery, delivered: str) -> None:
    delivery.switch.unlink(missing_ok=True)
    execution = delivery.start(TESTS="test_switch.py")
    assert delivery.rest(execution) == "Failed"
    assert delivery.actions(execution) == [("Source", "Succeeded"), ("Build", "Failed")]
    build = delivery.build(execution)
    assert "it is off" in delivery.log(build)
    assert "mark" in delivery.log(build)  # what the cache kept of the build before
    status = {phase["phaseType"]: phase.get("phaseStatus") for phase in build["phases"]}
    assert (status["BUILD"], status["POST_BUILD"]) == ("FAILED", "FAILED")
    report = delivery.account.client("codebuild").batch_get_reports(reportArns=build["reportArns"])["reports"][0]
    assert report["status"] == "FAILED"
    answer = delivery.scones("status", "--execution", execution)
    assert "exit status 1" in str(answer.exception)

    delivery.switch.touch()
    stage = ["--pipeline-name", delivery.name, "--stage-name", "Build", "--pipeline-execution-id", execution]
    delivery.aws("codepipeline", "retry-stage-execution", *stage, "--retry-mode", "FAILED_ACTIONS")
    assert delivery.rest(execution) == "waits"
    delivery.decide("Rejected")
    assert delivery.rest(execution) == "Failed"
    assert delivery.actions(execution)[-1] == ("Approval", "Failed")


def test_production_refuses_what_was_exchanged_while_it_waited_for_approval(delivery: Delivery, delivered: str) -> None:
    execution = delivery.start()
    assert delivery.rest(execution) == "waits"
    s3, details = delivery.account.client("s3"), delivery.client.list_action_executions(pipelineName=delivery.name)
    (built,) = [
        action["output"]["outputArtifacts"][0]["s3location"]
        for action in details["actionExecutionDetails"]
        if (action["pipelineExecutionId"], action["stageName"]) == (execution, "Build")
    ]
    exchanged = io.BytesIO()
    with zipfile.ZipFile(exchanged, "w") as archive:  # also with a buildspec that does not look
        archive.writestr("source.tar.gz", b"something else")
        archive.writestr("buildspec-deploy.yml", "version: 0.2\nphases: {build: {commands: [python3 deploy.py]}}\n")
        archive.writestr("deploy.py", "print('taken over')\n")
    s3.put_object(Bucket=built["bucket"], Key=built["key"], Body=exchanged.getvalue())
    delivery.decide("Approved")
    assert delivery.rest(execution) == "Failed"
    assert delivery.actions(execution)[-1] == ("Production", "Failed")
    log = delivery.log(delivery.build(execution, "Production"))
    assert "source.tar.gz: FAILED" in log
    assert "taken over" not in log


def test_stopping_ends_the_build_with_all_its_processes(delivery: Delivery, delivered: str) -> None:
    delivery.switch.unlink(missing_ok=True)
    execution = delivery.start(TESTS="test_endless.py")
    pid = int(until(lambda: delivery.switch.is_file() and delivery.switch.read_text()))
    delivery.client.stop_pipeline_execution(
        pipelineName=delivery.name, pipelineExecutionId=execution, abandon=True, reason="enough"
    )
    assert delivery.rest(execution) == "Stopped"
    assert delivery.actions(execution)[-1] == ("Build", "Abandoned")
    until(lambda: not psutil.pid_exists(pid))
    assert (
        until(lambda: delivery.build(execution)["buildComplete"] and delivery.build(execution))["buildStatus"]
        == "STOPPED"
    )


def test_deploying_delivery_again_changes_nothing(delivery: Delivery) -> None:
    assert "up to date" in delivery.scones("deploy").stderr


def test_a_connection_reaches_the_repository_that_its_tag_names(account: RunningAccount, tmp_path: Path) -> None:
    name, client = "of-a-connection", account.client("codepipeline")
    connections = account.client("codeconnections")
    arn = connections.create_connection(ConnectionName="mine", ProviderType="GitHub")["ConnectionArn"]
    account.client("s3").create_bucket(Bucket=name)
    role = _role(account, name, "codepipeline", ["codeconnections:UseConnection", "s3:PutObject"])
    client.create_pipeline(pipeline=_connected_pipeline(name, role, arn))

    def source() -> dict[str, Any]:
        """How the last source action ended."""
        details = client.list_action_executions(pipelineName=name)["actionExecutionDetails"]
        sources = [detail for detail in details if detail["stageName"] == "Source"]
        return sources[0] if sources and sources[0]["status"] != "InProgress" else {}

    refused = until(source)
    assert "is PENDING: say which repository" in refused["output"]["executionResult"]["errorDetails"]["message"]

    (tmp_path / "note.txt").write_text("committed")
    identity = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.com"]
    for command in (["init", "-q", "-b", "work"], ["add", "."], [*identity, "commit", "-q", "-m", "Begin"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True)
    connections.tag_resource(ResourceArn=arn, Tags=[{"Key": "local-account:repository", "Value": str(tmp_path)}])
    client.start_pipeline_execution(name=name)
    found = until(lambda: (last := source()).get("status") == "Succeeded" and last)
    assert found["output"]["outputVariables"]["CommitId"] == head.stdout.strip()
    place = found["output"]["outputArtifacts"][0]["s3location"]
    content = account.client("s3").get_object(Bucket=place["bucket"], Key=place["key"])["Body"].read()
    assert zipfile.ZipFile(io.BytesIO(content)).read("note.txt") == b"committed"


def _role(account: RunningAccount, name: str, service: str, actions: list[str]) -> str:
    def document(**statement: Any) -> str:
        return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})

    iam = account.client("iam")
    trust = document(Principal={"Service": f"{service}.amazonaws.com"}, Action="sts:AssumeRole")
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="work", PolicyDocument=document(Action=actions, Resource="*"))
    return arn


def _connected_pipeline(name: str, role: str, connection: str) -> dict[str, Any]:
    def action(name: str, category: str, provider: str, **members: Any) -> dict[str, Any]:
        kind = {"category": category, "owner": "AWS", "provider": provider, "version": "1"}
        return {"name": name, "actionTypeId": kind, **members}

    configuration = {"ConnectionArn": connection, "FullRepositoryId": "me/mine", "BranchName": "work"}
    outputs = [{"name": "source"}]
    source = action(
        "Source", "Source", "CodeStarSourceConnection", configuration=configuration, outputArtifacts=outputs
    )
    return {
        "name": name,
        "roleArn": role,
        "artifactStore": {"type": "S3", "location": name},
        "stages": [
            {"name": "Source", "actions": [source]},
            {"name": "Approval", "actions": [action("Approve", "Approval", "Manual")]},
        ],
    }


def test_what_is_not_done_here_is_refused_when_it_is_asked_for(account: RunningAccount) -> None:
    pipeline = _connected_pipeline("refused", "arn:aws:iam::123456789012:role/any", "arn:aws:x")
    pipeline["stages"][1]["actions"][0]["actionTypeId"] |= {"category": "Deploy", "provider": "ECS"}
    client = account.client("codepipeline")
    with pytest.raises(ClientError, match="Deploy by ECS is not done in the stand-in account"):
        client.create_pipeline(pipeline=pipeline)
    codebuild = account.client("codebuild")
    environment = {"type": "WINDOWS_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_SMALL"}
    with pytest.raises(ClientError, match="no Windows, no Docker"):
        codebuild.create_project(
            name="refused",
            source={"type": "NO_SOURCE", "buildspec": "version: 0.2\n"},
            artifacts={"type": "NO_ARTIFACTS"},
            environment=environment,
            serviceRole="arn:aws:iam::123456789012:role/any",
        )


INLINE = """
version: 0.2
env: {parameter-store: {SECRET: /of/a/build}, variables: {WHERE: buildspec}}
phases:
  install: {on-failure: CONTINUE, commands: [export KEPT=1; cd /, exit 3], finally: ["echo last $KEPT"]}
  pre_build: {commands: ['echo "$SECRET $WHERE $KEPT"']}
  build: {on-failure: ABORT, commands: ["false"]}
  post_build: {commands: [echo never]}
"""


def test_a_build_without_a_source_follows_its_phases(account: RunningAccount) -> None:
    codebuild = account.client("codebuild")
    account.client("ssm").put_parameter(Name="/of/a/build", Value="whispered", Type="SecureString")
    role = _role(account, "of-a-build", "codebuild", ["ssm:GetParameter", "kms:Decrypt"])
    codebuild.create_project(
        name="of-a-build",
        source={"type": "NO_SOURCE", "buildspec": INLINE},
        artifacts={"type": "NO_ARTIFACTS"},
        environment={"type": "LINUX_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_SMALL"},
        serviceRole=role,
    )
    where = [{"name": "WHERE", "value": "call"}]
    build_id = codebuild.start_build(projectName="of-a-build", environmentVariablesOverride=where)["build"]["id"]
    build = until(lambda: (found := codebuild.batch_get_builds(ids=[build_id])["builds"][0])["buildComplete"] and found)
    states = {phase["phaseType"]: phase.get("phaseStatus") for phase in build["phases"]}
    assert build["buildStatus"] == "FAILED"
    assert (states["INSTALL"], states["PRE_BUILD"], states["BUILD"]) == ("FAILED", "SUCCEEDED", "FAILED")
    assert "POST_BUILD" not in states
    place = {"logGroupName": build["logs"]["groupName"], "logStreamName": build["logs"]["streamName"]}
    lines = [event["message"] for event in account.client("logs").get_log_events(**place)["events"]]
    assert "last 1" in lines
    assert "whispered call 1" in lines


def test_a_model_package_group_says_who_may_read_it(account: RunningAccount) -> None:
    policy = {"Version": "2012-10-17", "Statement": [{"Sid": "ReadTheGroup", "Effect": "Allow"}]}
    properties = {"ModelPackageGroupName": "to-be-promoted", "ModelPackageGroupPolicy": policy}
    group = {"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": properties}
    stacks, sagemaker = account.client("cloudformation"), account.client("sagemaker")
    stacks.create_stack(StackName="to-be-promoted", TemplateBody=json.dumps({"Resources": {"Group": group}}))
    until(lambda: stacks.describe_stacks(StackName="to-be-promoted")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE")
    found = sagemaker.get_model_package_group_policy(ModelPackageGroupName="to-be-promoted")["ResourcePolicy"]
    assert json.loads(found) == policy


def test_destroying_delivery_leaves_nothing_of_it(delivery: Delivery) -> None:
    answer = delivery.scones("destroy", "--yes")
    assert answer.exit_code == 0, answer.output
    buckets = [bucket["Name"] for bucket in delivery.account.client("s3").list_buckets()["Buckets"]]
    assert BUCKET not in buckets
    assert delivery.name not in [pipeline["name"] for pipeline in delivery.client.list_pipelines()["pipelines"]]
    again = delivery.scones("status")
    assert "there is no delivery pipeline: run `scones delivery deploy` first" in str(again.exception)
