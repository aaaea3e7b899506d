"""AWS CodeBuild in the stand-in account: projects, and builds that really run their buildspec on this machine.

Runs in the server process. Sources are zips in S3, or none; what else CodeBuild offers (other sources, networks,
Docker, batches, secrets of Secrets Manager) is refused when the project is made. A build starts at once.
"""

from __future__ import annotations

import shutil
import threading
import uuid
from typing import Any

from local_account.account import Account
from local_account.codebuild.events import emit_state
from local_account.codebuild.reports import Reports
from local_account.codebuild.runs import BuildRun
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.service import Resource, Service, now, page

INVALID = "InvalidInputException"
NOT_FOUND = "ResourceNotFoundException"
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


def install(account: Account) -> CodeBuild:
    """Build the service; builds that ran when the account stopped have failed."""
    service = CodeBuild(account)
    # Beside the start: what a build installed may be tens of thousands of files.
    for left in (account.state_dir / "builds").glob("*"):
        threading.Thread(target=shutil.rmtree, args=(left,), kwargs={"ignore_errors": True}, daemon=True).start()
    for build in service.table("builds", Resource).values():
        if not build["buildComplete"]:
            build |= {"buildStatus": "FAULT", "buildComplete": True, "endTime": now(), "currentPhase": "COMPLETED"}
    service.changed()
    return service


class CodeBuild(Service):
    """Projects and builds; report groups and reports are in `codebuild_reports`."""

    invalid_code = INVALID

    def __init__(self, account: Account) -> None:
        super().__init__(account, "codebuild")
        self._reports = Reports(self)
        self.add(self._reports)
        self._runs: dict[str, BuildRun] = {}
        self._tokens: dict[str, str] = {}

    @property
    def _projects(self) -> dict[str, Resource]:
        return self.table("projects", Resource)

    @property
    def _builds(self) -> dict[str, Resource]:
        return self.table("builds", Resource)

    @action("CreateProject")
    def create_project(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["name"]
        _check(request)
        with self.lock:
            if name in self._projects:
                raise ServiceError(f"Project already exists: {name}", "ResourceAlreadyExistsException")
            arn = self.account.arn("codebuild", f"project/{name}")
            self._projects[name] = {**request, "arn": arn, "created": now(), "lastModified": now()}
            project = self._projects[name]
        self.changed()
        return {"project": project}

    @action("UpdateProject")
    def update_project(self, request: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            project = self._project(request["name"])
            _check({**project, **request})
            project.update(request, lastModified=now())
        self.changed()
        return {"project": project}

    @action("DeleteProject")
    def delete_project(self, request: dict[str, Any]) -> None:
        """The project goes, and its builds with it, as on AWS."""
        with self.lock:
            self._projects.pop(request["name"], None)
            gone = [build for build in self._builds.values() if build["projectName"] == request["name"]]
            runs = [self._runs[build["id"]] for build in gone if build["id"] in self._runs]
            for build in gone:
                del self._builds[build["id"]]
        for run in runs:
            run.stop()
        self.changed()

    @action("BatchGetProjects")
    def get_projects(self, request: dict[str, Any]) -> dict[str, Any]:
        names = [name.rpartition("/")[2] for name in request["names"]]
        found = [self._projects[name] for name in names if name in self._projects]
        return {"projects": found, "projectsNotFound": [name for name in names if name not in self._projects]}

    @action("ListProjects")
    def list_projects(self, request: dict[str, Any]) -> Reply:
        return page(sorted(self._projects), request, "projects")

    @action("StartBuild")
    def start_build(self, request: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(request.keys() - _OVERRIDES.keys() - _SOURCE_OVERRIDES.keys() - _KNOWN_OVERRIDES)
        if unknown:
            raise ServiceError(f"The stand-in account does not implement StartBuild's {unknown[0]}.", INVALID)
        with self.lock:
            token = request.get("idempotencyToken")
            if token in self._tokens and self._tokens[token] in self._builds:
                return {"build": self._builds[self._tokens[token]]}
            project = self._settings(request)
            running = [b for b in self._builds.values() if b["projectName"] == project["name"]]
            limit = project.get("concurrentBuildLimit")
            if limit and sum(not build["buildComplete"] for build in running) >= limit:
                raise ServiceError("Cannot have more concurrent builds.", "AccountLimitExceededException")
            build = self._new_build(project, request, number=len(running) + 1)
            self._builds[build["id"]] = build
            if token:
                self._tokens[token] = build["id"]
            run = self._runs[build["id"]] = BuildRun(self, self._reports, build, project)
        self.changed()
        emit_state(self, build)
        run.start()
        return {"build": build}

    def _settings(self, request: dict[str, Any]) -> Resource:
        """The project as this one build has it."""
        project: Resource = {**self._project(request["projectName"].rpartition("/")[2])}
        project |= {member: request[name] for name, member in _OVERRIDES.items() if name in request}
        source = {member: request[name] for name, member in _SOURCE_OVERRIDES.items() if name in request}
        project["source"] = {**project["source"], **source}
        _check(project)
        if "CODEPIPELINE" in (project["source"]["type"], project["artifacts"]["type"]):
            raise ServiceError("A project of CodePipeline is started by a pipeline.", INVALID)
        given = {each["name"]: each for each in project["environment"].get("environmentVariables", [])}
        given |= {each["name"]: each for each in request.get("environmentVariablesOverride", [])}
        project["environment"] = {**project["environment"], "environmentVariables": list(given.values())}
        _check(project)
        return project

    def _new_build(self, project: Resource, request: dict[str, Any], number: int) -> Resource:
        name, unique = project["name"], str(uuid.uuid4())
        build_id = f"{name}:{unique}"
        given = {each["name"]: each["value"] for each in project["environment"]["environmentVariables"]}
        version = request.get("sourceVersion", "")
        instants = ("SUBMITTED", "QUEUED", "PROVISIONING")
        return {
            "id": build_id,
            "arn": self.account.arn("codebuild", f"build/{build_id}"),
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
            "cache": project.get("cache", {"type": "NO_CACHE"}),
            "environment": project["environment"],
            "serviceRole": project["serviceRole"],
            "logs": self._logs(project, unique),
            "timeoutInMinutes": project.get("timeoutInMinutes", DEFAULT_TIMEOUT_MIN),
            "queuedTimeoutInMinutes": project.get("queuedTimeoutInMinutes", 480),
            "initiator": given.get("CODEBUILD_INITIATOR", "stand-in account"),
            "encryptionKey": project.get("encryptionKey", ""),
            "exportedEnvironmentVariables": [],
            "reportArns": [],
        }

    def _logs(self, project: Resource, unique: str) -> Resource:
        config = project.get("logsConfig", {}).get("cloudWatchLogs", {})
        group = config.get("groupName") or f"/aws/codebuild/{project['name']}"
        stream = "/".join(part for part in (config.get("streamName"), unique) if part)
        arn = self.account.arn("logs", f"log-group:{group}:log-stream:{stream}")
        return {
            "groupName": group,
            "streamName": stream,
            "cloudWatchLogsArn": arn,
            "cloudWatchLogs": {"status": "ENABLED"},
        }

    @action("StopBuild")
    def stop_build(self, request: dict[str, Any]) -> dict[str, Any]:
        build = self._build(request["id"])
        run = self._runs.get(build["id"])
        if run and not build["buildComplete"]:
            run.stop()
        return {"build": build}

    @action("RetryBuild")
    def retry_build(self, request: dict[str, Any]) -> dict[str, Any]:
        build = self._build(request.get("id", ""))
        again = {"projectName": build["projectName"]}
        return self.start_build(again | ({"sourceVersion": build["sourceVersion"]} if build["sourceVersion"] else {}))

    @action("BatchGetBuilds")
    def get_builds(self, request: dict[str, Any]) -> dict[str, Any]:
        ids = [build_id.rpartition("build/")[2] for build_id in request["ids"]]
        found = [self._builds[build_id] for build_id in ids if build_id in self._builds]
        return {"builds": found, "buildsNotFound": [build_id for build_id in ids if build_id not in self._builds]}

    @action("ListBuilds")
    def list_builds(self, request: dict[str, Any]) -> Reply:
        return page(self._ids("", request), request, "ids")

    @action("ListBuildsForProject")
    def builds_of_project(self, request: dict[str, Any]) -> Reply:
        self._project(request["projectName"])
        return page(self._ids(request["projectName"], request), request, "ids")

    def _ids(self, project: str, request: dict[str, Any]) -> list[str]:
        """The newest first, unless asked for otherwise."""
        ids = [build_id for build_id, build in self._builds.items() if project in ("", build["projectName"])]
        return ids if request.get("sortOrder") == "ASCENDING" else ids[::-1]

    def _project(self, name: str) -> Resource:
        if name not in self._projects:
            raise ServiceError(
                f"Project cannot be found: {self.account.arn('codebuild', f'project/{name}')}", NOT_FOUND
            )
        return self._projects[name]

    def _build(self, build_id: str) -> Resource:
        build_id = build_id.rpartition("build/")[2]
        if build_id not in self._builds:
            raise ServiceError(f"Build {build_id} does not exist.", NOT_FOUND)
        return self._builds[build_id]


def _check(project: dict[str, Any]) -> None:
    """Refuse what could not run, when it is asked for."""
    for member in _REFUSED:
        if project.get(member):
            raise ServiceError(f"The stand-in account does not implement a project's {member}.", INVALID)
    for source in [project["source"], *project.get("secondarySources", [])]:
        if source["type"] not in _SOURCES:
            known = ", ".join(_SOURCES)
            raise ServiceError(f"The stand-in account has sources of type {known}, not {source['type']}.", INVALID)
        if source["type"] == "S3" and not source.get("location", "").partition("/")[2]:
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
