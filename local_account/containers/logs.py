"""What a container prints, in CloudWatch Logs within half a second.

Runs in the server process, one thread a container: reads the process's output line by line and hands it on in batches.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)

BATCH_S = 0.25
BATCH_LINES = 500
LINE_BYTES = 250_000  # CloudWatch Logs takes at most 262,144 bytes an event, 26 of them overhead
DRAIN_S = 2.0


class LogPump:
    """Reads a process's output until it has ended; ``put`` gets batches, ``on_line`` every line."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        put: Callable[[list[str]], None],
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self._process = process
        self._put = put
        self._on_line = on_line
        self._tail: deque[str] = deque(maxlen=200)
        self._partial = b""
        self._batch: list[str] = []
        self._sent = time.monotonic()

    def tail(self, n: int) -> list[str]:
        """The last ``n`` lines of the output, at most 200."""
        return list(self._tail)[-n:]

    def run(self) -> None:
        """Return once the process has ended and all it wrote is handed on."""
        output = self._process.stdout
        if output is None:
            raise ValueError("a container's output must be a pipe")
        deadline: float | None = None
        with output, selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while deadline is None or time.monotonic() < deadline:
                if selector.select(BATCH_S):
                    chunk = os.read(output.fileno(), 1 << 16)
                    if not chunk:
                        break
                    self._add(chunk)
                if time.monotonic() - self._sent >= BATCH_S or len(self._batch) >= BATCH_LINES:
                    self._send()
                if deadline is None and self._process.poll() is not None:
                    self._end_group()
                    deadline = time.monotonic() + DRAIN_S
        self._process.wait()
        self._end_group()
        if self._partial:
            self._add(b"\n")
        self._send()

    def _end_group(self) -> None:
        """A container ends with its first process: end what that one left running."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _add(self, chunk: bytes) -> None:
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        while len(self._partial) > LINE_BYTES:
            lines.append(self._partial[:LINE_BYTES])
            self._partial = self._partial[LINE_BYTES:]
        for line in lines:
            for start in range(0, len(line), LINE_BYTES):
                self._add_line(line[start : start + LINE_BYTES].decode(errors="replace").rstrip("\r"))

    def _add_line(self, line: str) -> None:
        if not line:  # CloudWatch Logs refuses empty messages
            return
        self._tail.append(line)
        self._batch.append(line)
        if self._on_line:
            self._on_line(line)

    def _send(self) -> None:
        batch, self._batch = self._batch, []
        self._sent = time.monotonic()
        if batch:
            try:
                self._put(batch)
            except Exception:  # the job goes on without its log, as on AWS
                log.exception("%d log lines were lost", len(batch))
