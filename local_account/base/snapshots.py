"""What survives a restart: each service hands its state over as bytes, written to one file a service.

Runs in the server process; reads and writes ``<state>/services/<name>``. A service registers how to dump and load
itself and marks itself dirty after a change; a thread writes dirty services within a second, each file whole or not
at all. A crash loses at most the last second; more when writing takes long, because it may take at most a fifth of the
time. A service that cannot be written keeps its last file, and the log says so.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

Dump = Callable[[], bytes]
Load = Callable[[bytes], None]

log = logging.getLogger(__name__)


class Snapshots:
    """Registry and writer of the services' state files."""

    INTERVAL_S = 1.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._services: dict[str, tuple[Dump, Load]] = {}
        self._dirty: set[str] = set()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._complained: set[str] = set()

    def register(self, name: str, dump: Dump, load: Load) -> None:
        """Register a service and load what an earlier run of the account left."""
        self._services[name] = (dump, load)
        path = self.folder / name
        if path.is_file():
            load(path.read_bytes())

    def mark_dirty(self, name: str) -> None:
        with self._lock:
            self._dirty.add(name)

    def write(self) -> None:
        """Write every dirty service now."""
        with self._writing:
            with self._lock:
                names, self._dirty = self._dirty, set()
            for name in sorted(names & self._services.keys()):
                self._try_to_write(name)

    def _try_to_write(self, name: str) -> None:
        try:
            self._write_one(name)
        except RuntimeError as error:
            if isinstance(error, RecursionError):
                log.exception("the state of %s was not saved", name)
            else:  # a collection changed while it was dumped: the next round writes it
                self.mark_dirty(name)
        except OSError:  # such as a full disk: what is unsaved stays unsaved only until there is room
            self.mark_dirty(name)
            if name not in self._complained:
                log.exception("the state of %s was not saved; it is tried again every second", name)
            self._complained.add(name)
        except Exception:  # one service's trouble must not keep the others from being saved
            log.exception("the state of %s was not saved", name)

    def _write_one(self, name: str) -> None:
        content = self._services[name][0]()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self.folder / f".{name}.partial"
        temporary.write_bytes(content)
        temporary.replace(self.folder / name)
        self._complained.discard(name)

    def run(self, stopping: threading.Event) -> None:
        """Write dirty services until ``stopping`` is set; the thread's target."""
        pause_s = self.INTERVAL_S
        while not stopping.wait(pause_s):
            started = time.monotonic()
            self.write()
            pause_s = max(self.INTERVAL_S, 4 * (time.monotonic() - started))
