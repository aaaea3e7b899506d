"""The documents that readers of SageMaker Model Monitor's files expect, about predictions that are known."""

from __future__ import annotations

import numpy as np

from monitoring.drift import channels
from monitoring.drift import findings as drift
from monitoring.drift.channels import Predictions
from monitoring.publish import model_monitor

CLASSES = ("bicycle", "motorcycle", "lorry")


def predictions(brightness: list[float], predicted: list[int]) -> Predictions:
    count = len(predicted)
    confidence = np.linspace(0.5, 1.0, count)
    return Predictions(
        hour=np.arange(count) // 100,
        confidence=confidence,
        predicted=np.array(predicted, np.int64),
        passes=confidence >= 0.9,
        statistics={"brightness": np.array(brightness)},
    )


def test_statistics_count_what_is_there_and_what_is_missing() -> None:
    document = model_monitor.statistics(predictions([10.0, 30.0, np.nan, 20.0], [0, 1, 1, 0]), CLASSES)
    assert document["dataset"] == {"item_count": 4}
    features = {feature["name"]: feature for feature in document["features"]}
    assert set(features) == {"confidence", "brightness", "predicted_class"}
    brightness = features["brightness"]["numerical_statistics"]
    assert brightness["common"] == {"num_present": 3, "num_missing": 1}
    assert (brightness["mean"], brightness["sum"], brightness["min"], brightness["max"]) == (20.0, 60.0, 10.0, 30.0)
    buckets = brightness["distribution"]["kll"]["buckets"]
    assert sum(bucket["count"] for bucket in buckets) == 3
    assert (buckets[0]["lower_bound"], buckets[-1]["upper_bound"]) == (10.0, 30.0)
    shares = features["predicted_class"]["string_statistics"]["distribution"]["categorical"]["buckets"]
    assert shares == [
        {"value": "bicycle", "count": 2},
        {"value": "motorcycle", "count": 2},
        {"value": "lorry", "count": 0},
    ]


def test_a_statistic_of_no_image_has_no_moments() -> None:
    document = model_monitor.statistics(predictions([np.nan], [0]), CLASSES)
    (brightness,) = [f for f in document["features"] if f["name"] == "brightness"]
    assert brightness["numerical_statistics"] == {"common": {"num_present": 0, "num_missing": 1}}


def test_constraints_say_how_complete_the_features_are() -> None:
    document = model_monitor.constraints(predictions([1.0, np.nan], [0, 1]), CLASSES, rate_per_month=0.025)
    features = {feature["name"]: feature for feature in document["features"]}
    assert features["brightness"]["completeness"] == 0.5
    assert features["predicted_class"]["string_constraints"]["domains"] == list(CLASSES)
    assert document["monitoring_config"]["distribution_constraints"]["comparison_threshold"] == 0.025


def test_only_channels_that_moved_are_violations() -> None:
    chance = np.random.default_rng(0)
    known = channels.reference(predictions(list(chance.normal(100, 10, 2000)), [0, 1] * 1000), CLASSES)
    seen = predictions(list(chance.normal(50, 10, 2000)), [0, 1] * 1000)
    hours = np.arange(20)
    counts = np.full(20, 100)
    findings = drift.look(drift.HourlyTraffic(hours, seen, counts, np.full(20, 50)), known)
    found = model_monitor.violations(findings)
    assert [(v.feature_name, v.constraint_check_type) for v in found if "parse" not in v.description][-1] == (
        "brightness",
        "baseline_drift_check",
    )
    assert ("parse errors", "completeness_check") in [(v.feature_name, v.constraint_check_type) for v in found]
    assert all("of healthy traffic" in v.description for v in found)
