"""The class names of a model, in the order of its probabilities: ``labels.json``, ``{"classes": [...]}``.

Runs in containers: training writes the file into the model archive, serving and evaluation read it.
"""

from __future__ import annotations

import json
from pathlib import Path

LABELS_FILE = "labels.json"


class LabelsError(Exception):
    """``labels.json`` is missing or does not hold a list of distinct class names."""


def labels_document(classes: list[str]) -> str:
    """The text of ``labels.json``."""
    return json.dumps({"classes": classes}, indent=2) + "\n"


def read_labels(folder: Path) -> list[str]:
    """Class names from ``labels.json`` in a folder. Raises LabelsError."""
    path = folder / LABELS_FILE
    try:
        classes = json.loads(path.read_text(encoding="utf-8"))["classes"]
    except FileNotFoundError as error:
        raise LabelsError(f"{path} is missing: the model archive must hold model.onnx and {LABELS_FILE}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise LabelsError(f'{path} must be a JSON object with a list "classes": {error!r}') from error
    if not isinstance(classes, list) or len(set(map(str, classes))) != len(classes) or len(classes) < 2:
        raise LabelsError(f"{path}: expected at least two distinct class names, got {classes!r}")
    return [str(name) for name in classes]
