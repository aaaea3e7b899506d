"""How right, sure and dear a recipe's model is: ``python -m benchmarks.model.accuracy --recipe pretrained --cv``.

Runs on a laptop, with the containers' own commands in a temporary folder: filter, train, and the exported model through
``serving``. A line per seed (200 held-out test images) and, with --cv, per fold of the 1,000 training images (each fold
is predicted by a model that saw nothing of it: of the other folds a tenth is the validation split). Then their means.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.model.filter import MEASURE  # noqa: E402  # the path above comes first
from imaging.dataset import Example, format_rows, load_split, read_examples, read_manifest  # noqa: E402  # the path above comes first
from reporting.documents.dataset import MANIFEST_FILE  # noqa: E402  # likewise
from reporting.documents.json import to_text  # noqa: E402  # likewise
from serving.inference import model_fn, predict_fn  # noqa: E402  # likewise

THRESHOLD = 0.93
BINS = 10
CHUNK = 25  # images that are predicted at once
VALIDATION_SHARE = 10  # one of so many
Row = dict[str, Any]


def main() -> None:
    """Measure what the arguments ask for and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", choices=("scratch", "pretrained"), default="scratch")
    parser.add_argument("--mode", choices=("frozen", "fine-tuned", "distilled"), help="of the recipe pretrained")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 0 (default: 5)")
    parser.add_argument("--cv", action="store_true", help="cross-validate on the training images, too")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=0, help="0: the recipe's own number")
    parser.add_argument("--members", type=int, default=0, help="0: the recipe's own number")
    parser.add_argument("--classes", default="", help="without: all of a folder, bicycles and motorcycles of CIFAR-100")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0", help="timm's name of the pretrained network")
    parser.add_argument("--precision", choices=("float32", "int8"), default="float32", help="of the exported model")
    parser.add_argument("--image-size", type=int, default=0, help="0: 32 for thumbnails, 224 for photographs")
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "cifar100", help="the archive, or pictures"
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--checkpoints", type=Path, help="keep them here: a teacher is then trained once for two modes")
    arguments = parser.parse_args()
    options = ["--recipe", arguments.recipe, "--epochs", arguments.epochs, "--members", arguments.members]
    options += ["--backbone", arguments.backbone, "--precision", arguments.precision]
    if arguments.mode:
        options += ["--pretrained-mode", arguments.mode]
    report: dict[str, Any] = {"recipe": arguments.recipe, "mode": arguments.mode, "threshold": THRESHOLD}
    with tempfile.TemporaryDirectory(prefix="scones-benchmark-") as name:
        folder = Path(name)
        sources = [
            filtered(seed, arguments.data, arguments.classes, folder, arguments.image_size)
            for seed in range(max(1, arguments.seeds))
        ]
        report["test"] = [
            measure(f"seed {seed}", sources[seed], seed, options, arguments) for seed in range(arguments.seeds)
        ]
        if arguments.cv:
            folds = [fold_dataset(sources[0], fold, arguments.folds, folder) for fold in range(arguments.folds)]
            report["cv"] = [measure(f"fold {number}", fold, 0, options, arguments) for number, fold in enumerate(folds)]
            report["out_of_fold"] = best_temperatures(report["cv"])
    for row in [*report["test"], *report.get("cv", [])]:
        del row["logits"], row["labels"]
    report["summary"] = {part: summary(report[part]) for part in ("test", "cv") if report.get(part)}
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for part, row in report["summary"].items():
        print(f"{part}: {text(row)}")
    for name, row in report.get("out_of_fold", {}).items():
        print(f"out of fold, {name} is least at T {row['temperature']:.2f}: {text(row)}")


def filtered(seed: int, data: Path, classes: str, folder: Path, image_size: int = 0) -> Path:
    """The dataset folder of a seed, which chooses the validation images; size 0 is what suits the pictures."""
    dataset = folder / f"dataset-{seed}"
    places = ["--source", data, "--output", dataset]
    places += ["--classes", classes, "--image-size", image_size]
    run("-m", "processing.filter_cifar", *places, "--seed", seed)
    return dataset


def fold_dataset(source: Path, fold: int, folds: int, folder: Path) -> Path:
    """A dataset folder whose test split is one fold of the source's training and validation images."""
    target = folder / f"fold-{fold}"
    examples = [example for split in ("train", "validation") for example in read_examples(source, split)]
    splits: dict[str, list[Example]] = {"train": [], "validation": [], "test": []}
    for label in sorted({example.label for example in examples}):
        of_class = sorted((e for e in examples if e.label == label), key=lambda example: example.path.name)
        order = np.random.default_rng(label).permutation(len(of_class))
        splits["test"] += [of_class[i] for place, i in enumerate(order) if place % folds == fold]
        rest = [of_class[i] for place, i in enumerate(order) if place % folds != fold]
        splits["validation"] += rest[::VALIDATION_SHARE]
        splits["train"] += [example for place, example in enumerate(rest) if place % VALIDATION_SHARE]
    manifest = read_manifest(source)
    counts = {
        split: {name: sum(e.label == label for e in chosen) for label, name in enumerate(manifest.classes)}
        for split, chosen in splits.items()
    }
    for split, chosen in splits.items():
        (target / split).mkdir(parents=True)
        rows = []
        for number, example in enumerate(chosen):
            shutil.copyfile(example.path, target / split / f"{number:05d}.png")
            rows.append((example.label, f"{number:05d}.png"))
        (target / f"{split}.lst").write_text(format_rows(rows), encoding="utf-8")
    (target / MANIFEST_FILE).write_text(
        to_text(msgspec.structs.replace(manifest, counts=counts), indent=2), encoding="utf-8"
    )
    return target


def measure(name: str, dataset: Path, seed: int, options: list[Any], arguments: argparse.Namespace) -> Row:
    """Train on a dataset folder and score the exported model on its test split."""
    model = dataset.with_name(f"model-{dataset.name}")
    places: list[Any] = ["--dataset", dataset, "--model-dir", model]
    if arguments.checkpoints:
        checkpoints = arguments.checkpoints / dataset.name
        checkpoints.mkdir(parents=True, exist_ok=True)
        places += ["--checkpoint-dir", checkpoints]
    cpu_s, peak_mib = run("training/train.py", *places, "--seed", seed, *options)
    record = json.loads((model / "training.json").read_text(encoding="utf-8"))
    images, labels = load_split(dataset, "test")
    served = model_fn(str(model))
    parts = [predict_fn(images[at : at + CHUNK], served) for at in range(0, len(images), CHUNK)]
    probabilities = np.concatenate(parts)
    row = {**scores(probabilities, labels), "temperature": record["temperature"]}
    row |= {"cpu_seconds": cpu_s, "peak_mib": peak_mib, "process_cpu_seconds": record["process_cpu_seconds"]}
    row |= {"precision": record["precision"]}
    row |= {"logits": np.log(np.maximum(probabilities, 1e-30)) * record["temperature"], "labels": labels}
    processes = " + ".join(f"{seconds:.0f}" for seconds in row["process_cpu_seconds"])
    more = f"peak {peak_mib:.0f} MiB, {record['precision']}"
    print(f"{name}: {text(row)} (processes {processes}), {more}, T {row['temperature']:.2f}", flush=True)
    return row


def scores(probabilities: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> Row:
    """Accuracy, expected calibration error, and what a threshold lets pass."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(confidence[bins == b].sum() - right[bins == b].sum()) for b in range(BINS)]
    passing = confidence >= THRESHOLD
    return {
        "accuracy": float(right.mean()),
        "coverage": float(passing.mean()),
        "passing_accuracy": float(right[passing].mean()) if passing.any() else 1.0,
        "calibration_error": float(sum(gaps) / len(labels)),
    }


def best_temperatures(folds: list[Row]) -> dict[str, Row]:
    """The one temperature for all folds that two scores of their held-out answers ask for, and what it lets pass."""
    logits, labels = (np.concatenate([fold[name] for fold in folds]) for name in ("logits", "labels"))
    truth = np.eye(logits.shape[1])[labels]
    candidates = []
    for temperature in np.arange(0.4, 1.61, 0.05):
        scaled = np.exp(logits / temperature - (logits / temperature).max(axis=1, keepdims=True))
        probabilities = scaled / scaled.sum(axis=1, keepdims=True)
        row = {**scores(probabilities, labels), "temperature": float(temperature)}
        row |= {"cpu_seconds": sum(fold["cpu_seconds"] for fold in folds)}
        row["log loss"] = float(-np.log(np.maximum((probabilities * truth).sum(axis=1), 1e-30)).mean())
        row["squared error"] = float(((probabilities - truth) ** 2).sum(axis=1).mean())
        candidates.append(row)
    return {name: min(candidates, key=lambda row: row[name]) for name in ("log loss", "squared error")}


def summary(rows: list[Row]) -> Row:
    """The mean of each figure, and the standard deviation of the accuracy."""
    figures = ("accuracy", "coverage", "passing_accuracy", "calibration_error", "cpu_seconds")
    means: Row = {figure: statistics.mean(row[figure] for row in rows) for figure in figures}
    means["peak_mib"] = max(row["peak_mib"] for row in rows)
    deviation = statistics.stdev(row["accuracy"] for row in rows) if len(rows) > 1 else 0.0
    return {**means, "runs": len(rows), "accuracy_deviation": deviation}


def text(row: Row) -> str:
    """One line of figures."""
    spread = f" ± {row['accuracy_deviation']:.4f} over {row['runs']}" if "runs" in row else ""
    passing = f"at {THRESHOLD} {row['coverage']:.1%} pass, {row['passing_accuracy']:.2%} of them right"
    cost = f"ECE {row['calibration_error']:.3f}, {row['cpu_seconds']:.0f} CPU s"
    return f"accuracy {row['accuracy']:.4f}{spread}, {passing}, {cost}"


def run(*arguments: object) -> tuple[float, float]:
    """A command of the containers, from the repository root; CPU seconds and the largest process's MiB.

    Ends the benchmark when it fails.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", MEASURE, sys.executable, *map(str, arguments)]
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    code, cpu_s, peak_mib = finished.stdout.split() or ["1", "0", "0"]
    if code != "0":
        sys.exit(f"{arguments[0]} {arguments[1]} failed: {finished.stderr.strip()[-500:]}")
    return float(cpu_s), float(peak_mib)


if __name__ == "__main__":
    main()
