"""Executions of the delivery pipeline: starting one from a commit, following it, approving it.

Runs on a laptop or in CodeBuild. Reads the repository with git; reads and starts executions of CodePipeline, writes
zips of the source into the delivery bucket, reads the logs of builds.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from scones.errors import SconesError
from scones.stage.connection import Connection
from scones.stage.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from types_boto3_codepipeline import CodePipelineClient
    from types_boto3_codepipeline.type_defs import ActionExecutionDetailTypeDef, SourceRevisionOverrideTypeDef

SOURCE_ACTION = "Source"


@dataclass(frozen=True)
class Action:
    """One action of an execution; ``build`` is the id of its build in CodeBuild, ``token`` what an approval needs."""

    stage: str
    name: str
    status: str
    started: datetime
    ended: datetime | None = None
    build: str = ""
    token: str = ""
    message: str = ""

    @property
    def seconds(self) -> float | None:
        """Seconds that it took; None while it runs."""
        return (self.ended - self.started).total_seconds() if self.ended else None


@dataclass(frozen=True)
class Execution:
    """One execution with the actions it has come to, in the order they began."""

    execution_id: str
    status: str
    source: str
    actions: tuple[Action, ...]


def source_zip(reference: str) -> tuple[str, bytes]:
    """A commit's id and a zip of its files; what is not committed is not in it."""
    commit = _git("rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}").decode().strip()
    return commit, _git("archive", "--format=zip", commit)


def uncommitted() -> bool:
    """Whether files that git knows differ from the last commit."""
    return bool(_git("status", "--porcelain", "--untracked-files=no").strip())


def _git(*arguments: str) -> bytes:
    try:
        finished = subprocess.run(["git", *arguments], cwd=PROJECT_ROOT, capture_output=True, check=False)
    except OSError as error:
        raise SconesError(f"the source is packed by git, which cannot be run: {error.strerror}") from error
    if finished.returncode:
        reason = finished.stderr.decode(errors="replace").strip() or "there is no such commit"
        raise SconesError(f"git {' '.join(arguments)} failed in {PROJECT_ROOT}: {reason}")
    return finished.stdout


def start(connection: Connection, bucket: str, reference: str, variables: Mapping[str, str]) -> tuple[str, str]:
    """Start an execution; answers its id and where its source comes from. From S3, the commit is uploaded first."""
    revisions: list[SourceRevisionOverrideTypeDef] = []
    source = f"the last commit of {connection.settings.delivery.branch} behind the connection"
    if connection.settings.delivery.source == "s3":
        commit, content = source_zip(reference)
        key = f"source/{commit}.zip"
        connection.client("s3").put_object(Bucket=bucket, Key=key, Body=content)
        revisions = [{"actionName": SOURCE_ACTION, "revisionType": "S3_OBJECT_KEY", "revisionValue": key}]
        source = f"s3://{bucket}/{key}"
    answer = connection.client("codepipeline").start_pipeline_execution(
        name=connection.names.delivery,
        variables=[{"name": name, "value": value} for name, value in variables.items()],
        sourceRevisions=revisions,
    )
    return str(answer["pipelineExecutionId"]), source


def latest(connection: Connection) -> str:
    """The id of the last execution that was started."""
    client = connection.client("codepipeline")
    try:
        answer = client.list_pipeline_executions(pipelineName=connection.names.delivery, maxResults=1)
    except ClientError as error:
        if error.response["Error"]["Code"] != "PipelineNotFoundException":
            raise
        raise SconesError("there is no delivery pipeline: run `scones delivery deploy` first") from error
    found = answer["pipelineExecutionSummaries"]
    if not found:
        raise SconesError("nothing was delivered yet: run `scones delivery start`")
    return str(found[0]["pipelineExecutionId"])


def describe(connection: Connection, execution_id: str) -> Execution:
    """How an execution stands."""
    client, name = connection.client("codepipeline"), connection.names.delivery
    try:
        found = client.get_pipeline_execution(pipelineName=name, pipelineExecutionId=execution_id)["pipelineExecution"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "PipelineExecutionNotFoundException":
            raise
        raise SconesError(f"pipeline {name} has no execution {execution_id}") from error
    pages = client.get_paginator("list_action_executions").paginate(
        pipelineName=name, filter={"pipelineExecutionId": execution_id}
    )
    details = [detail for page in pages for detail in page["actionExecutionDetails"]]
    tokens = _tokens(client, name)
    revisions = found.get("artifactRevisions", [])
    source = str(revisions[0].get("revisionSummary") or revisions[0]["revisionId"]) if revisions else ""
    actions = tuple(_action(detail, tokens) for detail in reversed(details))
    return Execution(execution_id, found["status"], source, actions)


def _tokens(client: CodePipelineClient, name: str) -> dict[str, str]:
    """Action execution -> token, for the approvals that wait."""
    states = client.get_pipeline_state(name=name)["stageStates"]
    latest_ones = [action.get("latestExecution", {}) for stage in states for action in stage["actionStates"]]
    return {each["actionExecutionId"]: each["token"] for each in latest_ones if each.get("token")}


def _action(detail: ActionExecutionDetailTypeDef, tokens: Mapping[str, str]) -> Action:
    result = detail.get("output", {}).get("executionResult", {})
    is_build = detail["input"]["actionTypeId"]["provider"] == "CodeBuild"
    running = detail["status"] == "InProgress"
    return Action(
        stage=detail["stageName"],
        name=detail["actionName"],
        status=detail["status"],
        started=detail["startTime"],
        ended=None if running else detail["lastUpdateTime"],
        build=str(result.get("externalExecutionId", "")) if is_build else "",
        token=tokens.get(detail["actionExecutionId"], "") if running else "",
        message=result.get("errorDetails", {}).get("message") or result.get("externalExecutionSummary") or "",
    )


def waiting_approval(execution: Execution) -> Action:
    """The approval that the execution waits for; SconesError when it waits for none."""
    for action in execution.actions:
        if action.token:
            return action
    raise SconesError(
        f"execution {execution.execution_id} ({execution.status}) waits for no approval: see `scones delivery status`"
    )


def decide(connection: Connection, action: Action, summary: str, *, approved: bool) -> None:
    """Approve or reject."""
    connection.client("codepipeline").put_approval_result(
        pipelineName=connection.names.delivery,
        stageName=action.stage,
        actionName=action.name,
        result={"summary": summary, "status": "Approved" if approved else "Rejected"},
        token=action.token,
    )


def log_lines(connection: Connection, execution: Execution, stage: str | None) -> Iterator[str]:
    """What the last build of the execution, or of one of its stages, wrote to its log."""
    built = [action for action in execution.actions if action.build]
    chosen = [action for action in built if stage in (None, action.stage)]
    if not chosen:
        names = ", ".join(dict.fromkeys(action.stage for action in built)) or "none yet"
        raise SconesError(f"execution {execution.execution_id} has no such build; stages with one: {names}")
    build = connection.client("codebuild").batch_get_builds(ids=[chosen[-1].build])["builds"][0]
    logs = connection.client("logs").get_paginator("filter_log_events")
    for page in logs.paginate(logGroupName=build["logs"]["groupName"], logStreamNames=[build["logs"]["streamName"]]):
        for event in page["events"]:
            yield event["message"].rstrip("\n")
