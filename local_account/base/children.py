"""The processes this account started: jobs, model servers, function workers. All end with the account.

Runs in the server process; writes ``<state>/children/<pid>``. Every child leads a process group of its own, so that its
whole tree can be ended. When the server is killed, ``local_account.base.reaper`` ends what it left. (The kernel's own
PR_SET_PDEATHSIG does not do: it fires when the *thread* that started the child ends, and ``unshare`` clears it.)
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from local_account.base.reaper import record, sweep

log = logging.getLogger(__name__)


class Children:
    """Starts processes and ends them; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._folder: Path | None = None
        self._reaper: subprocess.Popen[bytes] | None = None

    def guard(self, folder: Path) -> None:
        """End what an earlier server left behind, and see to it that nothing outlives this one."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for pid in sweep(folder):
            log.warning("ended process %d, which an earlier server left behind", pid)
        self._folder = folder
        # It waits for the end of its input: the pipe closes when this process ends, however it ends.
        self._reaper = subprocess.Popen(
            [sys.executable, "-m", "local_account.base.reaper", str(folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def start(
        self,
        command: list[str],
        *,
        environment: Mapping[str, str],
        cwd: Path | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        pass_fds: Collection[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start ``command`` in a process group of its own with exactly ``environment``; the rest is Popen's."""
        process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=cwd,
            start_new_session=True,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=pass_fds,
        )
        if self._folder:
            record(self._folder, process.pid)
        with self._lock:
            ended = {p for p in self._running if p.poll() is not None}
            self._running = self._running - ended | {process}
        for other in ended:
            self._forget(other)
        return process

    def stop(self, process: subprocess.Popen[bytes], grace_s: float = 5.0) -> None:
        """SIGTERM to the process group, SIGKILL once ``grace_s`` seconds have passed."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self._forget(process)

    def stop_all(self, grace_s: float = 2.0) -> None:
        """End every process that still runs, within ``grace_s`` seconds for all of them together."""
        with self._lock:
            running = [p for p in self._running if p.poll() is None]
        for process in running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        for process in running:
            self.stop(process, max(0.0, deadline - time.monotonic()))
        if self._reaper and self._reaper.stdin:
            self._reaper.stdin.close()
            self._reaper.wait()

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._running.discard(process)
        if self._folder:
            (self._folder / str(process.pid)).unlink(missing_ok=True)
