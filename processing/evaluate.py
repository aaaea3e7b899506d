"""Evaluate the model on the held-out test images, through the very functions that serve it.

Runs in a SageMaker processing container. Reads ``model.tar.gz`` and the dataset folder; writes ``evaluation.json``
(SageMaker's ``multiclass_classification_metrics`` and sections of our own) and ``predictions.csv``.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from imaging.dataset import DatasetError, Example, read_examples, read_manifest
from imaging.labels import LabelsError
from processing.archive import extract_archive
from processing.job import MESSAGE_FILE, JobError, run_job
from processing.scores import (
    Floats,
    Labels,
    calibration_error,
    class_scores,
    confusion,
    coverage,
    summary_with_deviation,
    wilson_interval,
)
from serving.inference import (
    JSON_TYPE,
    MODEL_FILE,
    Model,
    ModelError,
    RequestError,
    input_fn,
    model_fn,
    output_fn,
    predict_fn,
)

MODEL_ARCHIVE = "model.tar.gz"
THRESHOLDS = (0.73, 0.93, 0.94)  # always reported, so that evaluations stay comparable when the threshold moves


def main(argv: list[str] | None = None) -> int:
    """Run the job; the exit status."""
    arguments = _parse(argv)

    def work() -> None:
        try:
            document = evaluate(arguments.model, arguments.dataset, arguments.output, arguments.threshold)
        except (DatasetError, LabelsError, ModelError, RequestError) as error:
            raise JobError(str(error)) from error
        accuracy = document["multiclass_classification_metrics"]["accuracy"]["value"]
        low, high = document["accuracy_interval_95"]
        print(f"test accuracy {accuracy:.4f} (95 % interval {low:.4f} to {high:.4f})", flush=True)

    return run_job("evaluate", work, arguments.message_file)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    root = Path("/opt/ml/processing")
    parser = argparse.ArgumentParser(prog="processing.evaluate", description="Evaluate a model on the test images.")
    parser.add_argument("--model", type=Path, default=root / "input/model", help=f"folder with {MODEL_ARCHIVE}")
    parser.add_argument("--dataset", type=Path, default=root / "input/dataset")
    parser.add_argument("--output", type=Path, default=root / "output/evaluation")
    parser.add_argument("--threshold", type=float, default=0.93, help="confidence from which a prediction counts")
    parser.add_argument("--message-file", type=Path, default=MESSAGE_FILE)
    return parser.parse_args(argv)


def evaluate(model_folder: Path, dataset: Path, output: Path, threshold: float) -> dict[str, Any]:
    """Evaluate and write both files; the content of ``evaluation.json``. Raises what main() turns into a message."""
    if not 0.0 <= threshold <= 1.0:
        raise JobError(f"--threshold must lie between 0 and 1, got {threshold}")
    classes = read_manifest(dataset)["classes"]
    examples = read_examples(dataset, "test")
    with tempfile.TemporaryDirectory() as scratch:
        model = _load_model(model_folder, Path(scratch))
        if model.classes != classes:
            raise JobError(f"the model knows {model.classes}, the dataset {classes}: they come from different runs")
        probabilities = np.array([_serve(model, example.path.read_bytes()) for example in examples], dtype=np.float64)
    labels = np.array([example.label for example in examples], dtype=np.int64)
    document = describe(classes, labels, probabilities, threshold)
    output.mkdir(parents=True, exist_ok=True)
    _write_predictions(output / "predictions.csv", classes, examples, probabilities)
    _write_atomically(output / "evaluation.json", json.dumps(document, indent=2) + "\n")
    return document


def _load_model(folder: Path, scratch: Path) -> Model:
    archive = folder / MODEL_ARCHIVE
    if not archive.is_file():
        raise JobError(f"{archive} is missing: expected the training job's model archive, which holds {MODEL_FILE}")
    extract_archive(archive, scratch)
    return model_fn(str(scratch))


def _serve(model: Model, png: bytes) -> list[float]:
    answer = output_fn(predict_fn(input_fn(png, "image/png"), model), JSON_TYPE)
    probabilities: list[float] = json.loads(answer)
    return probabilities


def describe(classes: list[str], labels: Labels, probabilities: Floats, threshold: float) -> dict[str, Any]:
    """``evaluation.json`` for true labels int64 [N] and probabilities float64 [N, classes]."""
    matrix = confusion(labels, probabilities.argmax(axis=1), len(classes))
    named = {name: dict(zip(classes, row, strict=True)) for name, row in zip(classes, matrix.tolist(), strict=True)}
    return {
        "multiclass_classification_metrics": {"confusion_matrix": named, **summary_with_deviation(matrix)},
        "images": len(labels),
        "accuracy_interval_95": list(wilson_interval(int(np.trace(matrix)), len(labels))),
        "classes": _per_class(classes, matrix),
        "calibration_error": calibration_error(labels, probabilities),
        "threshold": threshold,
        "coverage": [coverage(labels, probabilities, value) for value in sorted({*THRESHOLDS, threshold})],
    }


def _per_class(classes: list[str], matrix: Labels) -> dict[str, dict[str, Any]]:
    precision, recall, f1 = class_scores(matrix)
    support = matrix.sum(axis=1)
    return {
        name: {
            "images": int(support[i]),
            "precision": float(precision[i]),
            "recall": float(recall[i]),
            "recall_interval_95": list(wilson_interval(int(matrix[i, i]), int(support[i]))),
            "f1": float(f1[i]),
        }
        for i, name in enumerate(classes)
    }


def _write_predictions(path: Path, classes: list[str], examples: list[Example], probabilities: Floats) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["path", "true", "predicted", "confidence"])
        for example, row in zip(examples, probabilities, strict=True):
            name = f"{example.path.parent.name}/{example.path.name}"
            writer.writerow([name, classes[example.label], classes[int(row.argmax())], float(row.max())])


def _write_atomically(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
