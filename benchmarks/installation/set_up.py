"""What the set-up of a fresh clone costs: ``python benchmarks/installation/set_up.py`` (or with ``--kind build``).

Clones this repository, as it is committed, beside an empty cache of uv's, runs ``make .venv/.run`` twice and prints
wall and CPU seconds of both, and the size of the environment: blocks on the disk, files that are linked counted once.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHOWN = 12


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("run", "build"), default="run")
    kind = parser.parse_args().kind
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        for which in ("fresh", "repeated"):
            wall, processor = seconds(["make", f".venv/.{kind}"], clone, UV_CACHE_DIR=str(Path(folder, "cache")))
            print(f"{which:>9}: {wall:.2f} s, {processor:.2f} CPU seconds")
        show_sizes(clone / ".venv")


def seconds(command: list[str], folder: Path, **environ: str) -> tuple[float, float]:
    """Runs a command; answers the seconds that passed, and those of processors. Raises CalledProcessError."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=folder, env=os.environ | environ, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, used


def show_sizes(venv: Path) -> None:
    """Print the environment's size, that of its compiled modules, and its largest packages."""
    print(
        f"environment: {megabytes([venv]):.0f} MB, {megabytes(venv.rglob('__pycache__')):.0f} of them compiled modules"
    )
    (packages,) = venv.glob("lib/*/site-packages")
    sizes = {path.name: megabytes([path]) for path in packages.iterdir()}
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True)[:SHOWN]:
        print(f"  {name:<20} {sizes[name]:6.0f} MB")


def megabytes(folders: Iterable[Path]) -> float:
    """Answers what files below the folders take on the disk, in millions of bytes."""
    found = [path.lstat() for folder in folders for path in (folder, *folder.rglob("*"))]
    return sum({(each.st_dev, each.st_ino): each.st_blocks * 512 for each in found}.values()) / 1e6


if __name__ == "__main__":
    main()
