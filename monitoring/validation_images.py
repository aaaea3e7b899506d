"""Images of a dataset, read a few at a time: their statistics, what a model answers, and the pixels of some.

Runs in the baseline job, whose memory does not grow with the dataset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from imaging.dataset import Example, read_image
from imaging.decode import Pixels
from imaging.statistics import image_statistics
from monitoring.drift.detector import Floats, Integers
from monitoring.quality.measured_errors import MOST_IMAGES
from monitoring.store.novelty import Answered
from processing.evaluation.answers import SUM_TOLERANCE
from reporting.job import JobError

AT_ONCE = 200  # images; 30 MB of photographs


@dataclass(frozen=True)
class Looked:
    """What was seen of all images, and the pixels of some; the others' are never in memory together."""

    statistics: dict[str, Floats]
    parts: list[Answered]
    rows: Integers
    """Of those whose pixels are kept, evenly chosen."""
    pixels: Pixels

    def answered(self) -> Answered:
        """Of all images. Raises JobError for what is no set of probabilities."""
        probabilities = np.concatenate([part.probabilities for part in self.parts])
        if not np.allclose(probabilities.sum(axis=1), 1.0, atol=SUM_TOLERANCE):
            raise JobError("the model's answer is no set of probabilities for every validation image: train it again")
        further = [part.novelty for part in self.parts if part.novelty is not None]
        return Answered(probabilities, np.concatenate(further) if further else None)


def look(examples: list[Example], size: int, asked: Callable[[Pixels], Answered] | None = None) -> Looked:
    """Read the images, so many at once, and ask about them. Raises DatasetError."""
    rows = np.unique(np.linspace(0, len(examples) - 1, min(len(examples), MOST_IMAGES)).astype(np.int64))
    kept = np.empty((len(rows), size, size, 3), np.uint8)
    statistics, answers = list[dict[str, Floats]](), list[Answered]()
    for start in range(0, len(examples), AT_ONCE):
        pixels = np.stack([read_image(example, size) for example in examples[start : start + AT_ONCE]])
        here = (rows >= start) & (rows < start + AT_ONCE)
        kept[here] = pixels[rows[here] - start]
        statistics.append(image_statistics(pixels))
        if asked is not None:
            answers.append(asked(pixels))
    together = {name: np.concatenate([part[name] for part in statistics]) for name in statistics[0]}
    return Looked(together, answers, rows, kept)
