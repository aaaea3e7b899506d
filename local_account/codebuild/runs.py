"""One build: its phases one after the other in a thread, as CodeBuild goes through them.

Runs in the server process. ``<state>/builds/<id>`` is the build's machine while it runs; the log, the reports and the
artifacts tell what happened afterwards. A failed `build` goes on with `post_build`, any other failed phase ends the
build, unless `on-failure` says otherwise; artifacts and reports are collected after both.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_account.base.archives.s3_download import download
from local_account.codebuild import files
from local_account.codebuild.buildspec import FORMATS, PHASES, Buildspec, BuildspecError, Phase, Report, parse
from local_account.codebuild.cache import Cache
from local_account.codebuild.environment import check_python, environment, make_home
from local_account.codebuild.events import emit_state
from local_account.codebuild.files import FilesError
from local_account.codebuild.reports import ReportError, Reports
from local_account.codebuild.shell import Shell, ShellStoppedError
from local_account.protocol.role_clients import role_client
from local_account.protocol.service import Resource, Service, now

log = logging.getLogger(__name__)

ACCOUNT_STOPPED = "The stand-in account was stopped while the build ran."


class PhaseError(Exception):
    """Why a phase failed: CodeBuild's code, and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class BuildRun:
    """Runs a build and keeps its record."""

    def __init__(self, service: Service, reports: Reports, build: Resource, project: Resource) -> None:
        self._service, self._reports, self.build, self._project = service, reports, build, project
        self._account = service.account
        self._folder: Path = self._account.state_dir.absolute() / "builds" / build["id"].partition(":")[2]
        self._source, self._home = self._folder / "src", self._folder / "home"
        self._put = partial(self._account.put_log_lines, build["logs"]["groupName"], build["logs"]["streamName"])
        self._cache = Cache(self._account, build, self._client)
        self._spec: Buildspec | None = None
        self._shell: Shell | None = None
        self._ended_by = ""
        self._over = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name=f"build-{self.build['id']}", daemon=True).start()

    def stop(self, status: str = "STOPPED") -> None:
        """End the build; returns at once."""
        self._ended_by = self._ended_by or status
        if shell := self._shell:
            threading.Thread(target=shell.stop, daemon=True).start()

    def wait(self, timeout_s: float) -> bool:
        return self._over.wait(timeout_s)

    def _run(self) -> None:
        timer = threading.Timer(self.build["timeoutInMinutes"] * 60, self.stop, ["TIMED_OUT"])
        timer.daemon = True
        timer.start()
        try:
            if self._phase("DOWNLOAD_SOURCE", self._prepare):
                try:
                    went_through = self._commands()
                finally:
                    self._end_shell()  # its whole output is in the log now
                if went_through and not self._ended_by:
                    self._phase("UPLOAD_ARTIFACTS", self._upload)
            self._phase("FINALIZING", self._finalize)
        except Exception:
            log.exception("build %s", self.build["id"])
            self._ended_by = "FAULT"
        finally:
            timer.cancel()
            self._complete()
            shutil.rmtree(self._folder, ignore_errors=True)  # takes seconds where packages were installed

    def _complete(self) -> None:
        failed = any(phase.get("phaseStatus") not in (None, "SUCCEEDED") for phase in self.build["phases"])
        status = self._ended_by or ("FAILED" if failed else "SUCCEEDED")
        with self._service.lock:
            self.build["phases"].append({"phaseType": "COMPLETED", "startTime": now()})
            self.build |= {"buildStatus": status, "endTime": now(), "currentPhase": "COMPLETED", "buildComplete": True}
        self._service.changed()
        emit_state(self._service, self.build)
        self._over.set()

    def _phase(self, name: str, work: Callable[[], None]) -> bool:
        """Do the work of a phase and record how it ended."""
        entry: dict[str, Any] = {"phaseType": name, "startTime": now()}
        with self._service.lock:
            self.build["phases"].append(entry)
            self.build["currentPhase"] = name
        self._service.changed()
        status, code, message = "SUCCEEDED", "", ""
        try:
            work()
        except ShellStoppedError:
            status = self._ended_by or "STOPPED"
        except PhaseError as error:
            status, code, message = "FAILED", error.code, str(error)
        except (ClientError, BotoCoreError, FilesError, ReportError) as error:
            status, code, message = "FAILED", "CLIENT_ERROR", str(error)
        self._say(name, f"Phase complete: {name} State: {status}")
        if code:
            self._say(name, f"Phase context status code: {code} Message: {message}")
        with self._service.lock:
            contexts = [{"statusCode": code, "message": message}]
            entry |= {"phaseStatus": status, "endTime": now(), "contexts": contexts}
            entry["durationInSeconds"] = int(entry["endTime"] - entry["startTime"])
        self._service.changed()
        return status == "SUCCEEDED"

    def _say(self, phase: str, text: str) -> None:
        """Into the log; among the output of the shell while there is one."""
        line = f"[Container] {datetime.now(UTC):%Y/%m/%d %H:%M:%S.%f} {text}"
        if self._shell and not self._ended_by and phase.lower() in PHASES:
            try:
                self._shell.say(line)
                return
            except ShellStoppedError:
                pass
        self._put([line])

    def _prepare(self) -> None:
        make_home(self._folder)
        for each in [self.build["source"], *self.build.get("secondarySources", [])]:
            name = each.get("sourceIdentifier", "")
            folder = self._folder / "sources" / name if name else self._source
            self._download(each, folder, self.build.get("sourceVersion", "") if not name else "")
        try:
            self._spec = parse(self._buildspec())
            check_python(self._spec.python)
        except BuildspecError as error:
            raise PhaseError("YAML_FILE_ERROR", str(error)) from error
        self._cache.restore(self._spec.cache, self._source, self._home, self._folder / "cache")
        variables = environment(self._account, self._folder, self.build)
        for each in self.build.get("secondarySources", []):
            name = each["sourceIdentifier"]
            variables[f"CODEBUILD_SRC_DIR_{name}"] = str(self._folder / "sources" / name)
        variables |= self._variables(self._spec)
        self._shell = Shell(self._account, self._spec.shell, self._source, variables, self._put)
        if self._ended_by:
            raise ShellStoppedError

    def _client(self, service: str) -> Any:
        role, project = (
            self.build["serviceRole"],
            self._account.arn("codebuild", f"project/{self.build['projectName']}"),
        )
        by = "codebuild.amazonaws.com"
        return role_client(self._account, role, "AWSCodeBuild-service", service, by=by, source_arn=project)

    def _download(self, source: Resource, folder: Path, version: str) -> None:
        if source["type"] == "NO_SOURCE":
            return
        bucket, _, key = source["location"].removeprefix("arn:aws:s3:::").partition("/")
        request = {"Bucket": bucket, "Key": key, **({"VersionId": version} if version and ":" not in version else {})}
        archive = self._folder / "source.zip"
        download(self._client("s3"), archive, **request)
        files.unzip(archive, folder, f"s3://{bucket}/{key}")
        archive.unlink()

    def _buildspec(self) -> str:
        given: str = self.build["source"].get("buildspec") or "buildspec.yml"
        if "\n" in given:
            return given
        path: Path = (self._source / given).resolve()
        if not path.is_relative_to(self._source.resolve()) or not path.is_file():
            raise PhaseError("YAML_FILE_ERROR", f"the source holds no {given}")
        return path.read_text(encoding="utf-8")

    def _variables(self, spec: Buildspec) -> dict[str, str]:
        """The call's variables win over the project's, those over the buildspec's (CodeBuild user guide)."""
        found = dict(spec.variables)
        parameters = dict(spec.parameters)
        for variable in self.build["environment"]["environmentVariables"]:
            kept, other = (parameters, found) if variable.get("type") == "PARAMETER_STORE" else (found, parameters)
            kept[variable["name"]] = variable["value"]
            other.pop(variable["name"], None)
        for name, parameter in parameters.items():
            try:
                answer = self._client("ssm").get_parameter(Name=parameter, WithDecryption=True)
                found[name] = answer["Parameter"]["Value"]
            except ClientError as error:
                raise PhaseError("CLIENT_ERROR", f"parameter {parameter} cannot be read: {error}") from error
        return found

    def _commands(self) -> bool:
        """The phases of the buildspec; False when one ended the build before its end."""
        for name in PHASES:
            phase = self._spec.phases.get(name, Phase()) if self._spec else Phase()
            if self._phase(name.upper(), partial(self._run_phase, name, phase)):
                continue
            if self._shell and not self._ended_by:
                self._shell.run("export CODEBUILD_BUILD_SUCCEEDING=0")
            on_failure = phase.on_failure or ("CONTINUE" if name == "build" else "ABORT")
            if self._ended_by or (on_failure == "ABORT" and name != PHASES[-1]):
                return False
        return True

    def _run_phase(self, name: str, phase: Phase) -> None:
        if phase.commands:
            self._say(name, f"Entering phase {name.upper()}")
        failure = self._first_failure(phase.commands, name)
        last = self._first_failure(phase.last, name)
        if failure or last:
            command, code = failure or last or ("", 0)
            reason = f"Error while executing command: {command}. Reason: exit status {code}"
            raise PhaseError("COMMAND_EXECUTION_ERROR", reason)

    def _first_failure(self, commands: tuple[str, ...], name: str) -> tuple[str, int] | None:
        if self._shell is None:
            return None
        for command in commands:
            announce = f"[Container] {datetime.now(UTC):%Y/%m/%d %H:%M:%S.%f} Running command {command}"
            if code := self._shell.run(command, announce):
                self._say(name, f"Command did not exit successfully {command} exit status {code}")
                return command, code
        return None

    def _upload(self) -> None:
        spec = self._spec
        if spec is None:
            return
        failure: Exception | None = None
        for name, report in spec.reports.items():
            try:
                self._report(name, report)
            except (FilesError, ReportError) as error:  # the other reports and the artifacts are collected all the same
                failure = PhaseError("CLIENT_ERROR", f"report {name}: {error}")
        self._upload_artifacts(spec)
        if failure:
            raise failure

    def _report(self, name: str, report: Report) -> None:
        contents = [path.read_bytes() for path, _ in files.select(self._source, report.files)]
        kind = FORMATS[report.format]
        arn = self._reports.add(name, self.build["arn"], self.build["projectName"], kind, contents)
        with self._service.lock:
            self.build["reportArns"].append(arn)

    def _upload_artifacts(self, spec: Buildspec) -> None:
        target = self._project["artifacts"]
        if target["type"] == "NO_ARTIFACTS":
            return
        if spec.artifacts is None:
            raise PhaseError("CLIENT_ERROR", "the project has artifacts, its buildspec says nothing of them")
        chosen = files.select(self._source, spec.artifacts)
        bucket, parts = target["location"], [target.get("path", "").strip("/")]
        if target.get("namespaceType") == "BUILD_ID":
            parts.append(self.build["id"].partition(":")[2])
        key = "/".join(part for part in [*parts, target.get("name", self.build["projectName"])] if part)
        encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.build["encryptionKey"]}
        extra = encrypted if self.build.get("encryptionKey") and not target.get("encryptionDisabled") else {}
        s3 = self._client("s3")
        if target.get("packaging") == "ZIP":
            archive = self._folder / "artifacts.zip"
            files.zip_files(chosen, archive)
            chosen = [(archive, "")]
        for path, name in chosen:
            with path.open("rb") as file:
                s3.put_object(Bucket=bucket, Key=f"{key}/{name}" if name else key, Body=file, **extra)
        with self._service.lock:
            self.build["artifacts"] = {"location": f"arn:aws:s3:::{bucket}/{key}"}

    def _end_shell(self) -> None:
        """Keep the variables that are exported; end the shell, with everything that was left running."""
        if self._shell is None:
            return
        try:
            values = {} if self._ended_by else self._shell.variables()
        except ShellStoppedError:
            values = {}
        finally:
            self._shell.close()
            self._shell = None
        if self._spec and values:
            exported = [{"name": name, "value": values.get(name, "")} for name in self._spec.exported]
            with self._service.lock:
                self.build["exportedEnvironmentVariables"] = exported

    def _finalize(self) -> None:
        if self._spec and not self._ended_by:
            self._cache.save(self._spec.cache, self._source, self._home)
