"""Write the JSON Schema of every document to ``docs/schemas/``: ``python -m reporting.documents``.

Runs on a laptop, in the repository; a test compares what stands there with what this writes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

from reporting.documents.baseline import BaselineDocument
from reporting.documents.capture import CaptureLine
from reporting.documents.dataset import Manifest
from reporting.documents.evaluation import Evaluation
from reporting.documents.report import Report
from reporting.documents.training import TrainingRecord

SCHEMAS_FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schemas"
DOCUMENTS: dict[str, type[msgspec.Struct]] = {
    "baseline": BaselineDocument,
    "capture_line": CaptureLine,
    "dataset": Manifest,
    "evaluation": Evaluation,
    "report": Report,
    "training": TrainingRecord,
}


def main() -> int:
    """Write them all; the exit status."""
    SCHEMAS_FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (SCHEMAS_FOLDER / name).write_text(text, encoding="utf-8")
        print(SCHEMAS_FOLDER / name)
    return 0


def schemas() -> dict[str, str]:
    """The text of each schema by file name."""
    return {f"{name}.json": json.dumps(_schema(kind), indent=2) + "\n" for name, kind in DOCUMENTS.items()}


def _schema(kind: type[msgspec.Struct]) -> dict[str, object]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(kind)}


if __name__ == "__main__":
    sys.exit(main())
