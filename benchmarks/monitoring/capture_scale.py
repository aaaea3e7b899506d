"""Whether reading captures scales: ``python -m benchmarks.monitoring.capture_scale``, or with ``--part raw`` one part.

Runs on a laptop (Linux). Writes captures as `benchmarks.captures` does, and prints

- ``raw``: what it costs to read a million records (4.1 GB) into the store, beside a bare read of the same files, which
  looks at nothing and keeps nothing; also of one that tells the lines apart, as Python does (``for line in file``),
  and of a process that only starts
- ``processes``: ten times as many, as ten endpoints' by hard links, with one process and with two
- ``hours``: an hour of 6,000 records that comes to a store of 1, of 30 and of 720 hours, these as they came and
  compacted
- ``photographs``: captures of photographs of 100 kB

Runs alternate and the cheapest counts, since others may use the machine. Needs the captures' disk space in TMPDIR.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import psutil

from benchmarks.captures import FIRST_HOUR, RECORDS_PER_FILE, ROOT, measured, write, write_hour
from benchmarks.processor_time import cpu_s

PHOTOGRAPH_CHARACTERS = 136_536  # base64 of 102,400 bytes
PHOTOGRAPHS_PER_FILE = 30  # 4 MB
POLL_S = 0.05
HOUR_FILES, HOUR_RECORDS, KEPT_RECORDS = 12, 6_000, 20
BARE = """
import os, sys
# Not a few bytes after a page's start, where a bytearray of this size begins: Linux copies more slowly to there.
buffer = memoryview(bytearray((1 << 20) + 64))[64:]
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        file = os.open(f"{folder}/{name}", os.O_RDONLY)
        while os.readv(file, [buffer]):
            pass
        os.close(file)
"""
LINES = """
import os, sys
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        with open(f"{folder}/{name}", "rb") as file:
            for line in file:
                pass
"""
NEW_HOUR = """
import json, sys, time
from pathlib import Path
from monitoring.captures.line import Classes
from monitoring.store.aggregates import Thresholds
from monitoring.store.store import Store
from monitoring.store.update import update
store = Store(Path(sys.argv[2]), Classes.of(["bicycle", "motorcycle"]))
taken = []
for captures in sorted(Path(sys.argv[1]).iterdir()):
    started = time.process_time()
    update(store, captures, Thresholds(0.93))
    taken.append(1000 * (time.process_time() - started))
print(json.dumps(taken[1:]))
"""


@dataclass(frozen=True)
class Cost:
    """CPU seconds of the cheapest run, and the largest process of all runs."""

    cpu_s: float
    peak_mib: float


def main() -> None:
    """Print what the parts cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts: dict[str, Callable[[Path, argparse.Namespace], None]] = {
        "raw": raw, "processes": processes, "hours": hours, "photographs": photographs,
    }  # fmt: skip
    parser.add_argument("--part", choices=parts, help="(default: all)")
    parser.add_argument("--records", type=int, default=1_000_000, help="(default: a million)")
    parser.add_argument("--endpoints", type=int, default=10, help="of so many records each, in processes (default: 10)")
    parser.add_argument("--photographs", type=int, default=10_000, help="(default: 10,000)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each (default: 3)")
    parser.add_argument("--captures", type=Path, help="captures that an earlier run wrote, instead of new ones")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scones-scale-") as folder:
        for name, part in parts.items():
            if given.part in (None, name):
                part(Path(folder), given)


def raw(folder: Path, given: argparse.Namespace) -> None:
    """A million records beside a bare read."""
    captures = _captures(folder, given)
    compared(f"{given.records:,} records", folder, captures, given.runs)


def photographs(folder: Path, given: argparse.Namespace) -> None:
    """Records of 100 kB."""
    captures = folder / "photographs"
    write(captures, given.photographs, PHOTOGRAPHS_PER_FILE, PHOTOGRAPH_CHARACTERS)
    compared(f"{given.photographs:,} records with photographs of 100 kB", folder, captures, given.runs)


def compared(what: str, folder: Path, captures: Path, runs: int) -> None:
    """Print what the store costs, and what the reads do."""
    ways = {
        "store": lambda: update_command(captures, folder / "states"),
        "bare read": lambda: [sys.executable, "-c", BARE, str(captures)],
        "lines": lambda: [sys.executable, "-c", LINES, str(captures)],
        "start": lambda: [sys.executable, "-c", "import monitoring.store.update"],
    }
    costs = cheapest(ways, runs)
    shutil.rmtree(folder / "states")
    print(f"{what}, {size(captures) / 1e9:.1f} GB")
    for name, cost in costs.items():
        times = costs["store"].cpu_s / cost.cpu_s
        print(
            f"  {name:9} {cost.cpu_s:6.2f} s CPU, {cost.peak_mib:4.0f} MiB; the store takes {times:.1f} times as much"
        )


def processes(folder: Path, given: argparse.Namespace) -> None:
    """Ten million records with one process and with two."""
    captures, linked = _captures(folder, given), folder / "linked"
    for number in range(given.endpoints):
        for path in captures.rglob("*.jsonl"):
            target = linked / f"vehicles-{number}" / path.relative_to(captures / "vehicles")
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    print(f"{given.records * given.endpoints:,} records")
    taken: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    for _ in range(given.runs):
        for count, found in taken.items():
            found.append(watched(update_command(linked, folder / "states", count)))
            print(f"  {count} processes: {found[-1][0]:.1f} s wall, the busiest {found[-1][1]:.1f} s CPU", flush=True)
    wall, cpu = (min(each[at] for each in taken[1]) / min(each[at] for each in taken[2]) for at in (0, 1))
    print(f"  two are {wall:.2f} times as fast here, {cpu:.2f} times by the CPU of the busiest")


def watched(command: list[str]) -> tuple[float, float]:
    """Wall seconds of a command, and the CPU seconds of the process of it that took most: the wall of free cores."""
    started, busiest = time.perf_counter(), 0.0
    with psutil.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT) as process:
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                busiest = max(busiest, *map(cpu_s, [process, *process.children()]))
            time.sleep(POLL_S)
    return time.perf_counter() - started, busiest


def hours(folder: Path, given: argparse.Namespace) -> None:
    """A new hour, with few hours kept and with many."""
    for kept in (1, 30, 720):
        state, captures = folder / f"state-{kept}", folder / f"kept-{kept}"
        for number in range(kept):
            write_hour(captures, FIRST_HOUR + timedelta(hours=number), 1, KEPT_RECORDS, random.Random(number))  # noqa: S311
        _run(update_command(captures, state, name=""))
        print(f"a new hour with {kept} hours kept: {new_hour(folder, state, kept, given.runs):.1f} ms CPU")
    before = str(date.fromisoformat(f"{FIRST_HOUR:%Y-%m-%d}") + timedelta(days=60))
    _run([sys.executable, "-m", "monitoring.store.compact", "--state", str(state), "--before", before])
    print(f"and with 720 hours in 30 files: {new_hour(folder, state, 1720, given.runs):.1f} ms CPU")


def new_hour(folder: Path, state: Path, label: int, runs: int) -> float:
    """Milliseconds of CPU inside a process that has taken an hour in before; the cheapest."""
    new = folder / f"new-{label}"
    for number in range(3 * runs + 1):
        hour = FIRST_HOUR + timedelta(days=60 + label % 97, hours=number)
        write_hour(new / f"{number:03d}", hour, HOUR_FILES, HOUR_RECORDS // HOUR_FILES, random.Random(number))  # noqa: S311
    taken: list[float] = json.loads(_run([sys.executable, "-c", NEW_HOUR, str(new), str(state)]))
    return min(taken)


def cheapest(ways: dict[str, Callable[[], list[str]]], runs: int) -> dict[str, Cost]:
    """Run commands in turn."""
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, command in ways.items():
            taken[name].append(measured(command()))
    return {
        name: Cost(min(cpu for _, cpu, _ in found), max(peak for _, _, peak in found)) for name, found in taken.items()
    }


def update_command(captures: Path, states: Path, count: int = 1, name: str | None = None) -> list[str]:
    """Reads captures into a new state, since ext4 is slow where files were just removed."""
    number = len(list(states.iterdir())) if name is None and states.exists() else 0
    state = states / f"{number}" if name is None else states
    state.mkdir(parents=True)
    job = [sys.executable, "-m", "monitoring.store.update", "--captures", str(captures), "--state", str(state)]
    return [*job, "--classes", "bicycle,motorcycle", "--processes", str(count)]


def size(captures: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in captures.rglob("*.jsonl"))


def _captures(folder: Path, given: argparse.Namespace) -> Path:
    captures: Path = given.captures or folder / "captures"
    if not captures.exists():
        write(captures, given.records, RECORDS_PER_FILE)
    return captures


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


if __name__ == "__main__":
    main()
