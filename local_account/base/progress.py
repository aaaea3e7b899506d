"""Waiting for a process as long as it gets on: a slow machine is waited for, a process that stands still is not.

Runs in the user's command, which waits for the server, and in the server, which waits for workers of functions.
"""

from __future__ import annotations

import time
from contextlib import suppress

import psutil

STUCK_S = 60.0  # without an instruction or a byte of its own


class ProcessProgress:
    """What a process and its children have done so far: processor time, and bytes read and written."""

    def __init__(self, pid: int, stuck_s: float = STUCK_S) -> None:
        self._process: psutil.Process | None = None
        with suppress(psutil.NoSuchProcess):  # whoever waits for it learns of its end elsewhere
            self._process = psutil.Process(pid)
        self._stuck_s = stuck_s
        self._done: tuple[float, ...] = ()
        self._since = time.monotonic()

    def stands_still(self) -> bool:
        """Whether nothing has been done for ``stuck_s`` seconds."""
        done = self._so_far()
        if done != self._done:
            self._done, self._since = done, time.monotonic()
        return time.monotonic() - self._since > self._stuck_s

    def processor_s(self) -> float:
        """The processor time that the process and its children have used."""
        used = 0.0
        for process in self._family():
            with suppress(psutil.Error):
                used += sum(process.cpu_times()[:2])
        return used

    def _so_far(self) -> tuple[float, ...]:
        done: list[float] = []
        for process in self._family():
            with suppress(psutil.Error, AttributeError):  # macOS counts no bytes
                done += [*process.cpu_times()[:2], *process.io_counters()[:4]]
        return tuple(done)

    def _family(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        with suppress(psutil.Error):
            return [self._process, *self._process.children(recursive=True)]
        return []
