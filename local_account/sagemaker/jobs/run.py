"""The life of a job, the same for every kind: a thread that runs it and keeps its record.

Runs in the server process. The record is what ``Describe*Job`` answers. ``<state>/jobs/<kind>-<name>`` is the job's
``/opt/ml`` while it runs; the logs tell what happened afterwards.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from local_account.base.archives.zips import file_name
from local_account.containers.container_view import LinkError
from local_account.containers.run import RunningContainer, start_container
from local_account.protocol.service import now
from local_account.sagemaker.jobs.cluster import GROUP, Cluster, Host, HostGroup
from local_account.sagemaker.jobs.files import JobFiles, TransferError
from local_account.sagemaker.jobs.running_hosts import RunningHosts
from local_account.sagemaker.service import SageMaker

log = logging.getLogger(__name__)

REASON_CHARACTERS = 1024
WATCH_S = 1.0
STOP_GRACE_S = 120  # between SIGTERM and SIGKILL, as AWS gives a job that is stopped
ACCOUNT_STOPPED = "InternalServerError: the account was stopped while the job ran."
UNFINISHED = ("InProgress", "Stopping")


class FailedJobError(Exception):
    """Why a job failed, in AWS's words."""


class JobRun:
    """One run of a job. Subclasses say how it is prepared, started and finished.

    ``record`` is what Describe answers, its members named after ``kind``; subclasses read it as ``job``, by its shape.
    """

    kind: ClassVar[str]  # "Processing", "Training" or "Transform": the prefix of the record's members

    def __init__(self, sagemaker: SageMaker, record: dict[str, object]) -> None:
        self.sagemaker = sagemaker
        self.account = sagemaker.account
        self.record = record
        self.name = str(record[f"{self.kind}JobName"])
        self.root: Path = self.account.state_dir.absolute() / "jobs" / f"{self.kind.lower()}-{file_name(self.name)}"
        self.cluster = Cluster.of(self.host_groups(), self.root)
        self.files = JobFiles(self.account, self.role())
        self.stop_requested = threading.Event()
        self.exceeded = ""  # the member of StoppingCondition that ended the job

    def start(self, running: dict[str, JobRun]) -> None:
        """Run the job in a thread; it is in ``running``, by name, until it ends."""
        running[self.name] = self
        threading.Thread(target=self._run, args=(running,), name=f"{self.kind}-{self.name}", daemon=True).start()

    # What a kind of job does.
    def role(self) -> str:
        """The role that reads and writes the job's data."""
        return str(self.record["RoleArn"])

    def host_groups(self) -> list[HostGroup]:
        """The hosts that the job runs on."""
        return [HostGroup(GROUP, "", 1)]

    def prepare(self, host: Host) -> None:
        """Fill the ``/opt/ml`` of a host; raises FailedJobError or TransferError."""
        raise NotImplementedError

    def command(self, host: Host) -> tuple[list[str], dict[str, str], Path | None]:
        """Command line, environment and working folder of a host's container; raises FailedJobError."""
        raise NotImplementedError

    def upload(self, succeeded: bool) -> None:
        """Save what the containers left; raises TransferError."""
        raise NotImplementedError

    def failure(self, host: Host, exit_code: int, tail: list[str]) -> str:
        """The FailureReason of a host's container that ended with ``exit_code``."""
        raise NotImplementedError

    def isolated(self) -> bool:
        """Whether the container is to have no network."""
        return False

    def entered(self, phase: str) -> None:
        """The job enters ``phase``: Starting, Downloading, Training (the container runs) or Uploading."""

    def see_line(self, line: str) -> None:
        """A line of a container's output."""

    def watch(self) -> None:
        """Called about every ``WATCH_S`` seconds while the container runs."""

    def interrupted(self) -> bool:
        """Whether the instance is taken away now: the job then starts anew on another one."""
        return False

    def stopping(self) -> None:
        """The job was asked to stop."""
        self.change({}, "Stopping")

    def _run(self, running: dict[str, JobRun]) -> None:
        status, reason = "Completed", None
        try:
            status = self._execute()
        except (FailedJobError, TransferError) as error:
            status, reason = "Failed", str(error)
        except Exception as error:
            log.exception("%s job %s", self.kind, self.name)
            status, reason = "Failed", f"InternalServerError: {type(error).__name__}: {error}"
        finally:
            shutil.rmtree(self.root, ignore_errors=True)
            running.pop(self.name, None)
        if self.account.stopping.is_set():
            status, reason = "Failed", ACCOUNT_STOPPED
        elif self.stop_requested.is_set():
            status, reason = "Stopped", None
        elif self.exceeded:
            reason = f"The job ran longer than {self.exceeded} ({self._limits()[self.exceeded]}) and was stopped."
        self._end(status, reason)

    def _execute(self) -> str:
        while (outcome := self._attempt()) is None:
            self.entered("Starting")
        return outcome

    def _attempt(self) -> str | None:
        """Run the job on its hosts: Completed, Stopped, or None when they were taken away."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True, mode=0o700)
        self.entered("Downloading")
        for host in self.cluster.hosts:
            host.root.mkdir(mode=0o700)
            self.prepare(host)
        if self.stop_requested.is_set():
            return "Stopped"
        commands = {host: self.command(host) for host in self.cluster.hosts}
        self.entered("Training")
        with RunningHosts() as running:
            for host, (command, environment, folder) in commands.items():
                running.add(host, self._start(host, command, environment, folder))
            exit_code = self._wait(running)
        return self._finish(running, exit_code)

    def _start(
        self, host: Host, command: list[str], environment: dict[str, str], folder: Path | None
    ) -> RunningContainer:
        return start_container(
            self.account,
            name=self.name,
            root=host.root,
            command=command,
            environment=environment,
            log_group=f"/aws/sagemaker/{self.kind}Jobs",
            log_stream=f"{self.name}/{host.name}-{int(time.time())}",
            cwd=folder,
            on_line=self.see_line,
            role=self.role(),
            isolated=self.isolated(),
            names=self.cluster.host_names(host),
        )

    def _finish(self, running: RunningHosts, exit_code: int | None) -> str | None:
        """Keep what the containers left, and say how the attempt ended."""
        if exit_code is None:
            self.entered("Interrupted")
            return None
        stopped = self.stop_requested.is_set() or bool(self.exceeded)
        self.entered("Uploading")
        self._upload(exit_code == 0 or stopped)
        if exit_code != 0 and not stopped:
            host, tail = running.failed(40)
            raise FailedJobError(self.failure(host, exit_code, tail)[:REASON_CHARACTERS])
        return "Stopped" if stopped else "Completed"

    def _upload(self, succeeded: bool) -> None:
        try:
            self.upload(succeeded)
        except TransferError:
            if succeeded:  # of a failed job, why the container failed is the reason to show
                raise
            log.exception("%s job %s", self.kind, self.name)

    def _wait(self, running: RunningHosts) -> int | None:
        """0, or the exit code of the host that failed; None when they were interrupted."""
        limit, seconds = min(self.limits_s().items(), key=lambda item: item[1])
        deadline = time.monotonic() + seconds
        watched = time.monotonic()
        while (exit_code := running.wait(0.1)) is None:
            if time.monotonic() > deadline:
                self.exceeded = limit
            if self.stop_requested.is_set() or self.exceeded:
                running.stop(STOP_GRACE_S)
            elif self.interrupted():
                running.stop(STOP_GRACE_S)
                return None
            elif time.monotonic() - watched >= WATCH_S:
                self._watch(running)
                watched = time.monotonic()
        return exit_code

    def _watch(self, running: RunningHosts) -> None:
        try:
            self.watch()
        except TransferError:
            running.stop(STOP_GRACE_S)
            raise

    def limits_s(self) -> dict[str, float]:
        """Seconds that the container may run, by the member of StoppingCondition that says so."""
        return {"MaxRuntimeInSeconds": float(self._limits()["MaxRuntimeInSeconds"])}

    def _limits(self) -> dict[str, int]:
        """StoppingCondition; batch transform jobs have none."""
        limits = self.record.get("StoppingCondition")
        return limits if isinstance(limits, dict) else {}

    def _end(self, status: str, reason: str | None) -> None:
        changes: dict[str, object] = {f"{self.kind}EndTime": now()}
        if reason:
            changes["FailureReason"] = reason
        self.change(changes, status)

    def change(self, members: Mapping[str, object], status: str | None = None) -> None:
        """Change the record and tell EventBridge."""
        with self.sagemaker.lock:
            if status:
                self.record[f"{self.kind}JobStatus"] = status
            self.record |= {**members, "LastModifiedTime": now()}
            detail = json.loads(json.dumps(self.record))
        self.sagemaker.changed()
        # Events carry milliseconds, answers seconds.
        detail.update({k: int(v * 1000) for k, v in detail.items() if k.endswith("Time")})
        arn = str(self.record[f"{self.kind}JobArn"])
        detail["Tags"] = self.sagemaker.tags.get(arn, {})
        self.sagemaker.emit(f"SageMaker {self.kind} Job State Change", detail, [arn])

    def blamed(self, host: Host) -> str:
        """What precedes a host's reason to fail: its name, where it is not the only one."""
        return f"{host.name}: " if self.cluster.several else ""

    def tail_text(self, tail: list[str]) -> str:
        """Of a container's last lines those that tell what went wrong: the last traceback, or the last five."""
        starts = [i for i, line in enumerate(tail) if line.startswith("Traceback (most recent call last)")]
        return "\n".join(tail[starts[-1] + 1 :] if starts else tail[-5:])

    def read_output(self, host: Host, name: str) -> str | None:
        """The first 1,024 characters of ``/opt/ml/output/<name>``, if the host's container wrote it."""
        try:
            path = host.view.real(host.root / "output" / name)
        except LinkError:
            return None
        if not path.is_file():
            return None
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(REASON_CHARACTERS).strip() or None
