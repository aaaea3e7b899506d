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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local_account.account import Account
from local_account.base.archives.s3_download import download
from local_account.codepipeline.codeconnections import UnreachableError, archive
from local_account.protocol.service import Resource

APPROVAL_DAYS = 7
MAX_ARTIFACT_BYTES = 2**31 - 1  # what the account takes in one request; CodePipeline takes 7 GB from S3, 1 GB from Git
LOOK_S = 0.2


class ActionError(Exception):
    """Why an action failed: CodePipeline's code, and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class AbandonedError(Exception):
    """The execution was stopped without waiting for the action."""


@dataclass
class Work:
    """One action that runs. ``record`` is what ListActionExecutions answers; change it through ``note``."""

    account: Account
    execution: Resource
    action: Resource
    configuration: dict[str, str]
    role_arn: str
    client: Callable[[str], Any]
    note: Callable[[dict[str, Any]], None]
    abandoned: threading.Event
    decided: threading.Event = field(default_factory=threading.Event)
    """A person has decided; then ``decision`` says how."""
    decision: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def new_artifact(self, name: str) -> dict[str, str]:
        """Where an artifact of this execution goes."""
        unique = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(7))
        store = self.execution["definition"]["artifactStore"]
        return {"bucket": store["location"], "key": f"{self.execution['pipelineName'][:20]}/{name[:10]}/{unique}"}

    def encryption(self) -> dict[str, str]:
        key = self.execution["definition"]["artifactStore"].get("encryptionKey")
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key["id"]} if key else {}

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A file of the state folder for as long as it is needed: an artifact may be larger than the memory."""
        with tempfile.TemporaryDirectory(prefix=".artifact-", dir=self.account.state_dir) as folder:
            yield Path(folder, "artifact.zip")

    def put_artifact(self, content: Path) -> None:
        size = content.stat().st_size
        if size > MAX_ARTIFACT_BYTES:
            message = f"the source has {size:,} bytes, more than the {MAX_ARTIFACT_BYTES:,} that an artifact may have"
            raise ActionError("ConfigurationError", message)
        name = self.action["outputArtifacts"][0]["name"]
        place = self.new_artifact(name)
        with content.open("rb") as file:
            self.client("s3").put_object(Bucket=place["bucket"], Key=place["key"], Body=file, **self.encryption())
        self.outputs[name] = place


def from_s3(work: Work) -> None:
    """Source by S3: one version of a zip."""
    override: Resource = work.execution["overrides"].get(work.action["name"], {})
    bucket, key = work.configuration["S3Bucket"], work.configuration["S3ObjectKey"]
    if "S3_OBJECT_KEY" in override:
        if work.configuration.get("AllowOverrideForS3ObjectKey") != "true":
            raise ActionError("ConfigurationError", "another key needs AllowOverrideForS3ObjectKey")
        key = override["S3_OBJECT_KEY"]
    version = override.get("S3_OBJECT_VERSION_ID")
    s3 = work.client("s3")
    if s3.get_bucket_versioning(Bucket=bucket).get("Status") != "Enabled":
        raise ActionError("ConfigurationError", f"bucket {bucket} must be versioned to be a source")
    with work.scratch() as content:
        answer = download(s3, content, Bucket=bucket, Key=key, **({"VersionId": version} if version else {}))
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
    codebuild = work.client("codebuild")
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


def _reason(ended: Resource) -> str:
    bad = [phase for phase in ended["phases"] if phase.get("phaseStatus") not in (None, "SUCCEEDED")]
    context: Resource = (bad[0].get("contexts") or [{}])[0] if bad else {}
    return (
        f"Phase: {bad[0]['phaseType']}, Code: {context.get('statusCode')}, Message: {context.get('message')}"
        if bad
        else ""
    )


def _build_request(work: Work) -> dict[str, Any]:
    """A build of the action's project, with this execution's artifacts as its sources and its target."""
    configuration, execution = work.configuration, work.execution
    inputs = {each["name"]: execution["artifacts"][each["name"]] for each in work.action["inputArtifacts"]}
    primary = configuration.get("PrimarySource") or next(iter(inputs))
    revision = next((each["revisionId"] for each in execution["revisions"].values()), "")
    variables = [
        {"name": "CODEBUILD_INITIATOR", "value": f"codepipeline/{execution['pipelineName']}"},
        {"name": "CODEBUILD_RESOLVED_SOURCE_VERSION", "value": revision},
        *json.loads(configuration.get("EnvironmentVariables", "[]")),
    ]
    request = {
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


def _location(place: dict[str, str]) -> str:
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
        work.client("sns").publish(TopicArn=topic, Subject=subject, Message=message)
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
