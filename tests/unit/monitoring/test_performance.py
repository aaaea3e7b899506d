"""Quality against ground truth: files in, figures computed by hand out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitoring.quality.ground_truth import read_ground_truth
from monitoring.quality.performance import Answers, performance
from processing.evaluation.scores import wilson_interval

CLASSES = ("bicycle", "motorcycle")


def line(event_id: Any, data: Any, encoding: str = "CSV") -> str:
    document = {
        "groundTruthData": {"data": data, "encoding": encoding},
        "eventMetadata": {"eventId": event_id},
        "eventVersion": "0",
    }
    return json.dumps(document) + "\n"


def answers(confidence: list[float], predicted: list[int], threshold: float = 0.9) -> Answers:
    top = np.array(confidence)
    probabilities = np.stack([1 - top, top], axis=1)
    flipped = np.array(predicted) == 0
    probabilities[flipped] = probabilities[flipped, ::-1]
    ids = [f"event-{index}" for index in range(len(top))]
    return Answers(probabilities, top >= threshold, ids, [f"inference-{index}" for index in range(len(top))])


def test_labels_are_read_with_every_encoding_and_what_cannot_be_used_is_counted(tmp_path: Path) -> None:
    hour = tmp_path / "2026/01/31/12"
    hour.mkdir(parents=True)
    (hour / "b.jsonl").write_text(line("twice", "0") + line("coded", "MQ==", "BASE64") + line("named", "motorcycle"))
    (hour / "c.jsonl").write_text(
        line("twice", "1")
        + line("", "1")
        + line("x", "2")
        + line("y", 1)
        + "{}\n"
        + '{"half\n'
        + line("z", "?", "BASE64")
    )
    truth = read_ground_truth(tmp_path, CLASSES)
    assert truth.labels == {"twice": 1, "coded": 1, "named": 1}
    assert truth.contradictions == 1
    assert (truth.files, truth.lines) == (2, 10)
    assert truth.unusable == {
        "the eventId is no text": 1,
        "'2' is not a class of this model (bicycle, motorcycle)": 1,
        "expected JSON with groundTruthData.data, a text, and eventMetadata.eventId": 4,
    }


def test_no_folder_is_no_label(tmp_path: Path) -> None:
    assert read_ground_truth(tmp_path / "none", CLASSES).labels == {}


def test_of_many_classes_the_pairs_that_occurred_are_named() -> None:
    names = [f"class {number}" for number in range(1000)]
    probabilities = np.full((2, 1000), 1e-6)
    probabilities[:, 7] = 0.9
    seen = Answers(probabilities, np.ones(2, bool), ["event-0", "event-1"], [None, None])
    found = performance(seen, {"event-0": 7, "event-1": 8}, names)
    assert found.confusion == []
    assert found.confused == {"class 7": {"class 7": 1}, "class 8": {"class 7": 1}}


def test_the_figures_equal_those_computed_by_hand() -> None:
    """Four predictions, three of them right; by inferenceId, by eventId, and a label for another window."""
    seen = answers([0.95, 0.99, 0.6, 0.97, 0.8], [0, 1, 1, 1, 0])
    truth = {"inference-0": 0, "event-1": 1, "inference-2": 1, "event-2": 0, "inference-3": 0, "elsewhere": 1}
    found = performance(seen, truth, CLASSES)
    assert found.labelled == 4
    assert found.unknown_ids == 2, "the one of another window, and a second label for the same prediction"
    assert found.confusion == [[1, 1], [0, 2]]
    assert found.accuracy is not None
    assert found.accuracy.value == 0.75
    assert found.accuracy.interval == list(wilson_interval(3, 4))
    assert found.accuracy.passing.labels == 3
    assert found.accuracy.passing.value == pytest.approx(2 / 3)
    assert found.accuracy.not_passing.value == 1.0
    assert found.accuracy.traffic is None, "too few labels of each kind to speak for the traffic"
    assert found.per_class["bicycle"].precision == 1.0
    assert found.per_class["bicycle"].recall == 0.5
    assert found.per_class["motorcycle"].precision == pytest.approx(2 / 3)
    assert found.per_class["motorcycle"].f1 == pytest.approx(0.8)
    assert found.macro_f1 == pytest.approx((2 / 3 + 0.8) / 2)
    assert found.auc["bicycle"] == pytest.approx(0.75), "three of four pairs are in order"
    assert found.calibration_error == pytest.approx((0.4 + abs(0.95 + 0.99 + 0.97 - 2)) / 4)


def test_labels_of_low_confidence_alone_do_not_speak_for_the_traffic() -> None:
    confidence = [0.99] * 80 + [0.6] * 20
    seen = answers(confidence, [1] * 100)
    reviewed = {f"inference-{index}": index % 2 for index in range(80, 100)}
    assert performance(seen, reviewed, CLASSES).accuracy.traffic is None  # type: ignore[union-attr]  # there are labels
    sampled = reviewed | {f"inference-{index}": 1 for index in range(10)}
    accuracy = performance(seen, sampled, CLASSES).accuracy
    assert accuracy is not None
    assert accuracy.value == pytest.approx(20 / 30)
    assert accuracy.traffic == pytest.approx(0.8 * 1.0 + 0.2 * 0.5)


def test_without_labels_there_is_nothing_to_say() -> None:
    found = performance(answers([0.9, 0.7], [0, 1]), {}, CLASSES)
    assert (found.labelled, found.accuracy, found.macro_f1, found.calibration_error) == (0, None, None, None)
    assert found.auc == {"bicycle": None, "motorcycle": None}


def test_an_empty_window_has_no_figures() -> None:
    found = performance(answers([], []), {"inference-0": 1}, CLASSES)
    assert (found.labelled, found.unknown_ids, found.accuracy) == (0, 1, None)
