"""What survives a restart: each service hands its state over as bytes, written to one file a service.

Runs in the server process; reads and writes ``<state>/services/<name>``, each file whole or not at all. A service
registers how to dump and load itself and marks itself dirty after a change; a thread writes dirty services at intervals
that leave no acknowledged change unwritten for more than ``LOSS_S`` seconds or, where writing takes long, ``WRITINGS``
times as long as that (`loss_s`). Where changes come faster than they are written, further ones wait in `hold_back`.
With ``durable``, a change is on disk before it is acknowledged: requests wait in `commit` for the writing that began
after them, many for the same one.

When the disk takes nothing more, what was acknowledged goes into room that was kept for it, and `trouble` says so, so
that no further change is acknowledged.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Dump = Callable[[], bytes]
Load = Callable[[bytes], None]

log = logging.getLogger(__name__)

LOSS_S = 2.0  # that a crash costs at most,
HELD_BACK = 0.75  # of that: older than this, an unwritten change lets further ones wait,
HELD_BACK_S = 10.0  # which no service's trouble may hold up for longer
WRITINGS = 2.5  # or so many times the time that writing takes: the one under way, a pause of half, the next
ALONE_S = (0.0, 0.25, 0.5, 1.0, 2.0)  # for how long each try of a dump may keep the other threads waiting
RESERVE_BYTES = 8 * 2**20  # less where the disk is small


class NotSavedError(Exception):
    """A change could not be written; the message says why."""


class Snapshots:
    """Registry and writer of the services' state files."""

    INTERVAL_S = 0.5

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.folder = folder
        self.durable = durable
        self._services: dict[str, tuple[Dump, Load]] = {}
        self._changes: dict[str, int] = {}
        self._saved: dict[str, int] = {}
        self._since: dict[str, float] = {}
        """When the first change of each service was made that is not written."""
        self._state = threading.Condition()
        self._writing = threading.Lock()
        self._wanted = threading.Event()
        self._failures: dict[str, str] = {}
        self._full = ""
        """What the disk said when it took nothing more; until there is room again, the reserve included."""
        self._reserve_bytes = -1
        self._rounds = 0
        self._took_s: deque[float] = deque([0.0], maxlen=3)

    def register(self, name: str, dump: Dump, load: Load) -> None:
        """Register a service and load what an earlier run of the account left."""
        self._services[name] = (dump, load)
        path = self.folder / name
        if path.is_file():
            load(path.read_bytes())

    def mark_dirty(self, name: str) -> None:
        """Have the state of a service written within a second; one that keeps none has nothing to write."""
        if name not in self._services:
            return
        with self._state:
            self._changes[name] = self._changes.get(name, 0) + 1
            self._since.setdefault(name, time.monotonic())

    def keep_room(self) -> None:
        """Before any change is acknowledged: keep room for it, or have `trouble` say that there is none."""
        if not self._has_room():
            self._full = f"{os.strerror(errno.ENOSPC)} ({self.folder})"

    def trouble(self, name: str = "") -> str:
        """Why changes of a service, or of any, cannot be written; empty while they can."""
        return self._full or self._failures.get(name, "") or ("" if name else next(iter(self._failures.values()), ""))

    def unsaved_s(self) -> float:
        """How old the oldest change is that is not written."""
        with self._state:
            return self._oldest_s()

    def _oldest_s(self) -> float:
        return time.monotonic() - min(self._since.values()) if self._since else 0.0

    def loss_s(self) -> float:
        """How old the oldest acknowledged change may be that a crash costs now."""
        return 0.0 if self.durable else max(self._bound_s(), self.unsaved_s() + self._took_s[-1])

    def _bound_s(self) -> float:
        return max(LOSS_S, WRITINGS * max(self._took_s))

    def is_behind(self) -> bool:
        """Whether what is not written is too old for a further change."""
        return not self.durable and self.unsaved_s() > HELD_BACK * self._bound_s()

    def hold_back(self) -> None:
        """Return once what is not written is young enough for a further change, after one writing at the latest."""
        rounds = self._rounds
        while self.is_behind():
            with self._state:
                self._wanted.set()
                if self._rounds > rounds or not self._state.wait(HELD_BACK_S):
                    return

    def commit(self, *names: str) -> None:
        """Return once the changes made so far are on disk: those of ``names``, or all; raises NotSavedError."""
        with self._state:
            known = [name for name in names if name in self._services] or list(self._services)
            wanted = {name: self._changes.get(name, 0) for name in known if name in self._since}
            rounds = self._rounds
            self._wanted.set()
            while late := [name for name, change in wanted.items() if self._saved.get(name, 0) < change]:
                self._state.wait()
                if self._rounds > rounds and (why := self._full or self._failures.get(late[0], "")):
                    raise NotSavedError(why)

    def write(self) -> None:
        """Write every dirty service now."""
        with self._writing:
            with self._state:
                names = sorted(self._since.keys() & self._services.keys())
            for name in names:
                self._try_to_write(name)
            if not self._failures and self._has_room():
                self._full = ""
            with self._state:
                self._rounds += 1
                self._state.notify_all()

    def _try_to_write(self, name: str) -> None:
        with self._state:
            change, began = self._changes[name], time.monotonic()
        saved = False
        try:
            saved = self._write_one(name)
        except OSError as error:  # what is unsaved stays unsaved only until there is room
            self._full = self._fails(name, f"{error.strerror or error} ({self.folder / name})")
        except Exception as error:  # one service's trouble must not keep the others from being saved
            self._fails(name, f"{type(error).__name__}: {error} ({self.folder / name})")
        if saved:
            self._is_saved(name, change, began)

    def _is_saved(self, name: str, change: int, began: float) -> None:
        with self._state:
            self._saved[name] = change
            self._failures.pop(name, None)
            if self._changes[name] == change:
                del self._since[name]
            else:
                self._since[name] = began

    def _fails(self, name: str, why: str) -> str:
        if name not in self._failures:
            log.exception("the state of %s was not saved; it is tried again every second", name)
        self._failures[name] = why
        return why

    def _write_one(self, name: str) -> bool:
        """Whether the service was written; not, when it changed with each try to dump it."""
        content = self._dumped(name)
        if content is None:
            return False
        try:
            self._replace(name, content)
        except OSError as error:
            if not self._give_room():
                raise
            self._full = f"{error.strerror or error} ({self.folder / name})"  # the next change might find no room
            self._replace(name, content)
        return True

    def _dumped(self, name: str) -> bytes | None:
        for alone_s in ALONE_S:
            try:
                with undisturbed(alone_s):
                    return self._services[name][0]()
            except RecursionError:
                raise
            except RuntimeError:  # a collection changed while it was dumped
                continue
        return None

    def _replace(self, name: str, content: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self.folder / f".{name}.partial"
        try:
            with temporary.open("wb") as file:
                file.write(content)
                if self.durable:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(self.folder / name)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        if self.durable:
            sync_folder(self.folder)

    @property
    def _reserve(self) -> Path:
        return self.folder / ".reserve"

    def _has_room(self) -> bool:
        """Keep room for what was acknowledged when the disk turns out to be full; whether there is any."""
        try:
            if self._reserve_bytes < 0:
                self._reserve_bytes = self._first_reserve()
            if not self._reserve_bytes or self._reserve.exists():
                return True
            with self._reserve.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._reserve_bytes)
        except OSError:
            self._give_room()
            return False
        return True

    def _first_reserve(self) -> int:
        """How much room is kept: none where that cannot be done."""
        if not hasattr(os, "posix_fallocate"):
            return 0
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        place = os.statvfs(self.folder)
        wanted = min(RESERVE_BYTES, place.f_bavail * place.f_frsize // 4)
        return self._reserve.stat().st_size if self._reserve.exists() else wanted

    def _give_room(self) -> bool:
        """Whether there was room to give."""
        try:
            self._reserve.unlink()
        except OSError:
            return False
        return True

    def run(self, stopping: threading.Event) -> None:
        """Write dirty services until ``stopping`` is set; the thread's target."""
        pause_s = self.INTERVAL_S
        while not stopping.is_set():
            self._wanted.wait(pause_s)
            self._wanted.clear()
            started = time.monotonic()
            self.write()
            self._took_s.append(time.monotonic() - started)
            pause_s = 1.0 if self._full or self._failures else self._pause_s(self._took_s[-1])

    def _pause_s(self, took_s: float) -> float:
        """A fifth of the time goes into writing, up to two thirds where `loss_s` demands it."""
        room_s = HELD_BACK * LOSS_S - 2 * took_s
        return max(min(max(self.INTERVAL_S, 4 * took_s), room_s), (WRITINGS - 2) * took_s, 0.05)


@contextmanager
def undisturbed(at_most_s: float) -> Iterator[None]:
    """Let no other thread take its turn while the block computes, for so many seconds at most.

    What dumps a service meets a collection that grows under it each time, once the service is written to without a
    pause; the change waits instead.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(max(before, at_most_s))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def sync_folder(folder: Path) -> None:
    """Have a folder's own entries on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
