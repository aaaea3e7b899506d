"""A few test images with the answers that the evaluated model gave them: what a deployment asks an endpoint first.

Runs in the evaluation job. `lambdas/deployment/smoke.py` reads the document, which lies beside ``evaluation.json``.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TypedDict

import numpy as np

from processing.evaluation.answers import Evaluated

PER_CLASS = 2
MOST_CLASSES = 100
"""That are asked about; of more, so many are chosen, evenly: a deployment waits for each answer."""


class SmokeImage(TypedDict):
    """A PNG file as BASE64, what it shows, and the probabilities that the model gave it, in the classes' order."""

    name: str
    content_type: str
    label: str
    probabilities: list[float]
    data: str


class SmokeDocument(TypedDict):
    """``smoke.json``."""

    classes: list[str]
    images: list[SmokeImage]


def smoke_document(measured: Evaluated, dataset: Path) -> SmokeDocument:
    """For each class the images that the model is most sure of, so that the next processor says the same."""
    return {
        "classes": measured.classes,
        "images": [_image(measured, at, dataset) for label in _asked(measured) for at in _surest(measured, label)],
    }


def _asked(measured: Evaluated) -> list[int]:
    count = len(measured.classes)
    chosen: list[int] = np.linspace(0, count - 1, min(count, MOST_CLASSES)).astype(np.int64).tolist()
    return chosen


def _surest(measured: Evaluated, label: int) -> list[int]:
    rows = np.flatnonzero(measured.labels == label)
    order = np.argsort(-measured.probabilities[rows, label], kind="stable")
    surest: list[int] = rows[order][:PER_CLASS].tolist()
    return surest


def _image(measured: Evaluated, at: int, dataset: Path) -> SmokeImage:
    example = measured.examples[at]
    return {
        "name": example.path.relative_to(dataset).as_posix(),
        "content_type": "image/png",
        "label": measured.classes[example.label],
        "probabilities": measured.probabilities[at].tolist(),
        "data": base64.b64encode(example.path.read_bytes()).decode(),
    }
