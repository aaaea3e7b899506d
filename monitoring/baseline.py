"""The baseline job: what a model answers on its validation images, through the code that serves it.

Runs in a SageMaker processing container (``python -m monitoring.baseline``), in the stand-in account and in tests.
Reads the training job's ``model.tar.gz`` and the dataset folder. Writes ``baseline.json``, and for readers of Model
Monitor's files ``statistics.json`` and ``constraints.json``; all three go with the model package, so that each version
is held against its own.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from imaging.dataset import DatasetError, read_examples, read_manifest
from imaging.labels import LabelsError
from monitoring.drift.channels import RATE_PER_MONTH, Predictions
from monitoring.drift.detector import Floats
from monitoring.publish import model_monitor
from monitoring.quality.measured_errors import Validation, measure_errors
from monitoring.store.novelty import NOVELTY, NOVELTY_FILE, ask
from monitoring.validation_images import look
from processing.evaluation.answers import MODEL_ARCHIVE, load_model, stored_probabilities
from processing.evaluation.scores import Labels, calibration_error, reliability, wilson_interval
from reporting.documents.baseline import (
    BASELINE_FILE,
    VERSION,
    BaselineDocument,
    BaselineRecords,
    Calibration,
    EstimateError,
    MeasuredShare,
)
from reporting.documents.json import to_text
from reporting.job import MESSAGE_FILE, JobError, run_job
from serving.inference import MODEL_FILE, Model, ModelError

# More would not make the bounds narrower than what is worth an alarm, and the file longer than it must be.
MOST_RECORDS = 5000
_DIGITS = 6


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
    manifest = read_manifest(arguments.dataset)
    classes, size = manifest.classes, manifest.image_size
    examples = read_examples(arguments.dataset, split, len(classes))
    labels = np.array([example.label for example in examples], dtype=np.int64)
    errors: list[EstimateError] | UnsetType = UNSET
    novelty = None
    if arguments.predictions:
        statistics = look(examples, size).statistics
        probabilities = stored_probabilities(arguments.predictions, arguments.dataset / split, examples, len(classes))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            model = load_model(arguments.model / MODEL_ARCHIVE, Path(scratch))
            _check_same(model, classes, size)
            found = look(examples, size, functools.partial(ask, model))
            answered, statistics = found.answered(), found.statistics
            probabilities = answered.probabilities
            if answered.novelty is not None:
                statistics |= {NOVELTY: answered.novelty}
                novelty = (Path(scratch) / MODEL_FILE).read_bytes()
            known = Validation(found.pixels, labels[found.rows], answered.at(found.rows))
            errors = measure_errors(known, functools.partial(ask, model))
    seen = Predictions(
        hour=np.zeros(len(labels), np.int64),
        confidence=probabilities.max(axis=1),
        predicted=probabilities.argmax(axis=1),
        passes=probabilities.max(axis=1) >= arguments.threshold,
        statistics=statistics,
    )
    document = msgspec.structs.replace(
        describe(seen, classes, f"{split} split", arguments.threshold),
        accuracy=_accuracy(labels, probabilities),
        calibration=_calibration(labels, probabilities),
        estimate_errors=errors,
        image_size=size,
    )
    arguments.output.mkdir(parents=True, exist_ok=True)
    if novelty:
        (arguments.output / NOVELTY_FILE).write_bytes(novelty)
    for name, text in files(seen, document).items():
        partial = arguments.output / f"{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(arguments.output / name)


def files(seen: Predictions, document: BaselineDocument) -> dict[str, str]:
    """The three files by name, ``baseline.json`` last; ``document`` is what `describe` says of the predictions."""
    contents: dict[str, object] = {
        model_monitor.STATISTICS_FILE: model_monitor.statistics(seen, document.classes),
        model_monitor.CONSTRAINTS_FILE: model_monitor.constraints(seen, document.classes, RATE_PER_MONTH),
        BASELINE_FILE: document,
    }
    return {name: to_text(content, indent=1) for name, content in contents.items()}


def describe(seen: Predictions, classes: Sequence[str], origin: str, threshold: float) -> BaselineDocument:
    """``baseline.json`` about healthy predictions: what they amount to, and at most MOST_RECORDS of them."""
    kept = seen.at(np.unique(np.linspace(0, len(seen) - 1, min(len(seen), MOST_RECORDS)).astype(np.int64)))
    return BaselineDocument(
        version=VERSION,
        classes=list(classes),
        origin=origin,
        count=len(seen),
        threshold=threshold,
        mean_confidence=float(seen.confidence.mean()),
        share_below_threshold=float((~seen.passes).mean()),
        class_shares={name: float((seen.predicted == index).mean()) for index, name in enumerate(classes)},
        records=BaselineRecords(
            confidence=[round(value, _DIGITS) for value in kept.confidence.tolist()],
            predicted=kept.predicted.tolist(),
            statistics={name: _rounded(values) for name, values in kept.statistics.items()},
        ),
    )


def _check_same(model: Model, classes: Sequence[str], size: int) -> None:
    """Raises JobError for a model that knows other classes than the dataset, or takes images of another size."""
    if list(model.classes) != list(classes):
        raise JobError(f"the model knows {list(model.classes)}, the dataset {list(classes)}: take those of one run")
    if size != model.image_size:
        raise JobError(
            f"the model takes images of {model.image_size} pixels, the dataset's have {size}: take one run's"
        )


def _accuracy(labels: Labels, probabilities: Floats) -> MeasuredShare:
    right = int((probabilities.argmax(axis=1) == labels).sum())
    return MeasuredShare(right / len(labels), list(wilson_interval(right, len(labels))))


def _calibration(labels: Labels, probabilities: Floats) -> Calibration:
    bins = reliability(labels, probabilities)
    return Calibration(calibration_error(bins), bins)


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
