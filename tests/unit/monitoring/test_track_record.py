"""What earlier reports expected stands beside what labels have said since."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.monitoring.test_report_drift import START, bucket, capture, line, main_on_s3, numbers  # noqa: F401 - a fixture

HOURS, A_HOUR, WRONG, REVIEWED = 3, 20, 3, 8


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
