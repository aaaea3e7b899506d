"""The processes this account started: jobs, model servers, function workers. All end with the account.

Runs in the server process. Every child leads a process group of its own, so that its whole tree can be ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


class Children:
    """Starts processes and ends them; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()

    def start(
        self, command: list[str], *, environment: Mapping[str, str], cwd: Path | None = None, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start ``command`` in a process group of its own with exactly ``environment``."""
        process = subprocess.Popen(command, env=dict(environment), cwd=cwd, start_new_session=True, **options)
        with self._lock:
            self._running = {p for p in self._running if p.poll() is None}
            self._running.add(process)
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

    def stop_all(self, grace_s: float = 2.0) -> None:
        """End every process that still runs."""
        with self._lock:
            running = [p for p in self._running if p.poll() is None]
        for process in running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in running:
            self.stop(process, grace_s)
