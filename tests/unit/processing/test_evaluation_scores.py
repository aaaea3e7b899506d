"""The figures of an evaluation against scikit-learn, against values computed by hand, and on degenerate inputs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from sklearn import metrics

from processing.evaluation.scores import (
    areas_under_curve,
    by_names,
    calibration_error,
    class_scores,
    confusion,
    coverage,
    mcnemar_worse,
    reliability,
    summary_with_deviation,
    threshold_for_accuracy,
    wilson_interval,
)
from reporting.documents.evaluation import Metric


def answers(images: int, classes: int, seed: int = 0) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Labels, and probabilities that lean towards them; with ties, because they are rounded."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=images)
    logits = generator.normal(size=(images, classes)) + 1.5 * np.eye(classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, np.round(probabilities, 2)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_figures_agree_with_scikit_learn(classes: int) -> None:
    labels, probabilities = answers(300, classes)
    predicted = probabilities.argmax(axis=1)
    matrix = confusion(labels, predicted, classes)
    assert matrix.tolist() == metrics.confusion_matrix(labels, predicted).tolist()
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(labels, predicted, zero_division=0)
    for ours, theirs in zip(class_scores(matrix), (precision, recall, f1), strict=True):
        assert ours == pytest.approx(theirs)
    expected = [metrics.roc_auc_score(labels == column, probabilities[:, column]) for column in range(classes)]
    assert areas_under_curve(labels, probabilities) == pytest.approx(expected)
    summary = summary_with_deviation(matrix)
    for name, beta in (("f0_5", 0.5), ("f1", 1.0), ("f2", 2.0)):
        theirs = metrics.fbeta_score(labels, predicted, beta=beta, average="weighted", zero_division=0)
        assert summary[f"weighted_{name}"].value == pytest.approx(theirs)
    assert summary["accuracy"].value == metrics.accuracy_score(labels, predicted)


def test_the_area_under_the_curve_counts_ties_half_and_needs_both_kinds() -> None:
    probabilities = np.array([[0.9, 0.1], [0.5, 0.5], [0.5, 0.5], [0.2, 0.8]])
    assert areas_under_curve(np.array([0, 0, 1, 1]), probabilities) == pytest.approx([3.5 / 4, 3.5 / 4])
    assert areas_under_curve(np.array([0, 0, 0, 0]), probabilities) == [None, None]


def test_mcnemar_asks_only_the_images_on_which_the_two_differ() -> None:
    assert mcnemar_worse(5, 0) == pytest.approx(1 / 32)
    assert mcnemar_worse(3, 1) == pytest.approx(5 / 16)
    assert mcnemar_worse(0, 7) == 1.0
    assert mcnemar_worse(0, 0) == 1.0
    assert mcnemar_worse(12, 3) == pytest.approx(stats.binom.sf(11, 15, 0.5))
    assert mcnemar_worse(4_090, 3_910) == pytest.approx(stats.binom.sf(4_089, 8_000, 0.5))


def test_the_threshold_for_an_accuracy_lets_the_most_images_pass() -> None:
    confidence = np.array([0.951, 0.912, 0.853, 0.853, 0.724, 0.601])
    probabilities = np.column_stack([confidence, 1 - confidence])
    labels = np.array([0, 0, 0, 1, 0, 0])  # one mistake, at 0.853, which ties with a right answer
    found = threshold_for_accuracy(labels, probabilities, 0.8)
    assert (found.threshold, found.count, found.accuracy) == (0.6, 6, pytest.approx(5 / 6))
    found = threshold_for_accuracy(labels, probabilities, 0.9)
    assert (found.threshold, found.count, found.accuracy) == (0.91, 2, 1.0)
    assert found.assured.threshold is None
    assert coverage(labels, probabilities, found.threshold or 0).count == 2


@pytest.mark.parametrize("wished", [0.5, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("classes", [2, 10])
def test_no_other_threshold_lets_more_images_pass_with_that_accuracy(classes: int, wished: float) -> None:
    labels, probabilities = answers(120, classes, seed=classes)
    found = threshold_for_accuracy(labels, probabilities, wished)
    tried = [coverage(labels, probabilities, float(value)) for value in np.unique(probabilities.max(axis=1))]
    fitting = [entry.count for entry in tried if entry.accuracy is not None and entry.accuracy >= wished]
    assured = [entry.count for entry in tried if entry.accuracy_interval_95[0] >= wished]
    assert (found.count, found.assured.count) == (max(fitting, default=None), max(assured, default=None))


def test_an_accuracy_nobody_reaches_has_no_threshold() -> None:
    probabilities = np.array([[0.9, 0.1]] * 5)
    found = threshold_for_accuracy(np.ones(5, dtype=np.int64), probabilities, 0.5)
    assert (found.threshold, found.coverage, found.assured.threshold) == (None, None, None)


@pytest.mark.parametrize(("images", "assured"), [(380, False), (381, True)])
def test_an_assured_threshold_needs_the_stated_number_of_images(images: int, assured: bool) -> None:
    probabilities = np.array([[0.97, 0.03]] * images)
    found = threshold_for_accuracy(np.zeros(images, dtype=np.int64), probabilities, 0.99)
    assert found.images_to_assure == 381
    assert (found.threshold, found.coverage) == (0.97, 1.0)
    assert (found.assured.threshold == 0.97) is assured
    assert threshold_for_accuracy(np.zeros(2, dtype=np.int64), probabilities[:2], 1.0).images_to_assure is None


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("right", [True, False])
def test_one_image_and_one_sided_answers_have_finite_figures(classes: int, right: bool) -> None:
    for images in (1, 50):
        labels = np.full(images, 0 if right else 1)
        probabilities = np.tile(np.eye(classes)[0], (images, 1))
        accuracy = float(right)
        summary = summary_with_deviation(confusion(labels, probabilities.argmax(axis=1), classes))
        assert summary["accuracy"] == Metric(accuracy, 0.0)
        assert all(np.isfinite([figure.value, figure.standard_deviation]).all() for figure in summary.values())
        assert areas_under_curve(labels, probabilities) == [None] * classes
        (row,) = reliability(labels, probabilities)
        assert (row.confidence, row.accuracy, row.count) == (1.0, accuracy, images)
        assert calibration_error([row]) == 1.0 - accuracy
        for threshold in (0.0, 1.0):
            entry = coverage(labels, probabilities, threshold)
            assert (entry.coverage, entry.accuracy) == (1.0, accuracy)
            assert 0.0 <= entry.accuracy_interval_95[0] <= accuracy <= entry.accuracy_interval_95[1] <= 1.0


def test_the_confusion_matrix_has_a_row_per_true_class() -> None:
    matrix = confusion(np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1]), 2)
    assert matrix.tolist() == [[1, 2], [0, 1]]
    precision, recall, f1 = class_scores(matrix)
    assert precision == pytest.approx([1.0, 1 / 3])
    assert recall == pytest.approx([1 / 3, 1.0])
    assert f1 == pytest.approx([0.5, 0.5])


def test_weighted_metrics_and_their_deviation() -> None:
    metrics = summary_with_deviation(np.array([[90, 10], [20, 80]]))
    assert metrics["accuracy"].value == pytest.approx(0.85)
    assert metrics["accuracy"].standard_deviation == pytest.approx((0.85 * 0.15 / 200) ** 0.5, rel=0.1)
    assert metrics["weighted_recall"].value == pytest.approx(0.85)
    assert metrics["weighted_precision"].value == pytest.approx((90 / 110 + 80 / 90) / 2)
    assert metrics["accuracy_best_constant_classifier"].value == pytest.approx(0.5)


def test_wilson_interval_of_a_known_case() -> None:
    """Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(200, 200)[1] == pytest.approx(1.0)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    probabilities = np.array([[0.8, 0.2]] * 10)
    assert calibration_error(reliability(np.array([0] * 8 + [1] * 2), probabilities)) == pytest.approx(0.0)
    assert calibration_error(reliability(np.array([0] * 5 + [1] * 5), probabilities)) == pytest.approx(0.3)


def test_coverage_counts_the_threshold_itself_as_reached() -> None:
    probabilities = np.array([[0.93, 0.07], [0.92, 0.08], [0.01, 0.99]])
    entry = coverage(np.array([0, 0, 0]), probabilities, 0.93)
    assert (entry.count, entry.coverage, entry.accuracy) == (2, pytest.approx(2 / 3), 0.5)
    assert coverage(np.array([0, 0, 0]), probabilities, 1.0).accuracy is None


def test_many_classes_make_documents_of_a_size_that_can_be_read() -> None:
    classes = [f"class {number}" for number in range(300)]
    matrix = np.diag(np.arange(1, 301))
    matrix[0, 5] = 2
    named = by_names(matrix, classes)
    assert named["class 0"] == {"class 0": 1, "class 5": 2}
    assert sum(len(row) for row in named.values()) == 301
    assert by_names(matrix[:3, :3], classes[:3])["class 1"] == {"class 0": 0, "class 1": 2, "class 2": 0}
