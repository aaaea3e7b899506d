"""Test accuracy and cost of the default training, over several seeds: ``python benchmarks/accuracy.py --seeds 5``.

Runs on a laptop, with the containers' own commands in a temporary folder: filter, train, evaluate. Prints a line for
each seed and their mean; accuracy is on the 200 held-out test images, seconds are of the training step alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 0 (default: 5)")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "cifar100", help="folder of the archive")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scones-benchmark-") as folder:
        results = [measure(seed, arguments.epochs, arguments.data, Path(folder)) for seed in range(arguments.seeds)]
    accuracies = [accuracy for accuracy, _, _ in results]
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    print(
        f"mean of {len(results)} seeds at {arguments.epochs} epochs: accuracy {statistics.mean(accuracies):.4f}"
        f" (standard deviation {spread:.4f}), {statistics.mean(w for _, w, _ in results):.1f} s,"
        f" {statistics.mean(c for _, _, c in results):.1f} CPU s"
    )


def measure(seed: int, epochs: int, data: Path, folder: Path) -> tuple[float, float, float]:
    """One seed: test accuracy, wall seconds and CPU seconds of training."""
    dataset, model, packed, evaluation = (
        folder / f"{name}-{seed}" for name in ("data", "model", "packed", "evaluation")
    )
    run(
        "-m",
        "processing.filter_cifar",
        "--source",
        data,
        "--output",
        dataset,
        "--classes",
        "bicycle,motorcycle",
        "--seed",
        seed,
    )
    wall, cpu = time.perf_counter(), cpu_seconds()
    run("training/train.py", "--dataset", dataset, "--model-dir", model, "--epochs", epochs, "--seed", seed)
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    packed.mkdir()
    with tarfile.open(packed / "model.tar.gz", "w:gz") as archive:
        archive.add(model, arcname=".")
    run(
        "-m",
        "processing.evaluate",
        "--model",
        packed,
        "--dataset",
        dataset,
        "--output",
        evaluation,
        "--threshold",
        0.93,
    )
    document = json.loads((evaluation / "evaluation.json").read_text(encoding="utf-8"))
    accuracy = float(document["multiclass_classification_metrics"]["accuracy"]["value"])
    print(f"seed {seed}: accuracy {accuracy:.4f}, {wall:.1f} s, {cpu:.1f} CPU s", flush=True)
    return accuracy, wall, cpu


def run(*arguments: object) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    finished = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if finished.returncode != 0:
        sys.exit(f"{arguments[0]} {arguments[1]} failed: {finished.stderr.strip()[-500:]}")


def cpu_seconds() -> float:
    """CPU seconds of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
