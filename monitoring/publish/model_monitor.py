"""The documents of SageMaker Model Monitor about our traffic, so that tools which read those can read ours.

Runs in the monitoring container. Values in, documents out; it touches no files. Layouts: Amazon SageMaker developer
guide, "Schema for Statistics (statistics.json file)", "Schema for Constraints (constraints.json file)" and "Schema for
Violations (constraint_violations.json file)". Features: the confidence, the predicted class, each image statistic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from monitoring.drift.channels import Predictions
from monitoring.drift.detector import HOURS_PER_MONTH, Floats
from monitoring.drift.findings import Finding
from reporting.documents.report import Violation

Document = dict[str, object]

BUCKETS = 10
STATISTICS_FILE = "statistics.json"
CONSTRAINTS_FILE = "constraints.json"
# The guide's pages disagree on the name, and the readers with them.
VIOLATIONS_FILES = ("constraint_violations.json", "constraints_violations.json")
PREDICTED = "predicted_class"
# What a channel is called here, where that is no feature's name.
_FEATURES = {"below threshold": "confidence", "class share": PREDICTED}
_COMPLETENESS_CHANNELS = ("parse errors", "capture gap")


def statistics(predictions: Predictions, classes: Sequence[str]) -> Document:
    """``statistics.json``: counts, moments and a histogram of each feature."""
    features = [
        *(_numbers(name, values) for name, values in _numeric(predictions).items()),
        {
            "name": PREDICTED,
            "inferred_type": "String",
            "string_statistics": {
                "common": {"num_present": len(predictions), "num_missing": 0},
                "distinct_count": float(len(np.unique(predictions.predicted))),
                "distribution": {
                    "categorical": {
                        "buckets": [
                            {"value": name, "count": int((predictions.predicted == index).sum())}
                            for index, name in enumerate(classes)
                        ]
                    }
                },
            },
        },
    ]
    return {"version": 0.0, "dataset": {"item_count": len(predictions)}, "features": features}


def constraints(predictions: Predictions, classes: Sequence[str], rate_per_month: float) -> Document:
    """``constraints.json``: what later traffic is held against; `monitoring.drift.findings` compares."""
    numeric = [
        {
            "name": name,
            "inferred_type": "Fractional",
            "completeness": float(np.isfinite(values).mean()) if len(values) else 0.0,
            "num_constraints": {"is_non_negative": bool((values[np.isfinite(values)] >= 0.0).all())},
        }
        for name, values in _numeric(predictions).items()
    ]
    predicted = {
        "name": PREDICTED,
        "inferred_type": "String",
        "completeness": 1.0,
        "string_constraints": {"domains": list(classes)},
    }
    return {
        "version": 0.0,
        "features": [*numeric, predicted],
        "monitoring_config": {
            "evaluate_constraints": "Enabled",
            "emit_metrics": "Enabled",
            "datatype_check_threshold": 1.0,
            "domain_content_threshold": 1.0,
            "distribution_constraints": {
                "perform_comparison": "Enabled",
                "comparison_threshold": rate_per_month,
                "comparison_method": "SequentialEDetector",
            },
        },
    }


def violations(findings: Sequence[Finding]) -> list[Violation]:
    """What ``constraint_violations.json`` lists: an entry for each channel that has moved."""
    found = []
    for finding in findings:
        for channel, state in finding.channels.items():
            if state.moved:
                complete = channel in _COMPLETENESS_CHANNELS
                months = round(10**finding.threshold / HOURS_PER_MONTH)
                found.append(
                    Violation(
                        feature_name=_FEATURES.get(channel, channel),
                        constraint_check_type="completeness_check" if complete else "baseline_drift_check",
                        description=(
                            f"{channel}: the evidence against the baseline reached 10^{finding.threshold:.1f}, as "
                            f"it does in about one of {months:,} months of healthy traffic"
                        ),
                    )
                )
    return found


def _numeric(predictions: Predictions) -> Mapping[str, Floats]:
    return {"confidence": predictions.confidence, **predictions.statistics}


def _numbers(name: str, values: Floats) -> Document:
    known = values[np.isfinite(values)]
    common = {"num_present": len(known), "num_missing": len(values) - len(known)}
    if not len(known):
        return {"name": name, "inferred_type": "Fractional", "numerical_statistics": {"common": common}}
    counts, edges = np.histogram(known, BUCKETS)
    return {
        "name": name,
        "inferred_type": "Fractional",
        "numerical_statistics": {
            "common": common,
            "mean": float(known.mean()),
            "sum": float(known.sum()),
            "std_dev": float(known.std()),
            "min": float(known.min()),
            "max": float(known.max()),
            "distribution": {
                "kll": {
                    "buckets": [
                        {"lower_bound": float(low), "upper_bound": float(high), "count": float(count)}
                        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
                    ]
                }
            },
        },
    }
