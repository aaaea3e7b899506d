"""A model's baseline: healthy predictions that traffic is held against.

Runs in the monitoring container. Reads ``baseline.json``, which ``monitoring.baseline`` writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monitoring.drift.channels import Predictions
from monitoring.drift.detector import Floats
from processing.evaluation.scores import Labels
from reporting.documents.baseline import VERSION, BaselineDocument
from reporting.documents.json import DocumentError, from_bytes


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
    document: BaselineDocument
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


def read_baseline(path: Path, classes: Sequence[str] | None = None) -> Baseline:
    """The baseline in a file. Raises BaselineError when it is none, or one of other classes than the given."""
    try:
        document = from_bytes(path.read_bytes(), BaselineDocument)
        records = document.records
        found = Baseline(
            classes=tuple(document.classes),
            origin=document.origin,
            confidence=np.array(records.confidence, np.float64),
            predicted=np.array(records.predicted, np.int64),
            statistics={name: np.array(values, np.float64) for name, values in records.statistics.items()},
            document=document,
        )
    except (OSError, DocumentError, OverflowError) as error:
        raise BaselineError(
            f"{path} is no baseline ({error}): expected what `python -m monitoring.baseline` writes"
        ) from error
    columns = [found.confidence, found.predicted, *found.statistics.values()]
    if document.version != VERSION or {column.shape for column in columns} != {(len(found.confidence),)}:
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
