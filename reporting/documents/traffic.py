"""The first part of ``report.json``: what was captured in a time window, counted.

The monitoring job writes it. Times are ISO 8601 in UTC, shares lie between 0 and 1, a figure that does not exist is
null.
"""

from __future__ import annotations

import msgspec

VERSION = 2
PHOTOGRAPHS = "photographs"


class TimeSpan(msgspec.Struct, frozen=True):
    """From ``start`` (included) to ``end`` (excluded)."""

    start: str
    end: str


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many of what was captured.

    - ``records``: predictions in the window; all figures are about these.
    - ``malformed``: lines that could not be used; ``duplicates``: lines whose eventId had come before;
      ``outside_window``: lines of another window in the files read.
    - ``files``: files with records of the window.
    - ``smoke_tests``, ``shadow``, ``other_versions``: lines of the window that are no traffic of the version's.
    - ``misplaced``: predictions whose time is hours away from that of the file they stand in: a clock is wrong.
    """

    records: int
    malformed: int
    duplicates: int
    outside_window: int
    files: int
    smoke_tests: int
    shadow: int
    other_versions: int
    misplaced: int


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """Of the highest probability of each prediction; percentiles by linear interpolation."""

    mean: float | None = None
    median: float | None = None
    min: float | None = None
    max: float | None = None
    p5: float | None = None
    p10: float | None = None
    p25: float | None = None
    p75: float | None = None
    p90: float | None = None
    p95: float | None = None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Of some predictions; those below the threshold do not pass."""

    count: int
    mean_confidence: float | None
    below_threshold: int
    share_below_threshold: float | None


class PerClass(Figures, frozen=True, kw_only=True):
    """Of the predictions of one class, and their share of all."""

    share: float | None


class PerVariant(msgspec.Struct, frozen=True, kw_only=True):
    """Of one variant's predictions; ``unknown`` where the path of the capture files does not say."""

    endpoint: str
    variant: str
    count: int
    mean_confidence: float | None
    below_threshold: int
    share_below_threshold: float | None
    first: str | None
    last: str | None


class PerHour(msgspec.Struct, frozen=True, kw_only=True):
    """Of one hour's predictions; ``hour`` is its start, ``per_class`` the predictions by label."""

    hour: str
    count: int
    mean_confidence: float | None
    below_threshold: int
    share_below_threshold: float | None
    min_confidence: float
    per_class: dict[str, int]


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the window of an hour or more without a prediction."""

    start: str
    end: str
    seconds: float


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction to look at.

    ``row`` is its position by time, ``predicted`` a label; ``inference_id`` is null where none was sent. A mistake has
    its ``true_label``. An unusual image has the ``statistic`` that is furthest from ``usual``, the median, and by how
    many robust standard deviations.
    """

    row: int
    event_id: str
    inference_id: str | None
    time: str
    endpoint: str
    variant: str
    predicted: str
    confidence: float
    passes: bool
    true_label: str | msgspec.UnsetType = msgspec.UNSET
    statistic: str | msgspec.UnsetType = msgspec.UNSET
    value: float | msgspec.UnsetType = msgspec.UNSET
    usual: float | msgspec.UnsetType = msgspec.UNSET
    deviations: float | msgspec.UnsetType = msgspec.UNSET


class MalformedLine(msgspec.Struct, frozen=True):
    """A captured line that could not be used, and why."""

    file: str
    line: int
    reason: str


class MalformedLines(msgspec.Struct, frozen=True):
    """The first 100 such lines, and how often each reason occurred; all of them stand in ``quarantine.jsonl``."""

    listed: list[MalformedLine]
    reasons: dict[str, int]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The counts and shares of ``report.json``.

    - ``verdict``: the report in one sentence; empty until all of it is concluded.
    - ``version``: of this layout, 2; ``data_origin``: what the model's training images were, usually ``photographs``.
    - ``endpoint``: the one asked for, or null for all below the folder.
    - ``threshold``: a prediction passes when its confidence is at or above it; ``class_thresholds``: classes that have
      another, by label.
    - ``classes``: the labels, in the order of the probabilities.
    - ``first``, ``last``: times of the first and the last prediction, or null.
    - ``per_class``: by predicted label; ``per_hour``: of each hour with predictions.
    - ``least_confident``: the predictions with the lowest confidence, lowest first.
    """

    verdict: str = ""
    version: int
    data_origin: str
    endpoint: str | None
    window: TimeSpan
    threshold: float
    class_thresholds: dict[str, float]
    classes: list[str]
    counts: Counts
    first: str | None
    last: str | None
    below_threshold: int
    share_below_threshold: float | None
    confidence: Distribution
    per_class: dict[str, PerClass]
    per_variant: list[PerVariant]
    per_hour: list[PerHour]
    gaps: list[Gap]
    least_confident: list[Shown]
    malformed: MalformedLines
