"""AWS CodeBuild in the stand-in account: projects, and builds that really run their buildspec on this machine.

Runs in the server process. Sources are zips in S3, or none; what else CodeBuild offers (other sources, networks,
Docker, batches, secrets of Secrets Manager) is refused when the project is made. A build starts at once.
"""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING

from local_account.account import Account
from local_account.base.arns import name_of
from local_account.codebuild.events import emit_state
from local_account.codebuild.projects import INVALID, check, for_one_build, new_build, refuse_unknown_overrides
from local_account.codebuild.records import BuildProjectRecord, BuildRecord
from local_account.codebuild.reports import Reports
from local_account.codebuild.runs import BuildRun
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import change, record_of
from local_account.protocol.service import Service, now, page

if TYPE_CHECKING:
    from types_boto3_codebuild.type_defs import (
        BatchGetBuildsInputTypeDef,
        BatchGetProjectsInputTypeDef,
        CreateProjectInputTypeDef,
        DeleteProjectInputTypeDef,
        ListBuildsForProjectInputTypeDef,
        ListBuildsInputTypeDef,
        ListProjectsInputTypeDef,
        RetryBuildInputTypeDef,
        StartBuildInputTypeDef,
        StopBuildInputTypeDef,
        UpdateProjectInputTypeDef,
    )

NOT_FOUND = "ResourceNotFoundException"


def install(account: Account) -> CodeBuild:
    """Build the service; builds that ran when the account stopped have failed."""
    service = CodeBuild(account)
    # Beside the start: what a build installed may be tens of thousands of files.
    for left in (account.state_dir / "builds").glob("*"):
        threading.Thread(target=shutil.rmtree, args=(left,), kwargs={"ignore_errors": True}, daemon=True).start()
    for build in service.table("builds", BuildRecord).values():
        if not build["buildComplete"]:
            build |= {"buildStatus": "FAULT", "buildComplete": True, "endTime": now(), "currentPhase": "COMPLETED"}
    service.changed()
    return service


class CodeBuild(Service):
    """Projects and builds; report groups and reports are in `codebuild.reports`."""

    invalid_code = INVALID

    def __init__(self, account: Account) -> None:
        super().__init__(account, "codebuild")
        self._reports = Reports(self)
        self.add(self._reports)
        self._runs: dict[str, BuildRun] = {}
        self._tokens: dict[str, str] = {}

    @property
    def _projects(self) -> dict[str, BuildProjectRecord]:
        return self.table("projects", BuildProjectRecord)

    @property
    def _builds(self) -> dict[str, BuildRecord]:
        return self.table("builds", BuildRecord)

    @action("CreateProject")
    def create_project(self, request: CreateProjectInputTypeDef) -> Reply:
        """Make a project.

        Raises ServiceError for a name that is taken, and for what could not run here.
        """
        name = request["name"]
        made = {"arn": self.account.arn("codebuild", f"project/{name}"), "created": now(), "lastModified": now()}
        project = record_of(BuildProjectRecord, request, made)
        check(project)
        with self.lock:
            if name in self._projects:
                raise ServiceError(f"Project already exists: {name}", "ResourceAlreadyExistsException")
            self._projects[name] = project
        self.changed()
        return {"project": project}

    @action("UpdateProject")
    def update_project(self, request: UpdateProjectInputTypeDef) -> Reply:
        """Change the members of a project that the request names.

        Raises ServiceError for an unknown project, and for what could not run here.
        """
        with self.lock:
            project = self._project(request["name"])
            check(record_of(BuildProjectRecord, project, request))
            change(project, {**request, "lastModified": now()})
        self.changed()
        return {"project": project}

    @action("DeleteProject")
    def delete_project(self, request: DeleteProjectInputTypeDef) -> None:
        """Remove a project and its builds, as on AWS; builds that run are stopped."""
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
    def get_projects(self, request: BatchGetProjectsInputTypeDef) -> Reply:
        """Tell projects by their names or ARNs, and which of them do not exist."""
        names = [name_of(name, "codebuild", "project") for name in request["names"]]
        found = [self._projects[name] for name in names if name in self._projects]
        return {"projects": found, "projectsNotFound": [name for name in names if name not in self._projects]}

    @action("ListProjects")
    def list_projects(self, request: ListProjectsInputTypeDef) -> Reply:
        """List the names of all projects, in order."""
        return page(sorted(self._projects), request, "projects")

    @action("StartBuild")
    def start_build(self, request: StartBuildInputTypeDef) -> Reply:
        """Start a build of a project, with what the request overrides.

        Raises ServiceError for an unknown project, for what could not run here, and beyond the project's limit.
        """
        refuse_unknown_overrides(request)
        with self.lock:
            token = request.get("idempotencyToken", "")
            if self._tokens.get(token) in self._builds:
                return {"build": self._builds[self._tokens[token]]}
            project = for_one_build(self._project(name_of(request["projectName"], "codebuild", "project")), request)
            running = [b for b in self._builds.values() if b["projectName"] == project["name"]]
            limit = project.get("concurrentBuildLimit")
            if limit and sum(not build["buildComplete"] for build in running) >= limit:
                raise ServiceError("Cannot have more concurrent builds.", "AccountLimitExceededException")
            build = new_build(self.account, project, request, number=len(running) + 1)
            self._builds[build["id"]] = build
            if token:
                self._tokens[token] = build["id"]
            run = self._runs[build["id"]] = BuildRun(self, self._reports, build, project)
        self.changed()
        emit_state(self, build)
        run.start()
        return {"build": build}

    @action("StopBuild")
    def stop_build(self, request: StopBuildInputTypeDef) -> Reply:
        """Have a build end, if it runs; it may still run when this returns.

        Raises ServiceError for an unknown build.
        """
        build = self._build(request["id"])
        run = self._runs.get(build["id"])
        if run and not build["buildComplete"]:
            run.stop()
        return {"build": build}

    @action("RetryBuild")
    def retry_build(self, request: RetryBuildInputTypeDef) -> Reply:
        """Start a build of the same project and source version.

        Raises ServiceError for an unknown build, and as `start_build` does.
        """
        build = self._build(request.get("id", ""))
        again: StartBuildInputTypeDef = {"projectName": build["projectName"]}
        if build["sourceVersion"]:
            again["sourceVersion"] = build["sourceVersion"]
        return self.start_build(again)

    @action("BatchGetBuilds")
    def get_builds(self, request: BatchGetBuildsInputTypeDef) -> Reply:
        """Tell builds by their ids or ARNs, and which of them do not exist."""
        ids = [name_of(build_id, "codebuild", "build") for build_id in request["ids"]]
        found = [self._builds[build_id] for build_id in ids if build_id in self._builds]
        return {"builds": found, "buildsNotFound": [build_id for build_id in ids if build_id not in self._builds]}

    @action("ListBuilds")
    def list_builds(self, request: ListBuildsInputTypeDef) -> Reply:
        """List the ids of all builds, the newest first unless asked for otherwise."""
        return page(self._ids("", request.get("sortOrder")), request, "ids")

    @action("ListBuildsForProject")
    def builds_of_project(self, request: ListBuildsForProjectInputTypeDef) -> Reply:
        """List the ids of a project's builds, the newest first unless asked for otherwise.

        Raises ServiceError for an unknown project.
        """
        self._project(request["projectName"])
        return page(self._ids(request["projectName"], request.get("sortOrder")), request, "ids")

    def _ids(self, project: str, order: str | None) -> list[str]:
        ids = [build_id for build_id, build in self._builds.items() if project in ("", build["projectName"])]
        return ids if order == "ASCENDING" else ids[::-1]

    def _project(self, name: str) -> BuildProjectRecord:
        if name not in self._projects:
            raise ServiceError(
                f"Project cannot be found: {self.account.arn('codebuild', f'project/{name}')}", NOT_FOUND
            )
        return self._projects[name]

    def _build(self, build_id: str) -> BuildRecord:
        build_id = name_of(build_id, "codebuild", "build")
        if build_id not in self._builds:
            raise ServiceError(f"Build {build_id} does not exist.", NOT_FOUND)
        return self._builds[build_id]
