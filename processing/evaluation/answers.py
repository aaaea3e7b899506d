"""What is to be scored: a model archive's answers, through the very functions that serve it, or those in files.

Runs in the evaluation job. Reads ``model.tar.gz``, and the learning curves in its ``training.json``; or a folder with
the outputs of a SageMaker batch transform over the test images: ``<path below test/>.out``, each a JSON array of class
probabilities.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imaging.dataset import Example
from processing.dataset.archive import extract_archive
from processing.evaluation.scores import Floats, Labels
from processing.machine import cores
from reporting.documents.json import DocumentError, from_bytes
from reporting.documents.training import TRAINING_FILE, EpochFigures, LearningCurves
from reporting.job import JobError
from serving.inference import (
    JSON_TYPE,
    MODEL_FILE,
    Model,
    ModelError,
    RequestError,
    model_fn,
    output_fn,
    predict_fn,
    read_image,
)

MODEL_ARCHIVE = "model.tar.gz"
OUTPUT_SUFFIX = ".out"  # what a batch transform appends to the name of its input
SUM_TOLERANCE = 0.01  # the built-in algorithm computes its softmax in 32 or 16 bits and prints it rounded
NAMED = 5


@dataclass(frozen=True)
class Evaluated:
    """What was measured: the test images, their labels int64 [N] and the probabilities float64 [N, classes]."""

    classes: list[str]
    examples: list[Example]
    labels: Labels
    probabilities: Floats
    history: list[EpochFigures]
    """The learning curves; empty where they are not known."""


def load_model(archive: Path, scratch: Path) -> Model:
    """The model of an archive, unpacked into ``scratch``. Raises JobError, ModelError or LabelsError."""
    if not archive.is_file():
        raise JobError(f"{archive} is missing: expected the training job's model archive, which holds {MODEL_FILE}")
    extract_archive(archive, scratch)
    return model_fn(str(scratch))


def read_history(folder: Path) -> list[EpochFigures]:
    """The learning curves of an unpacked model archive; empty for archives that do not hold them (older ones)."""
    try:
        return from_bytes((folder / TRAINING_FILE).read_bytes(), LearningCurves).history
    except (OSError, DocumentError):
        return []


def served_probabilities(model: Model, examples: list[Example]) -> Floats:
    """The endpoint's answers for the images, float64 [N, classes]. Raises JobError, which names the image."""

    def answer(example: Example) -> object:
        try:
            prediction = predict_fn(read_image(example.path.read_bytes(), "image/png", model.image_size), model)
            return json.loads(output_fn(prediction, JSON_TYPE))
        except (RequestError, ModelError) as error:
            raise JobError(f"{example.path}: the serving code gives no answer: {error}") from error

    rows, faults = _collect(examples, lambda example: _checked(answer(example), len(model.classes)))
    if faults:
        raise JobError(f"the model's answer is no set of probabilities for {_names(faults)}: train it again")
    return np.array(rows, dtype=np.float64)


def stored_probabilities(folder: Path, test_folder: Path, examples: list[Example], classes: int) -> Floats:
    """The answers in a batch transform's output files, float64 [N, classes]. Raises JobError, which names the files."""
    if not folder.is_dir():
        raise JobError(f"{folder} is missing: expected the output of a batch transform over the test images")
    expected = {example: _output_name(example, test_folder) for example in examples}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob(f"*{OUTPUT_SUFFIX}") if path.is_file()}
    present = [example for example in examples if expected[example] in found]
    rows, malformed = _collect(present, lambda example: _read(folder / expected[example], classes), expected.get)
    missing, extra = sorted(set(expected.values()) - found), sorted(found - set(expected.values()))
    faults = [
        f"{text}: {_names(names)}"
        for text, names in (("missing", missing), ("of no test image", extra), ("malformed", malformed))
        if names
    ]
    if faults:
        raise JobError(
            f"{folder} must hold one JSON array of {classes} probabilities per test image ({len(examples)}); "
            f"{'; '.join(faults)}; run the batch transform again over exactly the test images"
        )
    return np.array(rows, dtype=np.float64)


def _output_name(example: Example, test_folder: Path) -> str:
    return example.path.relative_to(test_folder).as_posix() + OUTPUT_SUFFIX


def _read(path: Path, classes: int) -> list[float]:
    return _checked(json.loads(path.read_text(encoding="utf-8")), classes)


def _checked(answer: object, classes: int) -> list[float]:
    """The answer, if it is a list of probabilities of all classes. Raises ValueError."""
    if (
        not isinstance(answer, list)
        or len(answer) != classes
        or not all(type(value) in (int, float) for value in answer)
    ):
        raise ValueError(f"expected {classes} numbers, got {json.dumps(answer)[:60]}")
    if not all(math.isfinite(value) and 0 <= value <= 1 for value in answer):
        raise ValueError(f"expected numbers from 0 to 1, got {json.dumps(answer)[:60]}")
    if abs(sum(answer) - 1) > SUM_TOLERANCE:
        raise ValueError(f"expected a sum of 1, got {sum(answer):.3f}")
    return [float(value) for value in answer]


def _collect(
    examples: list[Example],
    answer: Callable[[Example], list[float]],
    name: Callable[[Example], str | None] = lambda example: f"{example.path.parent.name}/{example.path.name}",
) -> tuple[list[list[float]], list[str]]:
    """The answers, and a text for each example whose answer is a ValueError."""
    rows, faults = [], []
    with ThreadPoolExecutor(cores()) as pool:
        for example, found in zip(
            examples, pool.map(lambda each: _answer_or_fault(answer, each), examples), strict=True
        ):
            if isinstance(found, ValueError):
                faults.append(f"{name(example)} ({found})")
            else:
                rows.append(found)
    return rows, faults


def _answer_or_fault(answer: Callable[[Example], list[float]], example: Example) -> list[float] | ValueError:
    try:
        return answer(example)
    except ValueError as error:
        return error


def _names(names: list[str]) -> str:
    left_out = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {left_out} more" if left_out > 0 else "")
