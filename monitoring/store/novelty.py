"""What the served model answers, and how far pictures are from those that it was trained on, as it says itself.

Runs in the baseline and the monitoring job. Reads a ``model.onnx`` that answers ``novelty`` beside its probabilities;
those of versions before 2026-12 do not.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from monitoring.store.aggregates import Floats, Integers
from processing.machine import cores
from serving.inference import MODEL_FILE, NOVELTY_OUTPUT, Model, open_session

if TYPE_CHECKING:
    import onnxruntime

NOVELTY = NOVELTY_OUTPUT
NOVELTY_FILE = MODEL_FILE
"""Beside a baseline that knows the channel."""
_AT_ONCE = 2  # images that a thread passes through the network: more take memory, and no less time


@dataclass(frozen=True)
class NoveltyModel:
    """A model that says how far an image is; the digest tells it from others."""

    session: onnxruntime.InferenceSession
    data: bytes
    """The file's."""

    @classmethod
    def of(cls, path: Path) -> NoveltyModel | None:
        """None for a model that says nothing of it. Raises ModelError."""
        session = open_session(path)
        if NOVELTY not in {output.name for output in session.get_outputs()}:
            return None
        return cls(session, path.read_bytes())

    @property
    def digest(self) -> str:
        """Eight digits that name the model."""
        return hashlib.sha256(self.data).hexdigest()[:8]

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> Floats:
        """Distances of images uint8 [N, size, size, 3], float64 [N]; 1 is usual."""
        return _answers(self.session, [NOVELTY], pixels)[0]


@dataclass(frozen=True)
class Answered:
    """Probabilities float64 [N, classes], and distances float64 [N] where the model says them."""

    probabilities: Floats
    novelty: Floats | None = None

    def at(self, rows: Integers) -> Answered:
        """Those of some images."""
        return Answered(self.probabilities[rows], None if self.novelty is None else self.novelty[rows])


def ask(model: Model, pixels: npt.NDArray[np.uint8]) -> Answered:
    """Both, in one pass, of images uint8 [N, size, size, 3]."""
    session = model.session
    outputs = [output.name for output in session.get_outputs()]
    wanted = [outputs[0], *([NOVELTY] if NOVELTY in outputs else [])]
    columns = _answers(session, wanted, pixels)
    return Answered(columns[0], columns[1] if len(columns) > 1 else None)


def _answers(session: onnxruntime.InferenceSession, wanted: list[str], pixels: npt.NDArray[np.uint8]) -> list[Floats]:
    """Each output float64 of images uint8 [N, size, size, 3]."""
    name = session.get_inputs()[0].name

    def some(at: int) -> list[npt.NDArray[np.float32]]:
        found: list[npt.NDArray[np.float32]] = session.run(wanted, {name: pixels[at : at + _AT_ONCE]})
        return found

    with ThreadPoolExecutor(cores()) as pool:
        parts = list(pool.map(some, range(0, len(pixels), _AT_ONCE))) or [some(0)]
    return [np.concatenate(column).astype(np.float64) for column in zip(*parts, strict=True)]
