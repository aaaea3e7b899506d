"""``report.json``: what a monitoring report says of the captured traffic of a time window.

The monitoring job writes it; ``scones monitor`` and the functions that start trainings read it. Times are ISO 8601 in
UTC, shares lie between 0 and 1, intervals are 95 % intervals, a figure that does not exist is null.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from reporting.documents.baseline import MeasuredShare
from reporting.documents.evaluation import Bin, Interval
from reporting.documents.traffic import Shown, Summary

REPORT_FILE = "report.json"


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """One channel of a family.

    Levels are evidence / threshold, both as powers of ten, for each of the hours. ``highest`` is the highest of the
    report's window and of what its alarm is about, ``highest_at`` the hour. ``distances`` of the window's predictions
    from the baseline: ``psi``, ``js``, ``ks``, ``wasserstein``. A channel with fewer ``values`` than ``needed`` is not
    ``judged``; it will be at ``judged_from``, if traffic goes on as it does, or nobody knows when (null).
    """

    moved: bool
    level: float
    levels: list[float]
    highest: float = 0.0
    highest_at: str | None = None
    judged: bool = True
    judged_from: str | None = None
    values: int = 0
    needed: int = 0
    distances: dict[str, float | None]


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """Channels that alarm together; a level of 1 is an alarm.

    ``level`` is that of now, ``levels`` by hour; ``highest`` is the highest of the window, see `Channel`.
    """

    family: str
    alarm: bool
    since: str | None
    alarms: list[str]
    threshold: float
    level: float
    levels: list[float]
    highest: float = 0.0
    highest_at: str | None = None
    channels: dict[str, Channel]

    def unjudged(self) -> dict[str, Channel]:
        """The channels of which nothing can be said yet."""
        return {name: channel for name, channel in self.channels.items() if not channel.judged}


class ClassShare(msgspec.Struct, frozen=True, kw_only=True):
    """How often a class is predicted: in the baseline, from where to where that may change, and in the window."""

    baseline: float
    lower: float
    upper: float
    window: float | None


class HeldAgainst(msgspec.Struct, frozen=True, kw_only=True):
    """The baseline that the traffic is held against; no accuracy where its truth was not known."""

    origin: str
    count: int
    mean_confidence: float
    share_below_threshold: float
    class_shares: dict[str, float]
    accuracy: MeasuredShare | None


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the traffic moved away from the baseline.

    - ``rate_per_month``: false alarms in a month of healthy traffic, at most.
    - ``hours``: those that were looked at, from ``start`` to ``end``; ``predictions``: in them.
    - ``class_shares``: of each class, and what of it is tolerated from the first hour on.
    - ``class_shares_learned``: whether the daily rhythm of the mix was known too by then, see ``learned_until``.
    """

    rate_per_month: float
    hours: list[str]
    families: list[Family]
    start: str
    end: str
    since_deployment: bool
    predictions: int
    class_shares: dict[str, ClassShare] = {}
    class_shares_learned: bool
    learned_until: str
    baseline: HeldAgainst

    def alarms(self) -> list[Family]:
        """The families that alarm."""
        return [family for family in self.families if family.alarm]


class OfKind(msgspec.Struct, frozen=True):
    """Accuracy over the labelled predictions that pass, or over those that do not."""

    labels: int
    value: float | None
    interval: Interval | None


class LabelledAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """Over the labelled predictions.

    ``traffic`` weighs what passes and what does not by their shares of all predictions; null without enough of both.
    """

    value: float
    interval: Interval
    passing: OfKind
    not_passing: OfKind
    traffic: float | None
    traffic_interval: Interval | None = None
    """Of ``traffic``, 95 %."""


class LabelledClass(msgspec.Struct, frozen=True, kw_only=True):
    """Of the labelled predictions of one class."""

    labels: int
    precision: float | None
    precision_interval: Interval | None
    recall: float | None
    recall_interval: Interval | None
    f1: float | None


class EstimatedAccuracy(msgspec.Struct, frozen=True):
    """By the confidence of all predictions (CBPE), and what to think of that.

    ``too_high`` and ``too_low``: by how much the estimate was off on this version's validation images, made worse as
    far as the window's could be; ``interval`` includes that.
    """

    value: float
    interval: Interval
    caveat: str
    too_high: float | None = None
    too_low: float | None = None


class LabelFiles(msgspec.Struct, frozen=True):
    """What was read of labels, how many lines could not be used, by reason, and how many contradict an earlier one."""

    files: int
    lines: int
    unusable: dict[str, int]
    contradictions: int = 0


class LabelFirst(msgspec.Struct, frozen=True):
    """A prediction whose label would teach most: its inference id or else event id, and why."""

    id: str
    why: str
    predicted: str
    confidence: float


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """How right the model was, where that is known.

    - ``labelled``: predictions whose truth is known; ``unknown_ids``: labels without a prediction in the window.
    - ``auc``: area under the ROC curve by class; ``calibration_error``: over the bins of ``reliability``.
    - ``confusion``: labelled predictions, a row per true class, a column per predicted one. Of more than 100 classes it
      is empty, and ``confused`` has the pairs that occurred, by true class, then by predicted one.
    """

    labelled: int
    unknown_ids: int
    accuracy: LabelledAccuracy | None
    per_class: dict[str, LabelledClass]
    macro_f1: float | None
    auc: dict[str, float | None]
    calibration_error: float | None
    reliability: list[Bin]
    confusion: list[list[int]]
    confused: dict[str, dict[str, int]] | UnsetType = UNSET


class Quality(Performance, frozen=True, kw_only=True):
    """The same, where the labels come from, and what can be said of the rest.

    ``estimated_accuracy``: null where an estimate would not hold; then ``no_estimate_because`` says why.
    ``label_budget``: how many predictions, drawn by chance, to label for a 95 % interval of so much to either side.
    ``label_first``: those whose labels would teach most, chosen, so that they say nothing of the accuracy.
    """

    ground_truth: LabelFiles
    estimated_accuracy: EstimatedAccuracy | None
    no_estimate_because: str | None = None
    label_budget: dict[str, int] = msgspec.field(default_factory=dict)
    label_first: list[LabelFirst] = msgspec.field(default_factory=list)


class PastEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What an earlier report expected, and what labels say of its window by now; null is not known.

    ``measured`` is weighed as the traffic, so that there is none while only one kind of predictions is labelled.
    """

    name: str
    start: str
    end: str
    estimated: float
    interval: Interval | None
    measured: float | None
    measured_interval: Interval | None = None
    labels: int = 0


class DeploymentEntry(msgspec.Struct, frozen=True):
    """One line of the endpoint's history."""

    at: str
    version: str
    outcome: str


class PerVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions of one version; ``live`` where it is the one that the report is about."""

    version: str
    live: bool
    count: int
    mean_confidence: float
    first: str
    last: str


class Violation(msgspec.Struct, frozen=True):
    """An entry of Model Monitor's ``constraint_violations.json``: a channel that has moved."""

    feature_name: str
    constraint_check_type: str
    description: str


class Report(Summary, frozen=True, kw_only=True):
    """``report.json``: the counts and shares of the traffic, and what is concluded from them.

    - ``drift``: null where it was not looked for; then ``no_drift_because`` says why.
    - ``mistakes``: labelled predictions that are wrong, the most confident first; ``most_unusual``: images least like
      the usual ones.
    - ``capture_gap``: the share of the endpoint's requests that were not captured, null where nobody counted.
    - ``violations``: those of constraint_violations.json; ``metrics``: what alarms and dashboards watch, by name.
    - ``notes``: sentences about the report itself.
    - ``farthest``: images furthest from the training images, as the model sees them; none where it does not say.
    - ``about``: which version, stage and execution it is about, by name, as far as the job was told.
    - ``track_record``: the estimates of earlier reports, the newest first.
    - ``per_version``: predictions by the version that gave them, where the answers name it.
    """

    drift: Drift | None
    no_drift_because: str | None
    quality: Quality
    mistakes: list[Shown]
    most_unusual: list[Shown]
    deployments: list[DeploymentEntry]
    capture_gap: float | None
    violations: list[Violation]
    metrics: dict[str, float]
    notes: list[str]
    farthest: list[Shown] = msgspec.field(default_factory=list)
    about: dict[str, str] = msgspec.field(default_factory=dict)
    per_version: list[PerVersion] = msgspec.field(default_factory=list)
    track_record: list[PastEstimate] = msgspec.field(default_factory=list)

    def alarms(self) -> list[Family]:
        """The families that alarm; none where drift was not looked for."""
        return self.drift.alarms() if self.drift else []
