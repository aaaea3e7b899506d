"""What the report's charts are drawn from, and where they are registered: `monitoring.page.plots` and `plots_drift`.

Runs in the monitoring container. Values only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from monitoring.job_inputs.context import Latency
from monitoring.store.aggregates import Thresholds
from reporting.charts import Charts
from reporting.documents.evaluation import Bin
from reporting.documents.report import Drift
from reporting.figures import GREEN, class_colours, shorten

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Mark:
    """A moment to be marked, such as a deployment."""

    at: datetime
    label: str


@dataclass(frozen=True)
class WindowPart:
    """A stretch of the window that a reader may choose, and what is said of it; see `monitoring.page.parts`."""

    number: int
    start: datetime
    end: datetime
    tip: str


@dataclass(frozen=True)
class Labelled:
    """Predictions whose truth is known, `[n]` each."""

    confidence: Floats
    predicted: Integers
    truth: Integers
    classes: tuple[str, ...]
    threshold: float


@dataclass(frozen=True)
class Expectation:
    """The baseline's predictions, `[n]` each, and what is tolerated of each class's share."""

    confidence: Floats
    predicted: Integers
    statistics: Mapping[str, Floats]
    tolerated: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class ReportData:
    """The window's predictions by time, `[n]` each, and what is concluded from them."""

    times: pd.DatetimeIndex
    confidence: Floats
    predicted: Integers
    below: npt.NDArray[np.bool_]
    """Which do not pass, each by the threshold of its class."""
    classes: tuple[str, ...]
    thresholds: Thresholds
    labelled: Labelled
    reliability: Sequence[Bin]
    """Of the labelled predictions, and as the baseline expects it."""
    expected_reliability: Sequence[Bin] = ()
    drift: Drift | None = None
    latency: Sequence[Latency] = ()
    marks: tuple[Mark, ...] = ()
    parts: tuple[WindowPart, ...] = ()
    baseline: Expectation | None = None
    statistics: Mapping[str, Floats] = field(default_factory=dict)
    """Of the images that were looked at, by name; NaN where one was not."""

    def lines(self) -> list[tuple[str, float, str]]:
        """Label, height and colour of each threshold."""
        colours, own = class_colours(self.classes), self.thresholds.classes
        return [
            (f"threshold {self.thresholds.default:g}", self.thresholds.default, GREEN),
            *((f"{shorten(name, 12)} {own[name]:g}", own[name], colours[name]) for name in self.classes if name in own),
        ]


# A line over time through fewer predictions, or through fewer hours, says less than their figures do.
ENOUGH_FOR_A_COURSE = 20
ENOUGH_HOURS = 3
FEWEST_LABELS = 5

CHARTS: Charts[ReportData] = Charts()


def has_predictions(data: ReportData) -> bool:
    """Whether anything was captured."""
    return len(data.confidence) > 0


def has_a_course(data: ReportData) -> bool:
    """Whether a line over time says more than a sentence does."""
    return len(data.confidence) >= ENOUGH_FOR_A_COURSE


def has_labels(data: ReportData) -> bool:
    """Whether the truth of any prediction is known."""
    return len(data.labelled.truth) > 0


def has_some_labels(data: ReportData) -> bool:
    """Whether so many are known that a picture shows more than the sentence above it."""
    return len(data.labelled.truth) >= FEWEST_LABELS
