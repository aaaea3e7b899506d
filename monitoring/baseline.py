"""The baseline job: what a model answers on its validation images, through the code that serves it.

Runs in a SageMaker processing container (``python -m monitoring.baseline``), in the stand-in account and in tests.
Reads the training job's ``model.tar.gz`` and the dataset folder. Writes ``baseline.json``, and for readers of Model
Monitor's files ``statistics.json`` and ``constraints.json``; all three go with the model package, so that each version
is held against its own. `read_baseline` is for the monitoring job.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imaging.dataset import DatasetError, load_split, read_examples, read_manifest
from imaging.labels import LabelsError
from imaging.statistics import image_statistics
from monitoring.drift.channels import Predictions
from monitoring.drift.detector import Floats
from monitoring.drift.findings import RATE_PER_MONTH
from monitoring.publish import model_monitor
from processing.evaluation.answers import MODEL_ARCHIVE, load_model, served_probabilities, stored_probabilities
from processing.evaluation.scores import Labels, calibration_error, reliability, wilson_interval
from reporting.job import MESSAGE_FILE, JobError, run_job
from serving.inference import ModelError

VERSION = 1
BASELINE_FILE = "baseline.json"
# More would not make the bounds narrower than what is worth an alarm, and the file longer than it must be.
MOST_RECORDS = 5000
_DIGITS = 6


class BaselineError(Exception):
    """A file that is no baseline, or the baseline of other classes; the message says what was expected."""


@dataclass(frozen=True)
class Baseline:
    """Healthy predictions of a model."""

    classes: tuple[str, ...]
    origin: str
    """``validation split``, ``test split`` or ``traffic from ... to ...``."""
    confidence: Floats
    predicted: Labels
    statistics: Mapping[str, Floats]
    document: Mapping[str, Any]
    """The whole file."""

    def predictions(self, thresholds: Sequence[float]) -> Predictions:
        """As the detectors take them; ``thresholds`` by class, since these may have changed since."""
        return Predictions(
            hour=np.zeros(len(self.confidence), np.int64),
            confidence=self.confidence,
            predicted=self.predicted,
            passes=self.confidence >= np.array(thresholds)[self.predicted],
            statistics=self.statistics,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; the exit status."""
    arguments = _parser().parse_args(argv)

    def work() -> None:
        try:
            write(arguments)
        except (DatasetError, LabelsError, ModelError) as error:
            raise JobError(str(error)) from error
        print(arguments.output / BASELINE_FILE)

    return run_job("baseline", work, arguments.message_file)


def write(arguments: argparse.Namespace) -> None:
    """Write the three files, `baseline.json` last. Raises what main() turns into a message."""
    split = "test" if arguments.predictions else "validation"
    classes = read_manifest(arguments.dataset)["classes"]
    examples = read_examples(arguments.dataset, split)
    if arguments.predictions:
        probabilities = stored_probabilities(arguments.predictions, arguments.dataset / split, examples, len(classes))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            model = load_model(arguments.model / MODEL_ARCHIVE, Path(scratch))
            if list(model.classes) != list(classes):
                raise JobError(
                    f"the model knows {list(model.classes)}, the dataset {list(classes)}: take those of one run"
                )
            probabilities = served_probabilities(model, examples)
    pixels, labels = load_split(arguments.dataset, split)
    seen = Predictions(
        hour=np.zeros(len(labels), np.int64),
        confidence=probabilities.max(axis=1),
        predicted=probabilities.argmax(axis=1),
        passes=probabilities.max(axis=1) >= arguments.threshold,
        statistics=image_statistics(pixels),
    )
    document = describe(seen, classes, f"{split} split", arguments.threshold) | _quality(labels, probabilities)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, text in files(seen, document).items():
        partial = arguments.output / f"{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(arguments.output / name)


def files(seen: Predictions, document: Mapping[str, Any]) -> dict[str, str]:
    """The three files by name, ``baseline.json`` last; ``document`` is what `describe` says of the predictions."""
    contents = {
        model_monitor.STATISTICS_FILE: model_monitor.statistics(seen, document["classes"]),
        model_monitor.CONSTRAINTS_FILE: model_monitor.constraints(seen, document["classes"], RATE_PER_MONTH),
        BASELINE_FILE: document,
    }
    return {name: json.dumps(content, indent=1, allow_nan=False) + "\n" for name, content in contents.items()}


def describe(seen: Predictions, classes: Sequence[str], origin: str, threshold: float) -> dict[str, Any]:
    """``baseline.json`` about healthy predictions: what they amount to, and at most MOST_RECORDS of them."""
    kept = seen.at(np.unique(np.linspace(0, len(seen) - 1, min(len(seen), MOST_RECORDS)).astype(np.int64)))
    return {
        "version": VERSION,
        "classes": list(classes),
        "origin": origin,
        "count": len(seen),
        "threshold": threshold,
        "mean_confidence": float(seen.confidence.mean()),
        "share_below_threshold": float((~seen.passes).mean()),
        "class_shares": {name: float((seen.predicted == index).mean()) for index, name in enumerate(classes)},
        "records": {
            "confidence": _rounded(kept.confidence),
            "predicted": kept.predicted.tolist(),
            "statistics": {name: _rounded(values) for name, values in kept.statistics.items()},
        },
    }


def _quality(labels: Labels, probabilities: Floats) -> dict[str, Any]:
    right = int((probabilities.argmax(axis=1) == labels).sum())
    bins = reliability(labels, probabilities)
    return {
        "accuracy": {"value": right / len(labels), "interval": list(wilson_interval(right, len(labels)))},
        "calibration": {"error": calibration_error(bins), "bins": bins},
    }


def read_baseline(path: Path, classes: Sequence[str] | None = None) -> Baseline:
    """The baseline in a file. Raises BaselineError when it is none, or one of other classes than the given."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        records = document["records"]
        found = Baseline(
            classes=tuple(document["classes"]),
            origin=str(document["origin"]),
            confidence=np.array(records["confidence"], np.float64),
            predicted=np.array(records["predicted"], np.int64),
            statistics={str(name): np.array(values, np.float64) for name, values in records["statistics"].items()},
            document=document,
        )
        version = document["version"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaselineError(
            f"{path} is no baseline ({error!r}): expected what `python -m monitoring.baseline` writes"
        ) from error
    columns = [found.confidence, found.predicted, *found.statistics.values()]
    if version != VERSION or {column.shape for column in columns} != {(len(found.confidence),)}:
        raise BaselineError(f"{path} is no baseline of version {VERSION} with columns of one length: build it again")
    if len(found.confidence) < 2 or not (found.predicted >= 0).all() or (found.predicted >= len(found.classes)).any():
        raise BaselineError(
            f"{path} must hold at least 2 predictions of its {len(found.classes)} classes: build it again"
        )
    if classes is not None and found.classes != tuple(classes):
        raise BaselineError(
            f"{path} is the baseline of a model with the classes {', '.join(found.classes)}, but the traffic is of one "
            f"with {', '.join(classes)}: take the baseline of the version that served"
        )
    return found


def _rounded(values: Floats) -> list[float | None]:
    return [round(value, _DIGITS) if np.isfinite(value) else None for value in values.tolist()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m monitoring.baseline", description="What a model's answers look like."
    )
    job = Path("/opt/ml/processing")
    parser.add_argument("--model", type=Path, default=job / "input/model", help=f"folder with {MODEL_ARCHIVE}")
    parser.add_argument("--predictions", type=Path, help="a batch transform's outputs for the test images, instead")
    parser.add_argument("--dataset", type=Path, default=job / "input/dataset")
    parser.add_argument("--output", type=Path, default=job / "output/baseline")
    parser.add_argument("--threshold", type=float, default=0.93, help="confidence at which a prediction passes")
    parser.add_argument("--message-file", type=Path, default=MESSAGE_FILE, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
