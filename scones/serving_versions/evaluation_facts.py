"""What a person wants to know of an evaluation, in a few lines.

Runs on a laptop. Reads the evaluation.json that was registered with a model version; one of an older version has fewer
sections, and then fewer lines come out.
"""

from __future__ import annotations

from msgspec import UNSET

from reporting.documents.evaluation import Comparison, Coverage, Evaluation, Interval, WishedPoint

SHOWN_THRESHOLDS = (0.73, 0.93, 0.94)


def rows(document: Evaluation) -> list[tuple[str, str]]:
    """Name and value of each fact."""
    found = [("test accuracy", f"{document.accuracy:.4f}{_interval(document.accuracy_interval_95)}")]
    if document.images:
        found.append(("test images", str(document.images)))
    if document.area_under_curve is not None:
        found.append(("area under the curve", f"{document.area_under_curve:.4f}"))
    if document.calibration_error is not None:
        found.append(("calibration error (ECE)", f"{document.calibration_error:.4f}"))
    for name, scores in document.classes.items():
        found.append((f"class {name}", f"precision {scores.precision:.3f}, recall {scores.recall:.3f}"))
    wanted = {*SHOWN_THRESHOLDS, document.threshold}
    found += [(f"threshold {e.threshold:g}", _passing(e)) for e in document.coverage if e.threshold in wanted]
    if document.threshold_for_accuracy:
        found.append(_threshold_for_accuracy(document.threshold_for_accuracy))
    if document.champion is not UNSET:
        found.append(("against the approved model", champion(document.champion)))
    return found


def champion(comparison: Comparison | None) -> str:
    """How it compares with the model that was approved when it was evaluated."""
    if comparison is None:
        return "there was none"
    name = f"version {comparison.model_package_arn.rpartition('/')[2]}"
    if comparison.p_value is None or comparison.accuracy is None:
        return f"{name}: not compared, {comparison.reason or 'no reason given'}"
    only_this, only_that = comparison.only_challenger_right, comparison.only_champion_right
    return (
        f"{name} reaches {comparison.accuracy:.4f} on the same images; only this one gets {only_this} right, only"
        f" that one {only_that} (p-value of being worse {comparison.p_value:.3f})"
    )


def _passing(entry: Coverage | WishedPoint) -> str:
    if entry.accuracy is None:
        return "no image passes"
    return f"{entry.coverage:.1%} of the images pass, {entry.accuracy:.1%} of those are right"


def _threshold_for_accuracy(found: WishedPoint) -> tuple[str, str]:
    name = f"threshold for {found.wished:.1%} accuracy"
    if found.threshold is None:
        return name, "none reaches it"
    return name, f"{found.threshold:g}: {_passing(found)}"


def _interval(interval: Interval | None) -> str:
    return f" (95 % interval {interval[0]:.4f} to {interval[1]:.4f})" if interval else ""
