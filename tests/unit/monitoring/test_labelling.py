"""What to label next: enough by chance for a wished interval, first what teaches most; labels against estimates."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitoring.quality.labelling import MOST_OF_A_KIND, Unlabelled, budget, label_first
from processing.evaluation.scores import wilson_interval
from tests.unit.monitoring.test_report_drift import START, bucket, capture, line, main_on_s3, numbers  # noqa: F401 - a fixture

HOURS, A_HOUR, WRONG, REVIEWED = 3, 20, 3, 8


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


def entry(name: str, hour: int, estimated: float | None) -> dict[str, Any]:
    times = [(START + timedelta(hours=hour + more)).strftime("%Y-%m-%dT%H:%M:%SZ") for more in (0, 1)]
    interval = None if estimated is None else [estimated - 0.1, estimated + 0.05]
    return {
        "name": name, "verdict": "v", "alarms": [], "records": A_HOUR, "estimated": estimated, "interval": interval,
        "measured": None, "start": times[0], "end": times[1],
    }  # fmt: skip


@pytest.fixture
def reported(tmp_path: Path, bucket: Any) -> dict[str, Any]:  # noqa: F811 - the fixture
    """The report of three hours, after one of each of the first two; of the first hour everything is labelled."""
    for hour in range(HOURS):
        for number in range(A_HOUR):
            at = START + timedelta(hours=hour, minutes=number)
            unsure = hour == 1 and number < REVIEWED
            answer = [0.6, 0.4] if unsure else [0.97, 0.03]
            capture(tmp_path / "captures", at, line(f"{hour}-{number}", at, answer))
    for path in (tmp_path / "captures").rglob("*.jsonl"):
        bucket.upload_file(str(path), "shop", f"captures/{path.relative_to(tmp_path / 'captures').as_posix()}")
    listed = [entry("second", 1, 0.95), entry("first", 0, 0.9), entry("silent", 0, None)]
    bucket.put_object(Bucket="shop", Key="reports/index.json", Body=json.dumps(listed))
    labels = [
        {"eventMetadata": {"eventId": f"0-{number}"}, "groundTruthData": {"data": str(int(number < WRONG))}}
        for number in range(A_HOUR)
    ]
    labels += [
        {"eventMetadata": {"eventId": f"1-{number}"}, "groundTruthData": {"data": "1"}} for number in range(REVIEWED)
    ]
    labels += [labels[0] | {"groundTruthData": {"data": "1", "encoding": "CSV"}}]
    body = "".join(json.dumps(label | {"eventVersion": "0"}) + "\n" for label in labels)
    bucket.put_object(Bucket="shop", Key=f"truth/{START:%Y/%m/%d/%H}/labels.jsonl", Body=body)
    more = ("--ground-truth", "s3://shop/truth", "--report-uri", "s3://shop/reports/third", "--threshold", "0.93")
    assert main_on_s3(tmp_path, *more, "--classes", "bicycle,motorcycle", hours=HOURS) == 0
    page = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    return {"report": numbers(tmp_path), "page": page}


def test_labels_that_came_later_say_whether_earlier_estimates_held(reported: dict[str, Any]) -> None:
    second, first = reported["report"]["track_record"]
    assert (first["name"], first["estimated"], first["measured"]) == ("first", 0.9, (A_HOUR - WRONG) / A_HOUR)
    low, high = first["measured_interval"]
    assert low < first["measured"] < high
    assert (second["name"], second["measured"]) == ("second", None)
    assert "Past estimates and the truth" in reported["page"]
    assert "The truth lay within what was expected in 1 of 1 labelled window." in reported["page"]


def test_labels_of_what_did_not_pass_alone_do_not_judge_an_earlier_estimate(reported: dict[str, Any]) -> None:
    """The second hour's labels are of the review queue: nearly all wrong, and no word about the rest."""
    second = reported["report"]["track_record"][0]
    assert (second["labels"], second["measured"]) == (REVIEWED, None)
