"""What filtering photographs costs, on one instance and on two: ``python -m benchmarks.model.photographs``.

Runs on a laptop (Linux). Draws JPEG photographs of 320 x 240 pixels (blurred noise: they compress as real ones do) in
class folders, and filters them to 224 pixels with the containers' commands: as one job, and as two parts at once with
their merge. Prints photographs a CPU second, peaks of memory, and what both grow to for a hundred thousand: the cost of
one more photograph is the difference between all and half of them (of fewer than 4,000 the peak says little). A part
has one core and one thread, so on a machine that others use, its CPU seconds say what its wall would be on a quiet one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.model.filter import MEASURE, memory_folder

ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT = 320, 240
EXTRAPOLATED = 100_000
Used = tuple[float, float, float]
"""CPU seconds, MiB of peak memory, wall seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=4000, help="photographs (default: 4000)")
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--json", action="store_true", help="print one document")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scones-photographs-", dir=memory_folder()) as name:
        figures = measure(Path(name), arguments.count, arguments.classes)
    if arguments.json:
        print(json.dumps(figures))
        return
    for what, value in figures.items():
        print(f"{what:66} {value:10.4g}")


def measure(folder: Path, count: int, classes: int) -> dict[str, float]:
    """All figures, by what they are."""
    parts = [draw(folder / f"half-{half}", range(half, count, 2), classes) for half in (0, 1)]
    whole = folder / "whole"
    for part in parts:
        for path in part.rglob("*.jpg"):
            target = whole / path.relative_to(part)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    half, all_of = (filtered(source, folder) for source in (parts[0], whole))
    alone = parts_filtered([whole], folder)
    together = parts_filtered(parts, folder)
    merging = run("processing.shards.merge", *merge_options(folder, 2))
    each_s = (all_of[0] - half[0]) / (count - count // 2)
    each_mib = max(0.0, all_of[1] - half[1]) / (count - count // 2)
    return {
        "photographs": count,
        "one job: CPU seconds": all_of[0],
        "one job: photographs a CPU second, its start included": count / all_of[0],
        "one job: photographs a CPU second, of one more": 1 / each_s,
        "one job: peak MiB": all_of[1],
        f"one job: peak MiB for {EXTRAPOLATED:,}, extrapolated": all_of[1] + each_mib * (EXTRAPOLATED - count),
        "one part: wall seconds": alone[2],
        "two parts at once: wall seconds": together[2],
        "two parts at once: times as fast": alone[2] / together[2],
        "two parts at once: times as fast where nobody else takes the cores": alone[0] / together[0],
        "merge: CPU seconds": merging[0],
        "merge: peak MiB": merging[1],
    }


def draw(folder: Path, numbers: range, classes: int) -> Path:
    """Photographs in class folders."""
    for number in numbers:
        generator = np.random.default_rng(number)
        coarse = generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        fine = Image.fromarray(generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
        picture = Image.blend(picture, fine.filter(ImageFilter.BoxBlur(1)), 0.25)
        path = folder / f"class {number % classes:03d}" / f"{number:07d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=85)
    return folder


def filtered(source: Path, folder: Path) -> Used:
    with tempfile.TemporaryDirectory(dir=folder) as output:
        return run("processing.filter_cifar", "--source", str(source), "--output", output)


def parts_filtered(parts: list[Path], folder: Path) -> Used:
    """The most that one of the parts takes, all at once, one process and one core each; the merge reads their index."""

    def filter_part(number: int) -> Used:
        places = ["--source", str(parts[number]), "--output", str(folder / f"dataset-{len(parts)}")]
        places += ["--index", str(folder / f"index-{len(parts)}")]
        return run("processing.shards.part", *places, "--host", f"algo-{number + 1}", core=number)

    with ThreadPoolExecutor(len(parts)) as pool:
        cpu_s, peak_mib, wall_s = (
            max(of_all) for of_all in zip(*pool.map(filter_part, range(len(parts))), strict=True)
        )
        return cpu_s, peak_mib, wall_s


def merge_options(folder: Path, instances: int) -> list[str]:
    places = ["--index", str(folder / f"index-{instances}"), "--output", str(folder / f"dataset-{instances}")]
    return [*places, "--instances", str(instances)]


def run(module: str, *options: str, core: int | None = None) -> Used:
    """A container's command in a process of its own, on one core where one is named."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pinned = [] if core is None else ["taskset", "-c", str(core % (os.cpu_count() or 1))]
    command = [*pinned, sys.executable, "-c", MEASURE, sys.executable, "-m", module, *options]
    began = time.perf_counter()
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    code, cpu_s, peak_mib = finished.stdout.split() or ["1", "0", "0"]
    if code != "0":
        sys.exit(f"{module} failed: {finished.stderr.strip()[-500:]}")
    return float(cpu_s), float(peak_mib), time.perf_counter() - began


if __name__ == "__main__":
    main()
