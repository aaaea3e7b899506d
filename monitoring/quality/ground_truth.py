"""What people said of captured predictions: Model Monitor's ground-truth lines, ``yyyy/mm/dd/hh/*.jsonl``.

Runs in the monitoring container. Reads a folder; a line that cannot be used is counted with its reason, none is dropped
in silence. One line (Amazon SageMaker developer guide, "Ingest ground truth labels"):
``{"groundTruthData": {"data": "1", "encoding": "CSV"}, "eventMetadata": {"eventId": "..."}, "eventVersion": "0"}``,
where the eventId is the inferenceId that was sent with the request, or the capture's own eventId.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_DIGITS = 10  # of a class's number, at most


@dataclass
class GroundTruth:
    """Labels by inferenceId or eventId; where one was labelled twice, what the later file says."""

    labels: dict[str, int] = field(default_factory=dict)
    files: int = 0
    lines: int = 0
    unusable: Counter[str] = field(default_factory=Counter)
    """How many lines could not be used, by reason."""
    contradictions: int = 0
    """How often a prediction was labelled anew, and otherwise than before."""

    def add(self, event_id: str, label: int) -> None:
        """Take a label; a later one counts."""
        self.contradictions += self.labels.get(event_id, label) != label
        self.labels[event_id] = label


def read_ground_truth(folder: Path, classes: Sequence[str]) -> GroundTruth:
    """All labels below ``folder``; empty when there is no such folder. Data may be a class's number or its name."""
    truth = GroundTruth()
    for path in sorted(folder.rglob("*.jsonl")):
        truth.files += 1
        with path.open("rb") as lines:
            for line in lines:
                if line.strip():
                    truth.lines += 1
                    _read(line, classes, truth)
    return truth


def _read(line: bytes, classes: Sequence[str], truth: GroundTruth) -> None:
    try:
        document = json.loads(line)
        event_id = document["eventMetadata"]["eventId"]
        data = _text(document["groundTruthData"])
    except (ValueError, KeyError, TypeError, RecursionError):
        truth.unusable["expected JSON with groundTruthData.data, a text, and eventMetadata.eventId"] += 1
        return
    if not isinstance(event_id, str) or not event_id:
        truth.unusable["the eventId is no text"] += 1
    elif data in classes:
        truth.add(event_id, list(classes).index(data))
    elif data.isdecimal() and len(data) < _DIGITS and int(data) < len(classes):
        truth.add(event_id, int(data))
    else:
        truth.unusable[f"{data[:40]!r} is not a class of this model ({', '.join(classes)})"] += 1


def _text(entry: dict[str, object]) -> str:
    data = entry["data"]
    if not isinstance(data, str):
        raise TypeError(f"data is no text: {type(data).__name__}")
    if entry.get("encoding") == "BASE64":
        try:
            data = base64.b64decode(data, validate=True).decode("utf-8")
        except binascii.Error as error:
            raise ValueError(str(error)) from error
    return data.strip().strip('"')
