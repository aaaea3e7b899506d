"""The processor time of each part of the stand-in account, measured from outside (Linux)."""

from __future__ import annotations

import os
import time

import psutil

# What a process of the account runs, and how its share is called.
PROGRAMS = {"functions/worker.py": "functions", "model_server.py": "model"}


class Watch:
    """Wall time, and the processor time of each part of the account, while a block runs."""

    def __init__(self, server: psutil.Process, items: int) -> None:
        self._server, self._items = server, items

    def __enter__(self) -> Watch:
        self._before, self._machine = self._spent(), busy_s()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_s = time.perf_counter() - self._began
        after = self._spent()
        started = {part: after[part] - self._before.get(part, 0.0) for part in after}
        others = busy_s() - self._machine - sum(started.values())
        self._others = max(0.0, others / self.wall_s / (os.cpu_count() or 1))
        self._cpu_ms = {part: seconds * 1000 / self._items for part, seconds in started.items()}

    def figures(self) -> dict[str, object]:
        """Return milliseconds of processor time an item by part, and the share of the cores that others took."""
        account = {part: value for part, value in self._cpu_ms.items() if part != "client"}
        cpu = {part: round(value, 2) for part, value in account.items()} | {"all": round(sum(account.values()), 2)}
        return {"cpu_ms": cpu | {"client": round(self._cpu_ms["client"], 2)}, "others_share": round(self._others, 2)}

    def _spent(self) -> dict[str, float]:
        spent = {"account": 0.0, "functions": 0.0, "model": 0.0, "client": cpu_s(psutil.Process())}
        for process in [self._server, *self._server.children(recursive=True)]:
            try:
                line = " ".join(process.cmdline())
                part = next((part for name, part in PROGRAMS.items() if name in line), "account")
                spent[part] += cpu_s(process)
            except psutil.Error:  # it ended
                continue
        return spent


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def busy_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)
