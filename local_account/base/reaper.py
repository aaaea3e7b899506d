"""Ends the processes of a server that is gone: ``python -m local_account.base.reaper FOLDER``.

Runs as a small process beside the server, with a pipe from it as input; the end of that input is the end of the server.
Reads and empties ``<state>/children/``: one file a process, named by its id, that holds when the process started. That
time tells the process from another one that got the same id later.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil

CLOCK_TICK_S = 0.02  # the kernel counts start times in ticks of 10 ms


def record(folder: Path, pid: int) -> None:
    """Note a process that must not outlive the server."""
    with suppress(psutil.NoSuchProcess):
        (folder / str(pid)).write_text(repr(psutil.Process(pid).create_time()), encoding="ascii")


def sweep(folder: Path) -> list[int]:
    """End every noted process that still runs, with its process group and descendants; return their ids."""
    ended = []
    for note in folder.iterdir():
        with suppress(psutil.Error, ValueError, OSError):
            process = psutil.Process(int(note.name))
            if abs(process.create_time() - float(note.read_text(encoding="ascii"))) < CLOCK_TICK_S:
                _end(process)
                ended.append(process.pid)
        note.unlink(missing_ok=True)
    return ended


def _end(process: psutil.Process) -> None:
    tree = [*process.children(recursive=True), process]
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for member in tree:
        with suppress(psutil.Error):
            member.kill()


if __name__ == "__main__":
    sys.stdin.buffer.read()
    sweep(Path(sys.argv[1]))
