"""``evaluation.json``: how well a model does on the held-out test images.

The evaluation job writes it, the pipeline's conditions read single figures of it, the model registry keeps it. Sections
that evaluations of earlier versions lack have a default; a new evaluation has all. Shares lie between 0 and 1; an
interval is the 95 % interval of a share, lower and upper end.
"""

from __future__ import annotations

import msgspec

EVALUATION_FILE = "evaluation.json"
Interval = list[float]


class Metric(msgspec.Struct, frozen=True):
    """A figure as SageMaker's model metrics have it; the deviation is that of a bootstrap over the test images."""

    value: float
    standard_deviation: float | msgspec.UnsetType = msgspec.UNSET


class MulticlassMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """SageMaker's ``multiclass_classification_metrics``; weights are the classes' shares of the test images.

    ``confusion_matrix`` is images by true class, then by predicted class. What ends in ``best_constant_classifier`` is
    the figure of always answering the commonest class.
    """

    confusion_matrix: dict[str, dict[str, int]] = {}
    accuracy: Metric
    weighted_recall: Metric | None = None
    weighted_precision: Metric | None = None
    weighted_f0_5: Metric | None = None
    weighted_f1: Metric | None = None
    weighted_f2: Metric | None = None
    accuracy_best_constant_classifier: Metric | None = None
    weighted_recall_best_constant_classifier: Metric | None = None
    weighted_precision_best_constant_classifier: Metric | None = None
    weighted_f0_5_best_constant_classifier: Metric | None = None
    weighted_f1_best_constant_classifier: Metric | None = None
    weighted_f2_best_constant_classifier: Metric | None = None


class ClassFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One class: its test images and how it is told from the others; no area where only one kind of image is there."""

    images: int = 0
    precision: float
    precision_interval_95: Interval = []
    recall: float
    recall_interval_95: Interval = []
    f1: float = 0.0
    area_under_curve: float | None = None


class Bin(msgspec.Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """Predictions whose confidence lies from ``start`` to ``end``: how many, their mean confidence and accuracy."""

    start: float
    end: float
    count: int
    confidence: float
    accuracy: float
    accuracy_interval_95: Interval


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """What a threshold lets pass; no accuracy where nothing passes."""

    threshold: float
    count: int = 0
    coverage: float
    coverage_interval_95: Interval = []
    accuracy: float | None
    accuracy_interval_95: Interval = []


class ThresholdPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold and what it lets pass; all None where no threshold reaches what was wished."""

    threshold: float | None = None
    count: int | None = None
    coverage: float | None = None
    accuracy: float | None = None
    accuracy_interval_95: Interval | None = None


class WishedPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The threshold that lets the most images pass with the ``wished`` accuracy among them, an estimate.

    ``assured`` is where even the lower end of the accuracy's interval reaches the wish, which takes at least
    ``images_to_assure`` passing images (None: no number of them is enough).
    """

    wished: float
    threshold: float | None = None
    count: int | None = None
    coverage: float | None = None
    accuracy: float | None = None
    accuracy_interval_95: Interval | None = None
    assured: ThresholdPoint = ThresholdPoint()
    images_to_assure: int | None = None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The model that was approved then, on the same images; None where the two were not compared, for a ``reason``."""

    model_package_arn: str
    accuracy: float | None = None
    only_champion_right: int | None = None
    only_challenger_right: int | None = None
    p_value: float | None = None
    reason: str | None = None


class ChampionGate(msgspec.Struct, frozen=True):
    """What the pipeline's condition reads: a small value says that the model is worse; 1 where nothing was compared."""

    p_value_worse: Metric


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """``evaluation.json``.

    - ``images``: test images; ``area_under_curve``: mean over the classes.
    - ``calibration_error``: expected calibration error over ten bins, which ``reliability`` lists.
    - ``threshold``: of this run; ``coverage``: at it and at those that are always reported; ``threshold_table``: at
      many.
    - ``champion``: None where there was none to compare with.
    """

    multiclass_classification_metrics: MulticlassMetrics
    images: int = 0
    accuracy_interval_95: Interval | None = None
    area_under_curve: float | None = None
    classes: dict[str, ClassFigures] = {}
    calibration_error: float | None = None
    reliability: list[Bin] = []
    threshold: float | None = None
    coverage: list[Coverage] = []
    threshold_for_accuracy: WishedPoint | None = None
    threshold_table: list[Coverage] = []
    champion: Comparison | msgspec.UnsetType | None = msgspec.UNSET
    champion_gate: ChampionGate | msgspec.UnsetType = msgspec.UNSET

    @property
    def accuracy(self) -> float:
        """The share of test images that were answered rightly."""
        return self.multiclass_classification_metrics.accuracy.value

    @property
    def comparison(self) -> Comparison | None:
        """With the champion; None where there was none, and where an older evaluation does not say."""
        return None if self.champion is msgspec.UNSET else self.champion
