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

from botocore.exceptions import BotoCoreError, ClientError

from local_account.base.arns import last_part
from local_account.base.clients import ServiceClients
from local_account.codebuild.artifacts import upload_artifacts
from local_account.codebuild.buildspec import FORMATS, PHASES, Buildspec, BuildspecError, Phase, ReportSpec, parse
from local_account.codebuild.cache import Cache
from local_account.codebuild.environment import environment, instead_of, make_home
from local_account.codebuild.events import emit_state
from local_account.codebuild.files import FilesError, select
from local_account.codebuild.records import BuildPhase, BuildProjectRecord, BuildRecord, ExportedVariable
from local_account.codebuild.report_files import ReportError
from local_account.codebuild.reports import Reports
from local_account.codebuild.shell import Shell, ShellStoppedError
from local_account.codebuild.sources import PhaseError, Sources
from local_account.protocol.role_clients import role_client
from local_account.protocol.service import Service, now

log = logging.getLogger(__name__)

ACCOUNT_STOPPED = "The stand-in account was stopped while the build ran."


class BuildRun:
    """Runs a build and keeps its record."""

    def __init__(self, service: Service, reports: Reports, build: BuildRecord, project: BuildProjectRecord) -> None:
        self._service, self._reports, self.build, self._project = service, reports, build, project
        self._account = service.account
        self._folder: Path = self._account.state_dir.absolute() / "builds" / last_part(build["id"])
        self._home = self._folder / "home"
        self._put = partial(self._account.put_log_lines, build["logs"]["groupName"], build["logs"]["streamName"])
        self._clients: ServiceClients = partial(
            role_client,
            self._account,
            build["serviceRole"],
            "AWSCodeBuild-service",
            by="codebuild.amazonaws.com",
            source_arn=self._account.arn("codebuild", f"project/{build['projectName']}"),
        )
        self._sources = Sources(build, self._folder, self._clients)
        self._cache = Cache(self._account, build, self._clients)
        self._spec: Buildspec | None = None
        self._shell: Shell | None = None
        self._ended_by = ""
        self._over = threading.Event()

    def start(self) -> None:
        """Begin the build; returns at once."""
        threading.Thread(target=self._run, name=f"build-{self.build['id']}", daemon=True).start()

    def stop(self, status: str = "STOPPED") -> None:
        """End the build; returns at once."""
        self._ended_by = self._ended_by or status
        if shell := self._shell:
            threading.Thread(target=shell.stop, daemon=True).start()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the build's end; say whether it has come."""
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
        entry: BuildPhase = {"phaseType": name, "startTime": now()}
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
            ended = now()
            entry |= {
                "phaseStatus": status,
                "endTime": ended,
                "contexts": [{"statusCode": code, "message": message}],
                "durationInSeconds": int(ended - entry["startTime"]),
            }
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
        self._sources.fetch()
        try:
            self._spec = parse(self._sources.buildspec())
            if told := instead_of(self._spec.python):
                self._say("DOWNLOAD_SOURCE", told)
        except BuildspecError as error:
            raise PhaseError("YAML_FILE_ERROR", str(error)) from error
        self._cache.restore(self._spec.cache, self._sources.primary, self._home, self._folder / "cache")
        variables = environment(self._account, self._folder, self.build)
        variables |= {**dict(self._sources.folders()), **self._sources.variables(self._spec)}
        self._shell = Shell(self._account, self._spec.shell, self._sources.primary, variables, self._put)
        if self._ended_by:
            raise ShellStoppedError

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
        location = upload_artifacts(self.build, self._project, spec, self._folder, self._clients)
        if location:
            with self._service.lock:
                self.build["artifacts"] = {"location": location}
        if failure:
            raise failure

    def _report(self, name: str, report: ReportSpec) -> None:
        contents = [path.read_bytes() for path, _ in select(self._sources.primary, report.files)]
        kind = FORMATS[report.format]
        arn = self._reports.add(name, self.build["arn"], self.build["projectName"], kind, contents)
        with self._service.lock:
            self.build["reportArns"].append(arn)

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
            exported: list[ExportedVariable] = [
                {"name": name, "value": values.get(name, "")} for name in self._spec.exported
            ]
            with self._service.lock:
                self.build["exportedEnvironmentVariables"] = exported

    def _finalize(self) -> None:
        if self._spec and not self._ended_by:
            self._cache.save(self._spec.cache, self._sources.primary, self._home)
