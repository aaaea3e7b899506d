"""What an evaluation logs to MLflow, where it logs at all: its figures, its files and the model archive.

Runs in the evaluation job. The run is that of the training, whose name the model archive holds; else a new one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from reporting.documents.evaluation import Evaluation
from reporting.tracking import ADDRESS, TrackedMetric, tracked_run, trained_in


def log_evaluation(document: Evaluation, output: Path, archive: Path) -> None:
    """Log the evaluation and the archive that was evaluated; nothing without an address."""
    if not os.environ.get(ADDRESS):
        return
    with tracked_run(os.environ, "evaluation", trained_in(archive, os.environ)) as tracked:
        tracked.metrics(list(evaluation_metrics(document)))
        tracked.files(sorted(path for path in output.iterdir() if path.is_file()), "evaluation")
        if archive.is_file():
            tracked.files([archive], "model")


def evaluation_metrics(document: Evaluation) -> Iterator[TrackedMetric]:
    """The figures by which versions are compared; those of a class below its name."""
    yield TrackedMetric("test_accuracy", document.multiclass_classification_metrics.accuracy.value)
    yield TrackedMetric("test_images", document.images)
    for name in ("calibration_error", "area_under_curve"):
        if (value := getattr(document, name)) is not None:
            yield TrackedMetric(name, value)
    for row in document.coverage:
        yield TrackedMetric(f"coverage_at_{row.threshold:g}", row.coverage)
        if row.accuracy is not None:
            yield TrackedMetric(f"accuracy_at_{row.threshold:g}", row.accuracy)
    for name, figures in document.classes.items():
        for figure in ("precision", "recall", "f1"):
            yield TrackedMetric(f"{name}/{figure}", getattr(figures, figure))
