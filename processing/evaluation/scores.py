"""Figures about a classifier from true labels and probabilities: metrics, intervals, calibration, coverage, McNemar.

Runs in the evaluation job; pure functions of arrays. ``labels`` is int64 [N], ``probabilities`` float64 [N, classes].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from reporting.documents.evaluation import Bin, Coverage, Metric, ThresholdPoint, WishedPoint

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

Z_95 = 1.959964  # two-sided 95 % quantile of the normal distribution
RESAMPLES = 1000
CALIBRATION_BINS = 10
EVERY_PAIR = 100
"""Classes up to which the confusion matrix has a number for each pair; for a thousand it would be 17 MB of zeros."""
BETAS = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}


def confusion(labels: Labels, predicted: Labels, classes: int) -> Labels:
    """Counts int64 [classes, classes]; a row per true class, a column per predicted one."""
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def by_names(matrix: Labels, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """The confusion matrix by true class, then by predicted class; of many classes, what occurred."""
    return {
        name: {other: count for other, count in zip(classes, row, strict=True) if count or len(classes) <= EVERY_PAIR}
        for name, row in zip(classes, matrix.tolist(), strict=True)
    }


def class_scores(matrix: Labels, beta: float = 1.0) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F-beta per class, for a confusion matrix [..., classes, classes]; 0 where undefined."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64)
    precision = _ratio(hits, matrix.sum(axis=-2))
    recall = _ratio(hits, matrix.sum(axis=-1))
    return precision, recall, _ratio((1 + beta**2) * precision * recall, beta**2 * precision + recall)


def summary(matrix: Labels) -> dict[str, Floats]:
    """SageMaker's multiclass metrics for a confusion matrix [..., classes, classes]; weights are the class shares."""
    total = matrix.sum(axis=(-2, -1))
    weights = matrix.sum(axis=-1) / total[..., None]
    precision, recall, _ = class_scores(matrix)
    result = {
        "accuracy": np.trace(matrix, axis1=-2, axis2=-1) / total,
        "weighted_recall": (weights * recall).sum(axis=-1),
        "weighted_precision": (weights * precision).sum(axis=-1),
    }
    for name, beta in BETAS.items():
        result[f"weighted_{name}"] = (weights * class_scores(matrix, beta)[2]).sum(axis=-1)
    return result


def summary_with_deviation(matrix: Labels, seed: int = 0) -> dict[str, Metric]:
    """Each metric, and that of always answering the commonest class, with its deviation (bootstrap)."""
    total = int(matrix.sum())
    generator = np.random.default_rng(seed)
    resampled = generator.multinomial(total, matrix.ravel() / total, size=RESAMPLES).reshape(-1, *matrix.shape)
    result = _with_deviation(summary(matrix), summary(resampled), "")
    constant = _always(matrix, int(matrix.sum(axis=1).argmax()))
    constant_resampled = _always(resampled, int(matrix.sum(axis=1).argmax()))
    return result | _with_deviation(summary(constant), summary(constant_resampled), "_best_constant_classifier")


def _always(matrix: Labels, column: int) -> Labels:
    constant = np.zeros_like(matrix)
    constant[..., column] = matrix.sum(axis=-1)
    return constant


def _with_deviation(values: dict[str, Floats], samples: dict[str, Floats], suffix: str) -> dict[str, Metric]:
    return {name + suffix: Metric(float(value), float(samples[name].std())) for name, value in values.items()}


def wilson_interval(successes: int, total: int) -> tuple[float, float]:
    """95 % interval of a proportion. Source: Wilson, JASA 1927. (0, 1) when nothing was counted."""
    if total == 0:
        return 0.0, 1.0
    share = successes / total
    centre = (share + Z_95**2 / (2 * total)) / (1 + Z_95**2 / total)
    half = Z_95 * math.sqrt(share * (1 - share) / total + Z_95**2 / (4 * total**2)) / (1 + Z_95**2 / total)
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))  # rounding may cross the share


def areas_under_curve(labels: Labels, probabilities: Floats) -> list[float | None]:
    """Area under the ROC curve of each class against the rest; None where only one of the two kinds is there.

    From ranks, ties counted half: Hanley and McNeil, Radiology 1982.
    """
    areas: list[float | None] = []
    for column in range(probabilities.shape[1]):
        positive = labels == column
        hits, misses = int(positive.sum()), int((~positive).sum())
        excess = _ranks(probabilities[:, column])[positive].sum() - hits * (hits + 1) / 2
        areas.append(float(excess / (hits * misses)) if hits and misses else None)
    return areas


def _ranks(values: Floats) -> Floats:
    """Each value's place in their order, from 1; equal values share the middle of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    middles: Floats = np.cumsum(counts) - (counts - 1) / 2
    return middles[which]


def reliability(labels: Labels, probabilities: Floats) -> list[Bin]:
    """Mean confidence and accuracy of each bin of confidence that holds an image; the last bin includes 1."""
    confidence, correct = top_answers(labels, probabilities)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    rows = []
    for number in np.unique(bins):
        chosen = bins == number
        rows.append(
            Bin(
                start=float(number / CALIBRATION_BINS),
                end=float((number + 1) / CALIBRATION_BINS),
                count=int(chosen.sum()),
                confidence=float(confidence[chosen].mean()),
                accuracy=float(correct[chosen].mean()),
                accuracy_interval_95=list(wilson_interval(int(correct[chosen].sum()), int(chosen.sum()))),
            )
        )
    return rows


def calibration_error(bins: list[Bin]) -> float:
    """Expected calibration error, from reliability(). Source: Naeini et al., AAAI 2015."""
    total = sum(row.count for row in bins)
    return float(sum(abs(row.accuracy - row.confidence) * row.count / total for row in bins))


def coverage(labels: Labels, probabilities: Floats, threshold: float) -> Coverage:
    """The share of images whose confidence reaches the threshold, and the accuracy among those (None without any)."""
    confidence, right = top_answers(labels, probabilities)
    passing = confidence >= threshold
    correct, count = int(right[passing].sum()), int(passing.sum())
    return Coverage(
        threshold=threshold,
        count=count,
        coverage=count / len(labels),
        coverage_interval_95=list(wilson_interval(count, len(labels))),
        accuracy=correct / count if count else None,
        accuracy_interval_95=list(wilson_interval(correct, count)),
    )


def threshold_for_accuracy(labels: Labels, probabilities: Floats, wished: float) -> WishedPoint:
    """The threshold that lets the most images pass with at least the wished accuracy among them, if there is one.

    The figures at the top are the estimate: chosen on these images, so optimistic. ``assured`` is the threshold where
    even the lower end of the accuracy's interval reaches the wish, which takes ``images_to_assure`` passing images
    without one mistake (None: no number of images is enough).
    """
    confidence, correct = top_answers(labels, probabilities)
    order = np.argsort(-confidence, kind="stable")
    ranked, hits = confidence[order], np.cumsum(correct[order])
    last_of_ties = np.flatnonzero(np.append(ranked[:-1] > ranked[1:], True))  # equal confidences pass together
    shares = [(int(at), int(hits[at]), int(at) + 1) for at in last_of_ties]
    estimated = [at for at, right, count in shares if right / count >= wished]
    assured = [at for at, right, count in shares if wilson_interval(right, count)[0] >= wished]

    def point(fitting: list[int]) -> ThresholdPoint:
        if not fitting:
            return ThresholdPoint()
        at = fitting[-1]
        below = float(ranked[at + 1]) if at + 1 < len(ranked) else 0.0
        entry = coverage(labels, probabilities, _shortest_between(below, float(ranked[at])))
        return ThresholdPoint(
            threshold=entry.threshold,
            count=entry.count,
            coverage=entry.coverage,
            accuracy=entry.accuracy,
            accuracy_interval_95=entry.accuracy_interval_95,
        )

    needed = math.ceil(Z_95**2 * wished / (1 - wished)) if wished < 1 else None
    best = point(estimated)
    return WishedPoint(
        wished=wished,
        threshold=best.threshold,
        count=best.count,
        coverage=best.coverage,
        accuracy=best.accuracy,
        accuracy_interval_95=best.accuracy_interval_95,
        assured=point(assured),
        images_to_assure=needed,
    )


def _shortest_between(below: float, top: float) -> float:
    """The number with the fewest decimals that is above ``below`` and not above ``top``."""
    for decimals in range(2, 7):
        scale = 10.0**decimals
        rounded = math.floor(top * scale) / scale
        if below < rounded <= top:
            return rounded
    return top


def mcnemar_worse(only_champion_right: int, only_challenger_right: int) -> float:
    """One-sided exact p-value that the challenger is worse; small: it errs where the champion does not.

    Of the images that only one of the two gets right, each falls to either with probability 1/2 if both are equally
    good. Source: McNemar, Psychometrika 1947, with the binomial tail in place of its chi-square.
    """
    disagreed = only_champion_right + only_challenger_right
    if disagreed == 0:
        return 1.0
    return _at_least(only_champion_right, disagreed)


def _at_least(heads: int, tosses: int) -> float:
    """The probability of that many heads or more among a fair coin's tosses, counted exactly."""
    ways = total = 1
    for tails in range(1, tosses - heads + 1):
        ways = ways * (tosses - tails + 1) // tails
        total += ways
    return total / (1 << tosses)


def top_answers(labels: Labels, probabilities: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The confidence of each answer, float64 [N], and whether it is right, bool [N]."""
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def _ratio(numerator: Floats, denominator: Floats | Labels) -> Floats:
    ratio: Floats = np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
    return ratio
