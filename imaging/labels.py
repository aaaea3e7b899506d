"""What a model takes and answers: ``labels.json``, ``{"classes": [...], "image_size": 224, "precision": "float32"}``.

The classes stand in the order of the probabilities; without ``image_size`` it is 32 pixels, and ``precision`` float32.

Runs in containers: training writes the file into the model archive, serving and evaluation read it.
"""

from __future__ import annotations

import json
from pathlib import Path

from imaging.decode import IMAGE_SIZE, SIZES

LABELS_FILE = "labels.json"
FLOAT32, INT8 = "float32", "int8"
PRECISIONS = (FLOAT32, INT8)
"""What a model's convolutions count in."""


class LabelsError(Exception):
    """``labels.json`` is missing or does not hold a list of distinct class names and a size."""


def labels_document(classes: list[str], image_size: int = IMAGE_SIZE, precision: str = FLOAT32) -> str:
    """The text of ``labels.json``."""
    return json.dumps({"classes": classes, "image_size": image_size, "precision": precision}, indent=2) + "\n"


def read_labels(folder: Path) -> list[str]:
    """Class names from ``labels.json`` in a folder. Raises LabelsError."""
    path = folder / LABELS_FILE
    classes = _read(path).get("classes")
    if not isinstance(classes, list) or len(set(map(str, classes))) != len(classes) or len(classes) < 2:
        raise LabelsError(f"{path}: expected at least two distinct class names, got {classes!r}")
    return [str(name) for name in classes]


def read_image_size(folder: Path) -> int:
    """Pixels of each side of the images that the model takes. Raises LabelsError."""
    path = folder / LABELS_FILE
    size = _read(path).get("image_size", IMAGE_SIZE)
    if type(size) is not int or size not in SIZES:
        raise LabelsError(f"{path}: expected an image_size from {SIZES.start} to {SIZES.stop - 1}, got {size!r}")
    return size


def read_precision(folder: Path) -> str:
    """What the model counts in, one of PRECISIONS. Raises LabelsError."""
    path = folder / LABELS_FILE
    precision = _read(path).get("precision", FLOAT32)
    if precision not in PRECISIONS:
        raise LabelsError(f"{path}: expected a precision of {' or '.join(PRECISIONS)}, got {precision!r}")
    return str(precision)


def _read(path: Path) -> dict[str, object]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LabelsError(f"{path} is missing: the model archive must hold model.onnx and {LABELS_FILE}") from error
    except ValueError as error:
        raise LabelsError(f'{path} must be a JSON object with a list "classes": {error!r}') from error
    if not isinstance(document, dict):
        raise LabelsError(f'{path} must be a JSON object with a list "classes", got a {type(document).__name__}')
    return document
