"""What to label next: enough by chance for a wished interval, and first what teaches most."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from monitoring.quality.labelling import MOST_OF_A_KIND, Unlabelled, budget, label_first
from processing.evaluation.scores import wilson_interval


@pytest.mark.parametrize("accuracy", [0.5, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("half", ["0.1", "0.05", "0.02"])
def test_so_many_labels_give_an_interval_of_the_wished_width(accuracy: float, half: str) -> None:
    number = budget(accuracy, 10**9)[half]
    low, high = wilson_interval(round(accuracy * number), number)
    assert (high - low) / 2 <= float(half) * 1.02


def test_an_accuracy_that_nobody_knows_takes_most_and_few_predictions_fewer() -> None:
    assert budget(None, 10**9) == budget(0.5, 10**9) == {"0.1": 93, "0.05": 381, "0.02": 2398}
    assert budget(None, 100)["0.02"] <= 100
    assert budget(0.9, 0) == {"0.1": 0, "0.05": 0, "0.02": 0}


def seen(**changed: Any) -> Unlabelled:
    count = 40
    chance = np.random.default_rng(0)
    brightness = chance.normal(120, 5, count)
    brightness[10:16] = [40, 60, 61, 62, 63, 90]
    novelty = np.ones(count)
    novelty[30:33] = [9, 8, np.nan]
    values: dict[str, Any] = {
        "ids": [f"id-{row}" for row in range(count)],
        "confidence": np.linspace(0.99, 0.5, count),
        "predicted": ["bicycle"] * count,
        "statistics": {"brightness": brightness, "novelty": novelty},
        "open": np.arange(count) != 39,
    }
    return Unlabelled(**values | changed)


def test_the_doubtful_the_far_and_the_typical_come_first_and_none_twice() -> None:
    reference = {"brightness": np.random.default_rng(1).normal(120, 5, 400)}
    found = label_first(seen(), ["brightness", "class share"], reference)
    by_why = {why: [each.id for each in found if each.why == why] for why in {each.why for each in found}}
    assert by_why["least confident"] == ["id-38", "id-37", "id-36", "id-35", "id-34"], "the least is labelled"
    assert by_why["furthest from the training images"][:2] == ["id-30", "id-31"]
    assert set(by_why["typical of what has moved"][:4]) == {"id-11", "id-12", "id-13", "id-14"}
    assert len({each.id for each in found}) == len(found) <= 3 * MOST_OF_A_KIND


def test_without_images_or_predictions_there_is_less_to_choose_from() -> None:
    assert {each.why for each in label_first(seen(statistics={}), ["brightness"], {})} == {"least confident"}
    nothing = Unlabelled([], np.empty(0), [], {}, np.empty(0, bool))
    assert label_first(nothing, [], {}) == []
