"""Warm worker processes of a function: started on demand, reused, ended when they idle or when the function changes.

Runs in the server process. A worker is what AWS calls an execution environment: one process, one invocation at a time,
one log stream. Differences from AWS: ``PythonX.Y`` runs with the account's own interpreter whatever its version is;
``MemorySize`` and ``EphemeralStorage`` are told to the function and not enforced; ``/var/task`` and ``/opt`` are
ordinary folders elsewhere (``LAMBDA_TASK_ROOT`` names the first); the address of the Runtime API has a path.
"""

from __future__ import annotations

import datetime
import os
import queue
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local_account.base.children import Children
from local_account.base.progress import ProcessProgress
from local_account.functions.runtime_api import Mailbox, Message, QueuedInvocation, RuntimeApiServer

INIT_LIMIT_S = 10.0  # lambda/latest/dg/lambda-runtime-environment.html: the init phase's limit
LOOK_S = 0.5
LOG_EVENT_LIMIT = 256 * 1024 - 26  # characters, CloudWatch Logs' limit of one event
PROGRAM = Path(__file__).with_name("worker.py")


@dataclass(frozen=True)
class WorkerPlan:
    """All that a worker of one version of one function needs to start."""

    function_name: str
    version: str
    folder: Path
    environment: Mapping[str, str]
    command: tuple[str, ...]
    timeout_s: float

    @property
    def log_group(self) -> str:
        """Where the function's log is."""
        return f"/aws/lambda/{self.function_name}"


@dataclass(frozen=True)
class InvocationOutcome:
    """What one invocation came to. ``error`` is None, or the value of X-Amz-Function-Error."""

    payload: bytes
    error: str | None
    lines: list[str]
    duration_ms: float
    log_stream: str
    peak_mib: int = 0
    init_ms: float | None = None


@dataclass
class WorkerOutput:
    """What a worker prints, cut into the invocations' parts at the markers that the worker writes."""

    parts: queue.SimpleQueue[tuple[str, list[str], int]] = field(default_factory=queue.SimpleQueue)

    def read(self, stream_fd: int) -> None:
        """Read until the end; the reader thread's target."""
        pending = b""
        with os.fdopen(stream_fd, "rb", buffering=0) as stream:
            while chunk := stream.read(65536):
                pending += chunk
                while (end := pending.find(b"\0\n")) >= 0 and (start := pending.rfind(b"\0", 0, end)) >= 0:
                    request_id, _, peak = pending[start + 1 : end].decode("utf-8", "replace").partition(" ")
                    self.parts.put((request_id, _lines(pending[:start]), int(peak) if peak.isdigit() else 0))
                    pending = pending[end + 2 :]
        self.parts.put(("", _lines(pending), 0))

    def take(self, request_id: str, wait_s: float) -> tuple[list[str], int]:
        """The lines up to the end of ``request_id`` (or of the process) and the peak memory in KiB."""
        deadline = time.monotonic() + wait_s
        lines: list[str] = []
        while True:
            try:
                found, part, peak = self.parts.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return lines, 0
            lines += part
            if found in {request_id, ""}:
                return lines, peak


def _lines(content: bytes) -> list[str]:
    text = content.decode("utf-8", "replace")
    return [line[:LOG_EVENT_LIMIT] for line in text.split("\n") if line.strip()]


class Worker:
    """One process. ``invoke`` is called by one thread at a time: the pool sees to it."""

    def __init__(
        self, plan: WorkerPlan, api: RuntimeApiServer, children: Children, initialised: Callable[[], None]
    ) -> None:
        """``initialised`` is called once, when the function's module is imported or that has failed."""
        self.plan = plan
        self._api, self._children, self._initialised = api, children, initialised
        day = datetime.datetime.now(datetime.UTC).strftime("%Y/%m/%d")
        self.log_stream = f"{day}/[{plan.version}]{uuid.uuid4().hex}"
        self.idle_since = time.monotonic()
        self.alive = True
        self.init_ms: float | None = None
        self._ready = False
        self._started = time.perf_counter()
        self._token, address, self._mailbox = api.open()
        self._output = WorkerOutput()
        self._process = self._start(address)

    def _start(self, address: str) -> subprocess.Popen[bytes]:
        environment = {
            **self.plan.environment,
            "AWS_LAMBDA_RUNTIME_API": address,
            "AWS_LAMBDA_LOG_STREAM_NAME": self.log_stream,
        }
        read_fd, write_fd = os.pipe()
        try:
            process = self._children.start(
                list(self.plan.command),
                environment=environment,
                cwd=self.plan.folder,
                stdin=subprocess.DEVNULL,
                stdout=write_fd,
                stderr=write_fd,
            )
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        threading.Thread(target=self._output.read, args=(read_fd,), daemon=True).start()
        threading.Thread(target=_report_exit, args=(process, self._mailbox), daemon=True).start()
        return process

    def invoke(self, invocation: QueuedInvocation) -> InvocationOutcome:
        """Run one invocation; afterwards ``alive`` says whether the worker can take another."""
        init_ms = None
        if not self._ready:
            try:
                message = self._until_ready()
            finally:
                self._initialised()
            if message is None or message.kind != "ready":
                return self._end(invocation, message, self._started)
            self._ready = True
            init_ms = (time.perf_counter() - self._started) * 1000
        started = time.perf_counter()
        deadline_ms = int((time.time() + self.plan.timeout_s) * 1000)
        invocation = QueuedInvocation(
            invocation.request_id,
            invocation.function_arn,
            deadline_ms,
            invocation.event,
            invocation.client_context,
        )
        self._mailbox.inbox.put(invocation)
        message = self._receive(time.monotonic() + self.plan.timeout_s, invocation.request_id)
        if message is None or message.kind not in {"response", "error"}:
            return self._end(invocation, message, started, init_ms)
        duration_ms = (time.perf_counter() - started) * 1000
        lines, peak_kib = self._output.take(invocation.request_id, 1.0)
        error = "Unhandled" if message.kind == "error" else None
        return InvocationOutcome(message.body, error, lines, duration_ms, self.log_stream, peak_kib // 1024, init_ms)

    @property
    def usable(self) -> bool:
        """Whether the process still waits for work (a thread of the function may have ended it meanwhile)."""
        return self.alive and self._process.poll() is None

    def stop(self) -> None:
        """End the process and all that it started."""
        self.alive = False
        self._children.stop(self._process, grace_s=0.0)
        self._api.close(self._token)

    def _until_ready(self) -> Message | None:
        """The first message; None when the import uses up the limit, or stands still for so long.

        The processor time counts: what takes 2 s on AWS takes 20 on a machine that ten others use.
        """
        limit_s = max(INIT_LIMIT_S, self.plan.timeout_s)
        progress = ProcessProgress(self._process.pid, limit_s)
        while (message := self._receive(time.monotonic() + LOOK_S)) is None:
            if progress.stands_still() or progress.processor_s() > limit_s:
                return None
        return message

    def _receive(self, deadline: float, request_id: str | None = None) -> Message | None:
        """The next message that matters, None at the deadline."""
        while True:
            try:
                message = self._mailbox.outbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return None
            if request_id is None or message.request_id == request_id or message.kind in {"exit", "init-error"}:
                return message

    def _end(
        self, invocation: QueuedInvocation, message: Message | None, started: float, init_ms: float | None = None
    ) -> InvocationOutcome:
        """End this worker after a failure of its own: an init error, its exit, or no answer in time."""
        duration_ms = (time.perf_counter() - started) * 1000
        if message is None:
            duration_ms = min(duration_ms, self.plan.timeout_s * 1000)
        if message is None or message.kind != "init-error":
            payload = _timeout_payload(invocation, self.plan) if message is None else _exit_payload(invocation, message)
        else:
            payload = message.body.replace(b'"requestId": ""', f'"requestId": "{invocation.request_id}"'.encode(), 1)
        self.stop()
        lines, _ = self._output.take(invocation.request_id, 1.0)
        if message is None:
            lines.append(f"{_now()} {invocation.request_id} Task timed out after {self.plan.timeout_s:.2f} seconds")
        elif message.kind == "exit":
            lines.append(f"RequestId: {invocation.request_id} Error: {_exit_reason(message.exit_code)}")
        return InvocationOutcome(payload, "Unhandled", lines, duration_ms, self.log_stream, 0, init_ms)


def _report_exit(process: subprocess.Popen[bytes], mailbox: Mailbox) -> None:
    mailbox.outbox.put(Message("exit", exit_code=process.wait()))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _timeout_payload(invocation: QueuedInvocation, plan: WorkerPlan) -> bytes:
    """Named as Lambda names it, so that workflows can catch it (lambda/latest/dg/troubleshooting-invocation.html)."""
    text = f"RequestId: {invocation.request_id} Error: Task timed out after {plan.timeout_s:.2f} seconds"
    return f'{{"errorType":"Sandbox.Timedout","errorMessage":"{text}"}}'.encode()


def _exit_reason(code: int) -> str:
    if code == 0:
        return "Runtime exited without providing a reason"
    if code > 0:
        return f"Runtime exited with error: exit status {code}"
    return f"Runtime exited with error: signal: {(signal.strsignal(-code) or str(-code)).lower()}"


def _exit_payload(invocation: QueuedInvocation, message: Message) -> bytes:
    text = f"RequestId: {invocation.request_id} Error: {_exit_reason(message.exit_code)}"
    return f'{{"errorType":"Runtime.ExitError","errorMessage":"{text}"}}'.encode()


class WorkerPool:
    """The workers of one version of one function in one configuration.

    They start one after the other, and who waits for that takes one that has become free before: starting one costs
    as much as a hundred short invocations, so a burst of those needs two workers where AWS would start one for each.
    """

    def __init__(self, fingerprint: object, start_worker: Callable[[Callable[[], None]], Worker]) -> None:
        """``start_worker`` is given what the worker calls when it is initialised."""
        self.fingerprint = fingerprint
        self._start_worker = start_worker
        self._idle: list[Worker] = []
        self._starting = False
        self._retired = False
        self._changed = threading.Condition()

    def take(self) -> Worker:
        """A worker for one invocation: the one that was busy last, so that the others can be ended."""
        with self._changed:
            while (worker := self._idle_worker()) is None and self._starting:
                self._changed.wait()
            if worker is not None:
                return worker
            self._starting = True
        try:
            return self._start_worker(self._started)
        except BaseException:
            self._started()
            raise

    def _idle_worker(self) -> Worker | None:
        while self._idle:
            worker = self._idle.pop()
            if worker.usable:
                return worker
            worker.stop()
        return None

    def _started(self) -> None:
        with self._changed:
            self._starting = False
            self._changed.notify_all()

    def give_back(self, worker: Worker) -> None:
        """Keep a worker for the next invocation, if it can take one."""
        with self._changed:
            keep = worker.alive and not self._retired
            if keep:
                worker.idle_since = time.monotonic()
                self._idle.append(worker)
                self._changed.notify_all()
        if not keep and worker.alive:
            worker.stop()

    def end_idle(self, since: float) -> None:
        """End workers that have had nothing to do since the time ``since`` (``time.monotonic``)."""
        with self._changed:
            old = [worker for worker in self._idle if worker.idle_since <= since]
            self._idle = [worker for worker in self._idle if worker.idle_since > since]
        for worker in old:
            worker.stop()

    def retire(self) -> None:
        """End the idle workers now and the busy ones after their invocation: the function has changed."""
        with self._changed:
            self._retired = True
        self.end_idle(time.monotonic())
