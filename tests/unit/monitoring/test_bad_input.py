"""Captures, labels and a state that are not as they should be: each is said in one line, and the rest goes on."""

from __future__ import annotations

import base64
import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitoring.store import update
from tests.unit.monitoring.test_report_drift import (  # noqa: F401 - bucket is a fixture
    LIVE,
    OLD,
    START,
    bucket,
    capture,
    line,
    main_on_s3,
    make_baseline,
    numbers,
    run,
)

HOUR = timedelta(hours=1)
PLAIN = ("--classes", "bicycle,motorcycle", "--threshold", "0.93")
STATE = (*PLAIN, "--state", "s3://shop/state")


def fill(root: Path, start: datetime, count: int, *, name: str = "", package: str = LIVE) -> None:
    for number in range(count):
        at = start + timedelta(minutes=number)
        capture(root, at, line(f"{name}{start:%d%H}-{number}", at, [0.97, 0.03], package=package))


def put(bucket: Any, root: Path) -> None:  # noqa: F811 - the fixture
    for path in root.rglob("*.jsonl"):
        bucket.upload_file(str(path), "shop", f"captures/{path.relative_to(root).as_posix()}")


def on_day(work: Path, day: int, *more: str) -> dict[str, Any]:
    """A report about the first two hours of a day, from S3."""
    start = START + timedelta(days=day)
    span = ("--start", start.isoformat(), "--end", (start + 2 * HOUR).isoformat())
    assert main_on_s3(work, *STATE, *span, *more, hours=2) == 0
    return numbers(work)


def test_both_formats_of_capture_in_one_hour_are_one_stream(tmp_path: Path) -> None:
    """As SageMaker writes them, the container, and SageMaker without a list of JSON's content types."""
    root = tmp_path / "captures"
    fill(root, START, 3)
    own = json.loads(line("own", START, [0.6, 0.4]))
    own["eventMetadata"] |= {"inferenceId": "a", "inferenceTime": "2026-03-01T00:30:00Z"}
    capture(root, START, json.dumps(own, separators=(",", ":")) + "\n", name="00-30-00-000-own.jsonl")
    packed = json.loads(line("packed", START, ""))
    data = base64.b64encode(b"[0.2, 0.8]").decode()
    packed["captureData"]["endpointOutput"] |= {"data": data, "encoding": "BASE64"}
    capture(root, START, json.dumps(packed) + "\n")
    assert run(root, tmp_path, *PLAIN, hours=1) == 0
    found = numbers(tmp_path)
    assert (found["counts"]["records"], found["counts"]["malformed"], found["notes"]) == (5, 0, [])
    assert found["per_class"]["motorcycle"]["count"] == 1


def test_an_hour_that_was_copied_beside_itself_counts_once(tmp_path: Path) -> None:
    root = tmp_path / "captures"
    fill(root, START, 5)
    hour = root / "vehicles/AllTraffic/2026/03/01/00"
    shutil.copytree(hour, hour.with_name("01"))
    shutil.copytree(root / "vehicles/AllTraffic", root / "vehicles/AllTraffic-old")
    make_baseline(tmp_path / "baseline.json")
    assert run(root, tmp_path, "--baseline", str(tmp_path / "baseline.json"), hours=1) == 0
    found = numbers(tmp_path)
    assert (found["counts"]["records"], found["counts"]["duplicates"]) == (5, 15)
    assert found["drift"]["predictions"] == 5


@pytest.mark.parametrize("together", [False, True])
def test_a_clock_that_is_days_off_does_not_replace_the_hour_that_it_names(
    tmp_path: Path,
    bucket: Any,  # noqa: F811 - the fixture
    together: bool,
) -> None:
    for hour in range(2):
        fill(tmp_path / "one", START + hour * HOUR, 5)
    put(bucket, tmp_path / "one")
    assert on_day(tmp_path, 0)["counts"]["records"] == 10
    if together:
        on_day(tmp_path, 3, "--when-empty", "report")  # which puts the hours of the first day into one file
    later = START + timedelta(days=3)
    fill(tmp_path / "two", later, 4)
    capture(tmp_path / "two", later, line("behind", START + timedelta(minutes=30), [0.97, 0.03]))
    put(bucket, tmp_path / "two")
    third = on_day(tmp_path, 3)
    assert third["counts"]["records"] == 4
    said = "whose predictions name an hour far from this window, since a clock is wrong"
    assert [note for note in third["notes"] if said in note] == on_day(tmp_path, 3)["notes"], "also when it was read"
    assert third["notes"][0].startswith("1 file")
    assert on_day(tmp_path, 0)["counts"]["records"] == 11


@pytest.mark.parametrize("name", ["00.parquet", "day.parquet"])
def test_a_damaged_state_is_said_once_and_built_again(tmp_path: Path, bucket: Any, name: str) -> None:  # noqa: F811
    """Once of an hour, whose neighbour's captures are gone; once of a whole day."""
    for hour in range(2):
        fill(tmp_path / "one", START + hour * HOUR, 5)
    put(bucket, tmp_path / "one")
    assert on_day(tmp_path, 0)["notes"] == []
    if name == "day.parquet":
        on_day(tmp_path, 3, "--when-empty", "report")  # which puts days that are over together
    listed = [found["Key"] for found in bucket.list_objects_v2(Bucket="shop", Prefix="state/")["Contents"]]
    (kept,) = (key for key in listed if key.endswith(f"/{name}"))
    half = bucket.get_object(Bucket="shop", Key=kept)["Body"].read()[:300]
    bucket.put_object(Bucket="shop", Key=kept, Body=half)
    if name == "00.parquet":
        gone = [found["Key"] for found in bucket.list_objects_v2(Bucket="shop", Prefix="captures/")["Contents"]][1]
        bucket.delete_object(Bucket="shop", Key=gone)
    repaired = on_day(tmp_path, 0)
    assert "was damaged (1 file" in repaired["notes"][0]
    assert repaired["counts"]["records"] == 10, "an hour that is whole stays, though its captures are gone"
    assert on_day(tmp_path, 0)["notes"] == []


@pytest.mark.parametrize("seen", [LIVE, OLD])
def test_answers_of_another_version_are_told_apart(tmp_path: Path, seen: str) -> None:
    root = tmp_path / "captures"
    fill(root, START, 30, package=seen)
    make_baseline(tmp_path / "baseline.json")
    told = ("--baseline", str(tmp_path / "baseline.json"), "--model-package", LIVE)
    assert run(root, tmp_path, *told, hours=1) == 0
    found, page = numbers(tmp_path), (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert ("Another version answered" in page) is (seen == OLD)
    assert ("none of them by the version that this report is about" in found["verdict"]) is (seen == OLD)


def labelled(event: str, data: object, **more: object) -> str:
    entry = {"data": data, "encoding": "CSV"} | more
    return json.dumps({"groundTruthData": entry, "eventMetadata": {"eventId": event}, "eventVersion": "0"}) + "\n"


def test_labels_that_are_none_are_counted_whatever_they_hold(tmp_path: Path) -> None:
    fill(tmp_path / "captures", START, 12)
    (tmp_path / "labels").mkdir()
    odd = ["9" * 5000, "²", "-1", "1.0", "[" * 50_000, None, {"a": 1}]
    lines = [labelled(f"0100-{number}", each) for number, each in enumerate(odd)]
    lines += ["[" * 200_000 + "\n", '{"a":' * 200_000 + "\n", '{"groundTruthData":[],"eventMetadata":null}\n']
    lines += [labelled("0100-11", "1"), labelled("0100-11", "0")]
    (tmp_path / "labels/a.jsonl").write_text("".join(lines), encoding="utf-8")
    assert run(tmp_path / "captures", tmp_path, *PLAIN, "--ground-truth", str(tmp_path / "labels"), hours=1) == 0
    found = numbers(tmp_path)["quality"]
    assert (found["labelled"], found["ground_truth"]["contradictions"]) == (1, 1)
    assert sum(found["ground_truth"]["unusable"].values()) == len(odd) + 3


def test_a_time_that_no_clock_shows_is_a_malformed_line_and_the_next_one_counts(tmp_path: Path) -> None:
    root = tmp_path / "captures"
    fill(root, START, 2)
    for number, text in enumerate(["2199-12-31T23:00:00Z", "9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00+23:00"]):
        odd = json.loads(line(f"odd-{number}", START, [0.97, 0.03]))
        odd["eventMetadata"]["inferenceTime"] = text
        capture(root, START, json.dumps(odd) + "\n")
    words = ["--captures", str(root), "--state", str(tmp_path / "state"), "--classes", "bicycle,motorcycle"]
    assert update.main(words) == 0
    assert run(root, tmp_path, *PLAIN, "--state", str(tmp_path / "state"), hours=1) == 0
    counts = numbers(tmp_path)["counts"]
    assert (counts["records"], counts["malformed"]) == (2, 2)
