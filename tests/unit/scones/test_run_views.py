"""What the command line says of an evaluation and of a training that goes on."""

from __future__ import annotations

from typing import Any

import pytest

from reporting.documents.evaluation import Comparison, Evaluation
from reporting.documents.json import from_bytes
from scones.runs.pipeline_runs import training_progress
from scones.serving_versions.evaluation_facts import champion, rows
from tests.places import SAMPLES

SAMPLE = SAMPLES / "evaluation.json"


def test_the_facts_of_an_evaluation() -> None:
    facts = dict(rows(from_bytes(SAMPLE.read_bytes(), Evaluation)))
    assert facts["test accuracy"] == "0.9000 (95 % interval 0.8506 to 0.9343)"
    assert facts["area under the curve"] == "0.9603"
    assert facts["calibration error (ECE)"] == "0.0581"
    assert facts["class bicycle"] == "precision 0.900, recall 0.900"
    assert facts["threshold 0.73"] == "75.5% of the images pass, 96.0% of those are right"
    assert facts["threshold for 99.0% accuracy"] == "0.934: 34.5% of the images pass, 100.0% of those are right"
    assert facts["against the approved model"].startswith("version 3 reaches 0.8750 on the same images; only this one")


def test_an_older_evaluation_has_fewer_facts() -> None:
    early = from_bytes(b'{"multiclass_classification_metrics": {"accuracy": {"value": 0.75}}}', Evaluation)
    assert rows(early) == [("test accuracy", "0.7500")]


def test_a_champion_that_was_not_compared_is_named_with_the_reason() -> None:
    comparison = Comparison(model_package_arn="arn:x/group/7", reason="it knows a, b, not c, d")
    assert champion(comparison) == "version 7: not compared, it knows a, b, not c, d"
    assert champion(None) == "there was none"


@pytest.mark.parametrize(
    ("status", "metrics", "expected"),
    [
        ("Downloading", {}, "Downloading"),
        ("Training", {}, "Training"),
        (
            "Training",
            {"epoch": 3, "epochs": 24, "train:loss": 0.4121, "validation:accuracy": 0.91},
            "epoch 3 of 24, train loss 0.412, validation accuracy 0.910",
        ),
        ("Uploading", {"epoch": 24, "epochs": 24}, "Uploading"),
    ],
)
def test_the_progress_of_a_training(status: str, metrics: dict[str, float], expected: str) -> None:
    last: list[dict[str, Any]] = [{"MetricName": name, "Value": value} for name, value in metrics.items()]
    assert training_progress({"SecondaryStatus": status, "FinalMetricDataList": last}) == expected
