"""What each kind of action of CodePipeline does: fetch a source, run a build, wait for a person.

Runs in the server process, in the thread of an execution's action. Artifacts are zips in the pipeline's bucket,
encrypted with its key; everything is done with the pipeline's role.
"""

from __future__ import annotations

import json
import secrets
import string
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from local_account.account import Account
from local_account.base.archives.s3_download import download
from local_account.base.clients import Clients
from local_account.codepipeline.codeconnections import UnreachableError, archive
from local_account.codepipeline.records import ActionDeclaration, ArtifactPlace, CodePipelineExecution

if TYPE_CHECKING:
    from types_boto3_codebuild.type_defs import (
        BuildTypeDef,
        EnvironmentVariableTypeDef,
        StartBuildInputTypeDef,
    )
    from types_boto3_s3.type_defs import GetObjectRequestTypeDef, PutObjectRequestTypeDef

APPROVAL_DAYS = 7
MAX_ARTIFACT_BYTES = 2**31 - 1  # what the account takes in one request; CodePipeline takes 7 GB from S3, 1 GB from Git
LOOK_S = 0.2

Note = Callable[[Mapping[str, object]], None]
"""Gives members of an action's record new values; None takes one away."""


class ActionError(Exception):
    """Why an action failed: CodePipeline's code, and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class AbandonedError(Exception):
    """The execution was stopped without waiting for the action."""


@dataclass
class Work:
    """One action that runs. ``note`` changes what ListActionExecutions answers of it."""

    account: Account
    execution: CodePipelineExecution
    action: ActionDeclaration
    configuration: dict[str, str]
    role_arn: str
    clients: Clients
    note: Note
    abandoned: threading.Event
    decided: threading.Event = field(default_factory=threading.Event)
    """A person has decided; then ``decision`` says how."""
    decision: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, ArtifactPlace] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def new_artifact(self, name: str) -> ArtifactPlace:
        """Where an artifact of this execution goes."""
        unique = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(7))
        store = self.execution["definition"]["artifactStore"]
        return {"bucket": store["location"], "key": f"{self.execution['pipelineName'][:20]}/{name[:10]}/{unique}"}

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A file of the state folder for as long as it is needed: an artifact may be larger than the memory."""
        with tempfile.TemporaryDirectory(prefix=".artifact-", dir=self.account.state_dir) as folder:
            yield Path(folder, "artifact.zip")

    def put_artifact(self, content: Path) -> None:
        """Put the action's output into the pipeline's bucket.

        Raises ActionError for one that is too large, ClientError as PutObject does.
        """
        size = content.stat().st_size
        if size > MAX_ARTIFACT_BYTES:
            message = f"the source has {size:,} bytes, more than the {MAX_ARTIFACT_BYTES:,} that an artifact may have"
            raise ActionError("ConfigurationError", message)
        name = self.action["outputArtifacts"][0]["name"]
        place = self.new_artifact(name)
        with content.open("rb") as file:
            request: PutObjectRequestTypeDef = {"Bucket": place["bucket"], "Key": place["key"], "Body": file}
            if key := self.execution["definition"]["artifactStore"].get("encryptionKey"):
                request |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key["id"]}
            self.clients("s3").put_object(**request)
        self.outputs[name] = place


def from_s3(work: Work) -> None:
    """Source by S3: one version of a zip."""
    override = work.execution["overrides"].get(work.action["name"], {})
    bucket, key = work.configuration["S3Bucket"], work.configuration["S3ObjectKey"]
    if "S3_OBJECT_KEY" in override:
        if work.configuration.get("AllowOverrideForS3ObjectKey") != "true":
            raise ActionError("ConfigurationError", "another key needs AllowOverrideForS3ObjectKey")
        key = override["S3_OBJECT_KEY"]
    s3 = work.clients("s3")
    if s3.get_bucket_versioning(Bucket=bucket).get("Status") != "Enabled":
        raise ActionError("ConfigurationError", f"bucket {bucket} must be versioned to be a source")
    place: GetObjectRequestTypeDef = {"Bucket": bucket, "Key": key}
    if version := override.get("S3_OBJECT_VERSION_ID"):
        place["VersionId"] = version
    with work.scratch() as content:
        answer = download(s3, content, place)
        work.put_artifact(content)
    summary = answer["Metadata"].get("codepipeline-artifact-revision-summary", "")
    work.variables |= {
        "BucketName": bucket,
        "ETag": answer["ETag"].strip('"'),
        "ObjectKey": key,
        "VersionId": answer["VersionId"],
    }
    work.note({"revision": {"revisionId": answer["VersionId"], "revisionSummary": summary or f"s3://{bucket}/{key}"}})


def from_connection(work: Work) -> None:
    """Source by a connection: the last commit of a branch."""
    configuration = work.configuration
    arn = configuration["ConnectionArn"]
    work.account.authority.demand(work.role_arn, "codeconnections:UseConnection", arn)
    with work.scratch() as content:
        try:
            commit = archive(work.account.client("codeconnections"), arn, configuration["BranchName"], content)
        except UnreachableError as error:
            raise ActionError("ConfigurationError", str(error)) from error
        work.put_artifact(content)
    work.variables |= commit | {
        "BranchName": configuration["BranchName"],
        "ConnectionArn": configuration["ConnectionArn"],
        "FullRepositoryName": configuration["FullRepositoryId"],
    }
    work.note({"revision": {"revisionId": commit["CommitId"], "revisionSummary": commit["CommitMessage"]}})


def build(work: Work) -> None:
    """Build or Test by CodeBuild; the action lasts as long as the build."""
    codebuild = work.clients("codebuild")
    started = codebuild.start_build(**_build_request(work))["build"]
    work.note({"externalExecutionId": started["id"], "logStreamARN": started["logs"].get("cloudWatchLogsArn", "")})
    while True:
        found = codebuild.batch_get_builds(ids=[started["id"]])["builds"]
        if not found:
            raise ActionError("JobFailed", f"build {started['id']} was deleted")
        if found[0]["buildComplete"]:
            break
        if work.abandoned.wait(LOOK_S):
            work.account.client("codebuild").stop_build(id=started["id"])  # AWS would let it go on
            raise AbandonedError
        if work.account.stopping.is_set():
            raise ActionError("InternalError", "the stand-in account was stopped")
    ended = found[0]
    work.variables |= {each["name"]: each["value"] for each in ended.get("exportedEnvironmentVariables", [])}
    if ended["buildStatus"] != "SUCCEEDED":
        work.outputs.clear()
        raise ActionError("JobFailed", f"Build terminated with state: {ended['buildStatus']}. {_reason(ended)}".strip())


def _reason(ended: BuildTypeDef) -> str:
    bad = [phase for phase in ended["phases"] if phase.get("phaseStatus") not in (None, "SUCCEEDED")]
    if not bad:
        return ""
    contexts = bad[0].get("contexts")
    code, message = (contexts[0].get("statusCode"), contexts[0].get("message")) if contexts else (None, None)
    return f"Phase: {bad[0]['phaseType']}, Code: {code}, Message: {message}"


def _build_request(work: Work) -> StartBuildInputTypeDef:
    """A build of the action's project, with this execution's artifacts as its sources and its target."""
    configuration, execution = work.configuration, work.execution
    inputs = {each["name"]: execution["artifacts"][each["name"]] for each in work.action.get("inputArtifacts", [])}
    primary = configuration.get("PrimarySource") or next(iter(inputs))
    revision = next((each["revisionId"] for each in execution["revisions"].values()), "")
    variables: list[EnvironmentVariableTypeDef] = [
        {"name": "CODEBUILD_INITIATOR", "value": f"codepipeline/{execution['pipelineName']}"},
        {"name": "CODEBUILD_RESOLVED_SOURCE_VERSION", "value": revision},
        *json.loads(configuration.get("EnvironmentVariables", "[]")),
    ]
    request: StartBuildInputTypeDef = {
        "projectName": configuration["ProjectName"],
        "sourceTypeOverride": "S3",
        "sourceLocationOverride": _location(inputs[primary]),
        "sourceVersion": f"arn:aws:s3:::{_location(inputs[primary])}",
        "secondarySourcesOverride": [
            {"type": "S3", "location": _location(place), "sourceIdentifier": name}
            for name, place in inputs.items()
            if name != primary
        ],
        "environmentVariablesOverride": variables,
        "artifactsOverride": {"type": "NO_ARTIFACTS"},
    }
    key = execution["definition"]["artifactStore"].get("encryptionKey")
    if key:
        request["encryptionKeyOverride"] = key["id"]
    for output in work.action.get("outputArtifacts", []):
        place = work.outputs[output["name"]] = work.new_artifact(output["name"])
        folder, _, name = place["key"].rpartition("/")
        request["artifactsOverride"] = {
            "type": "S3",
            "location": place["bucket"],
            "path": folder,
            "name": name,
            "packaging": "ZIP",
        }
    return request


def _location(place: ArtifactPlace) -> str:
    return f"{place['bucket']}/{place['key']}"


def approval(work: Work) -> None:
    """Approval by hand: tells the topic, then waits for PutApprovalResult."""
    token = str(uuid.uuid4())
    work.note({"token": token})
    if topic := work.configuration.get("NotificationArn"):
        details = {
            "pipelineName": work.execution["pipelineName"],
            "stageName": work.execution["stage"],
            "actionName": work.action["name"],
            "token": token,
            "externalEntityLink": work.configuration.get("ExternalEntityLink"),
            "customData": work.configuration.get("CustomData"),
        }
        subject = f"APPROVAL NEEDED: AWS CodePipeline {work.execution['pipelineName']}"[:100]
        message = json.dumps({"region": work.account.region, "approval": details})
        work.clients("sns").publish(TopicArn=topic, Subject=subject, Message=message)
    waited = 0.0
    while not work.decided.wait(LOOK_S):
        waited += LOOK_S
        if work.abandoned.is_set():
            raise AbandonedError
        if work.account.stopping.is_set():
            raise ActionError("InternalError", "the stand-in account was stopped")
        if waited > APPROVAL_DAYS * 86_400:
            raise ActionError("TimeoutError", f"nobody approved within {APPROVAL_DAYS} days")
    work.note({"summary": work.decision["summary"]})
    if work.decision["status"] != "Approved":
        raise ActionError("ApprovalRejected", f"Rejected by a person: {work.decision['summary']}")


_KINDS: dict[tuple[str, str], Callable[[Work], None]] = {
    ("Source", "S3"): from_s3,
    ("Source", "CodeStarSourceConnection"): from_connection,
    ("Build", "CodeBuild"): build,
    ("Test", "CodeBuild"): build,
    ("Approval", "Manual"): approval,
}


def perform(work: Work) -> None:
    """Do the action; raises ActionError or AbandonedError."""
    kind = work.action["actionTypeId"]
    try:
        _KINDS[kind["category"], kind["provider"]](work)
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        known = "PermissionError" if "AccessDenied" in code else "ConfigurationError"
        raise ActionError(known, str(error)) from error
