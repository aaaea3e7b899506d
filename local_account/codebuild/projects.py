"""What a project may be here, and what a build makes of it: checked when it is asked for, overridden for one build.

Runs in the server process.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from local_account.account import Account
from local_account.base.arns import object_place
from local_account.codebuild.records import (
    BuildLogs,
    BuildProjectRecord,
    BuildRecord,
    BuildVariable,
    ProjectSource,
)
from local_account.protocol.actions import ServiceError
from local_account.protocol.records import record_of
from local_account.protocol.service import now

if TYPE_CHECKING:
    from types_boto3_codebuild.type_defs import StartBuildInputTypeDef

INVALID = "InvalidInputException"
DEFAULT_TIMEOUT_MIN = 60
_SOURCES = ("CODEPIPELINE", "S3", "NO_SOURCE")
# Members of a project that ask for what is not done here.
_REFUSED = ("secondaryArtifacts", "vpcConfig", "fileSystemLocations", "buildBatchConfig", "badgeEnabled")
# Member of StartBuild -> where it goes in the build's copy of the project.
_OVERRIDES = {
    "timeoutInMinutesOverride": "timeoutInMinutes",
    "encryptionKeyOverride": "encryptionKey",
    "serviceRoleOverride": "serviceRole",
    "cacheOverride": "cache",
    "artifactsOverride": "artifacts",
    "secondarySourcesOverride": "secondarySources",
}
_SOURCE_OVERRIDES = {
    "sourceTypeOverride": "type",
    "sourceLocationOverride": "location",
    "buildspecOverride": "buildspec",
}
_KNOWN_OVERRIDES = {"projectName", "sourceVersion", "environmentVariablesOverride", "idempotencyToken"}


def check(project: BuildProjectRecord) -> None:
    """Raises ServiceError for a project that could not run, when it is asked for."""
    for member in _REFUSED:
        if project.get(member):
            raise ServiceError(f"The stand-in account does not implement a project's {member}.", INVALID)
    for source in [project["source"], *project.get("secondarySources", [])]:
        if source["type"] not in _SOURCES:
            known = ", ".join(_SOURCES)
            raise ServiceError(f"The stand-in account has sources of type {known}, not {source['type']}.", INVALID)
        if source["type"] == "S3" and not object_place(source.get("location", "")).key:
            raise ServiceError("A source in S3 is one zip: location is bucket/key.", INVALID)
        if source["type"] == "NO_SOURCE" and "\n" not in source.get("buildspec", ""):
            raise ServiceError("A project without a source needs its buildspec as text.", INVALID)
    environment = project["environment"]
    if environment["type"] not in ("LINUX_CONTAINER", "ARM_CONTAINER") or environment.get("privilegedMode"):
        raise ServiceError("Builds run as Linux processes here: no Windows, no Docker.", INVALID)
    if any(variable.get("type") == "SECRETS_MANAGER" for variable in environment.get("environmentVariables", [])):
        raise ServiceError("The stand-in account has no Secrets Manager: use PARAMETER_STORE.", INVALID)
    if project.get("logsConfig", {}).get("s3Logs", {}).get("status") == "ENABLED":
        raise ServiceError("The stand-in account writes the logs of builds to CloudWatch Logs only.", INVALID)


def refuse_unknown_overrides(request: StartBuildInputTypeDef) -> None:
    """Raises ServiceError for a member of StartBuild that is not done here."""
    unknown = sorted(request.keys() - _OVERRIDES.keys() - _SOURCE_OVERRIDES.keys() - _KNOWN_OVERRIDES)
    if unknown:
        raise ServiceError(f"The stand-in account does not implement StartBuild's {unknown[0]}.", INVALID)


def for_one_build(kept: BuildProjectRecord, request: StartBuildInputTypeDef) -> BuildProjectRecord:
    """The project as one build has it, with what the request overrides.

    Raises ServiceError for what could not run here.
    """
    members = {_OVERRIDES[name]: value for name, value in request.items() if name in _OVERRIDES}
    project = record_of(BuildProjectRecord, kept, members)
    source = {_SOURCE_OVERRIDES[name]: value for name, value in request.items() if name in _SOURCE_OVERRIDES}
    project["source"] = record_of(ProjectSource, project["source"], source)
    check(project)
    if "CODEPIPELINE" in (project["source"]["type"], project["artifacts"]["type"]):
        raise ServiceError("A project of CodePipeline is started by a pipeline.", INVALID)
    given = {each["name"]: each for each in project["environment"].get("environmentVariables", [])}
    for each in request.get("environmentVariablesOverride", []):
        given[each["name"]] = record_of(BuildVariable, each)
    project["environment"] = {**project["environment"], "environmentVariables": list(given.values())}
    check(project)
    return project


def new_build(
    account: Account, project: BuildProjectRecord, request: StartBuildInputTypeDef, number: int
) -> BuildRecord:
    """The record of a build that has just been asked for; ``number`` counts the builds of the project from 1."""
    name, unique = project["name"], str(uuid.uuid4())
    build_id = f"{name}:{unique}"
    given = {each["name"]: each["value"] for each in project["environment"].get("environmentVariables", [])}
    version = request.get("sourceVersion", "")
    instants = ("SUBMITTED", "QUEUED", "PROVISIONING")
    return {
        "id": build_id,
        "arn": account.arn("codebuild", f"build/{build_id}"),
        "buildNumber": number,
        "startTime": now(),
        "currentPhase": "PROVISIONING",
        "buildStatus": "IN_PROGRESS",
        "buildComplete": False,
        "sourceVersion": version,
        "resolvedSourceVersion": given.get("CODEBUILD_RESOLVED_SOURCE_VERSION", version),
        "projectName": name,
        "phases": [
            {"phaseType": p, "phaseStatus": "SUCCEEDED", "startTime": now(), "endTime": now()} for p in instants
        ],
        "source": project["source"],
        "secondarySources": project.get("secondarySources", []),
        "artifacts": {"location": ""},
        "cache": project.get("cache") or {"type": "NO_CACHE"},
        "environment": project["environment"],
        "serviceRole": project["serviceRole"],
        "logs": _logs(account, project, unique),
        "timeoutInMinutes": project.get("timeoutInMinutes", DEFAULT_TIMEOUT_MIN),
        "queuedTimeoutInMinutes": project.get("queuedTimeoutInMinutes", 480),
        "initiator": given.get("CODEBUILD_INITIATOR", "stand-in account"),
        "encryptionKey": project.get("encryptionKey", ""),
        "exportedEnvironmentVariables": [],
        "reportArns": [],
    }


def _logs(account: Account, project: BuildProjectRecord, unique: str) -> BuildLogs:
    config = project.get("logsConfig", {}).get("cloudWatchLogs", {})
    group = config.get("groupName") or f"/aws/codebuild/{project['name']}"
    stream = "/".join(part for part in (config.get("streamName"), unique) if part)
    arn = account.arn("logs", f"log-group:{group}:log-stream:{stream}")
    return {
        "groupName": group,
        "streamName": stream,
        "cloudWatchLogsArn": arn,
        "cloudWatchLogs": {"status": "ENABLED"},
    }
