"""The monitoring job holds traffic against the live version's baseline, and says what it could not count."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from moto import mock_aws
from PIL import Image

from imaging.statistics import image_statistics
from monitoring import baseline
from monitoring.drift.channels import Predictions
from monitoring.report import main
from reporting.documents.json import to_text

START = datetime(2026, 3, 1, tzinfo=UTC)
HOURS, DAMAGED = 20, 5
A_HOUR = 30
LIVE, OLD = "arn:aws:sagemaker:eu-west-1:1:model-package/vehicles/2", "arn:aws:sagemaker:eu-west-1:1:model-package/v/1"
CLASSES = ("bicycle", "motorcycle")


def picture(value: int, seed: int) -> str:
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(value, value + 40, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def line(event: str, at: datetime, answer: Any, image: str = "", *, identity: str = "", package: str = LIVE) -> str:
    data = answer if isinstance(answer, str) else json.dumps(answer)
    output = {"observedContentType": "application/json", "mode": "OUTPUT", "data": data, "encoding": "JSON"}
    capture: dict[str, Any] = {"endpointOutput": output}
    if image:
        capture["endpointInput"] = {
            "observedContentType": "image/png", "mode": "INPUT", "data": image, "encoding": "BASE64",
        }  # fmt: skip
    metadata = {"eventId": event, "inferenceTime": at.isoformat(timespec="milliseconds")}
    metadata |= {"inferenceId": identity} if identity else {}
    document = {"captureData": capture, "eventMetadata": metadata, "eventVersion": "0"}
    document["eventMetadata"]["customAttributes"] = [f"model_package_arn={package}"]
    return json.dumps(document) + "\n"


def capture(root: Path, at: datetime, text: str, variant: str = "AllTraffic", name: str = "a.jsonl") -> None:
    folder = root / "vehicles" / variant / f"{at:%Y/%m/%d/%H}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a", encoding="utf-8") as out:
        out.write(text)


def make_baseline(path: Path, classes: tuple[str, ...] = CLASSES) -> None:
    random = np.random.default_rng(1)
    confidence = 0.94 + 0.05 * random.random(400)
    pixels = np.stack([np.random.default_rng(at).integers(140, 180, (32, 32, 3), np.uint8) for at in range(400)])
    seen = Predictions(
        np.zeros(400, np.int64), confidence, np.arange(400) % 2, confidence >= 0.93, image_statistics(pixels)
    )
    path.write_text(to_text(baseline.describe(seen, classes, "validation split", 0.93), indent=1))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captures of which the last hours are damaged, labels, a baseline, and what is known of the endpoint."""
    folder = tmp_path_factory.mktemp("shop")
    random = np.random.default_rng(2)
    light, dark = [picture(140, 1000 + at) for at in range(A_HOUR * HOURS)], picture(20, 0)
    for hour in range(HOURS):
        bad = hour >= HOURS - DAMAGED
        for number in range(A_HOUR):
            at = START + timedelta(hours=hour, minutes=2 * number)
            confidence = 0.6 + 0.3 * random.random() if bad else 0.94 + 0.05 * random.random()
            share = confidence if number % 2 else 1 - confidence
            answer = [round(share, 4), round(1 - share, 4)]
            capture(
                folder / "captures",
                at,
                line(f"{hour}-{number}", at, answer, dark if bad else light[hour * A_HOUR + number]),
            )
    make_baseline(folder / "baseline.json")
    (folder / "labels").mkdir()
    labels = [(f"0-{number}", CLASSES[1 - number % 2]) for number in range(10)] + [("0-10", "bicycle"), ("nobody", "1")]
    for event, label in labels:
        truth = {"groundTruthData": {"data": label, "encoding": "CSV"}, "eventMetadata": {"eventId": event}}
        with (folder / "labels" / "a.jsonl").open("a", encoding="utf-8") as out:
            out.write(json.dumps(truth) + "\n")
    (folder / "context").mkdir()
    deployed = {"at": START.isoformat(), "version": "version 2", "outcome": "deployed"}
    (folder / "context" / "deployments.json").write_text(json.dumps([deployed]))
    traffic = [
        {
            "hour": (START + timedelta(hours=hour)).isoformat(), "requests": A_HOUR + (10 if hour == 3 else 0),
            "latency_ms": 18.5, "latency_p99_ms": 70,
        }
        for hour in range(HOURS)
    ]  # fmt: skip
    (folder / "context" / "traffic.json").write_text(json.dumps(traffic))
    return folder


def run(captures: Path, work: Path, *more: str, hours: int = HOURS) -> int:
    arguments = ["--captures", str(captures), "--output", str(work / "report"), "--start", START.isoformat()]
    arguments += ["--end", (START + timedelta(hours=hours)).isoformat(), "--endpoint", "vehicles"]
    arguments += ["--message-file", str(work / "message"), "--least-confident", "2"]
    return main([*arguments, *more])


def numbers(work: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((work / "report" / "report.json").read_text(encoding="utf-8"))
    return document


def test_damage_is_an_alarm_with_its_channels_its_time_and_model_monitors_files(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Told by the environment, as Model Monitor starts its containers.
    told = {
        "dataset_source": shop / "captures", "output_path": tmp_path / "report", "start_time": "2026-03-01T00:00:00Z",
        "end_time": "2026-03-01T20:00:00Z", "sagemaker_endpoint_name": "vehicles",
        "sagemaker_monitoring_schedule_name": "hourly", "baseline_statistics": shop / "statistics.json",
        "publish_cloudwatch_metrics": "Enabled",
    }  # fmt: skip
    for name, value in told.items():
        monkeypatch.setenv(name, str(value))
    more = ["--metrics-folder", str(tmp_path / "metrics"), "--message-file", str(tmp_path / "message")]
    more += ["--ground-truth", str(shop / "labels"), "--context", str(shop / "context")]
    assert main([*more, "--deployed-at", START.isoformat()]) == 0
    report = numbers(tmp_path)
    assert report["verdict"].startswith("ALARM, the predictions have moved since 2026-03-01 1")
    families = {family["family"]: family for family in report["drift"]["families"]}
    assert (families["predictions"]["alarm"], families["images"]["alarm"]) == (True, True)
    assert families["predictions"]["channels"]["below threshold"]["moved"]
    assert families["images"]["channels"]["brightness"]["moved"]
    assert "2026-03-01T13" < families["predictions"]["since"] < "2026-03-01T17"
    violated = {each["feature_name"] for each in report["violations"]}
    assert {"confidence", "brightness"} <= violated
    files = {path.name: path for path in (tmp_path / "report").iterdir()}
    for name in ("constraint_violations.json", "constraints_violations.json"):
        assert json.loads(files[name].read_text()) == {"violations": report["violations"]}
    assert json.loads(files["statistics.json"].read_text())["dataset"]["item_count"] == HOURS * A_HOUR
    assert {"drift_evidence.png", "latency.png", "confidence_by_truth.png", "calibration.png"} <= set(files)
    # Labels: ten right, one wrong, one of nobody.
    assert (report["quality"]["labelled"], report["quality"]["unknown_ids"]) == (11, 1)
    assert report["quality"]["accuracy"]["value"] == pytest.approx(10 / 11)
    assert [each["event_id"] for each in report["mistakes"]] == ["0-10"]
    assert report["capture_gap"] == pytest.approx(10 / (HOURS * A_HOUR + 10))
    assert report["most_unusual"][0]["event_id"].split("-")[0] in {str(HOURS - n) for n in range(1, DAMAGED + 1)}
    page = files["report.html"].read_text(encoding="utf-8")
    assert '<p class="verdict alarm">' in page
    for text in ("1 label of predictions that the window does not have", "Surest mistakes", "version 2"):
        assert text in page
    lines = [json.loads(each) for each in (tmp_path / "metrics" / "scones.jsonl").read_text().splitlines()]
    assert {each["MetricName"]: each["Value"] for each in lines} == report["metrics"]
    assert lines[0]["Dimensions"] == [
        {"Name": "Endpoint", "Value": "vehicles"}, {"Name": "MonitoringSchedule", "Value": "hourly"},
    ]  # fmt: skip
    assert report["metrics"]["drift_predictions"] >= 1.0


def test_the_healthy_hours_raise_nothing(shop: Path, tmp_path: Path) -> None:
    more = ("--baseline", str(shop / "baseline.json"), "--state", str(tmp_path / "state"))
    assert run(shop / "captures", tmp_path, *more, hours=HOURS - DAMAGED) == 0
    report = numbers(tmp_path)
    assert report["verdict"].startswith("Nothing has moved away from the baseline: 450 predictions")
    assert report["violations"] == []
    # A damaged state is built again, and what an earlier version kept is not read; the reader is told of both.
    (tmp_path / "state" / "classes-0123").mkdir()
    stored = next((tmp_path / "state").rglob("05.parquet"))
    stored.write_bytes(b"no parquet")
    assert run(shop / "captures", tmp_path, *more, hours=HOURS - DAMAGED) == 0
    earlier, damaged = numbers(tmp_path)["notes"]
    assert "earlier version kept (classes-0123) is not read" in earlier
    assert "damaged" in damaged
    assert numbers(tmp_path)["counts"]["records"] == 450


def test_what_is_no_traffic_of_the_version_is_left_out_and_counted(shop: Path, tmp_path: Path) -> None:
    root, at, three = tmp_path / "captures", START + timedelta(minutes=30), [0.2, 0.3, 0.5]
    capture(root, at, line("mine", at, [0.99, 0.01]))
    capture(root, at, line("tested", at, [0.5, 0.5], identity="smoke-test-1"))
    capture(root, at, line("tested before", at, three, identity="smoke-test-2", package=OLD))
    capture(root, at, line("by another", at, three, package=OLD))
    capture(root, at, line("copied", at, [0.5, 0.5]), variant="Shadow")
    capture(root, at, line("broken", at, three))
    more = ("--baseline", str(shop / "baseline.json"), "--model-package", LIVE)
    assert run(root, tmp_path, *more, hours=1) == 0
    report = numbers(tmp_path)
    counts = report["counts"]
    assert {name: counts[name] for name in ("records", "smoke_tests", "shadow", "other_versions", "malformed")} == {
        "records": 1, "smoke_tests": 2, "shadow": 1, "other_versions": 1, "malformed": 1,
    }  # fmt: skip
    assert counts["outside_window"] == 0
    assert report["drift"]["predictions"] == 1
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "left out: 2 of smoke tests, 1 of the shadow variant, 1 of versions with other classes" in page


def test_each_kind_of_bad_line_is_named(shop: Path, tmp_path: Path) -> None:
    root, at = tmp_path / "captures", START + timedelta(minutes=30)
    capture(root, at, line("good", at, [0.99, 0.01]))
    capture(root, at, line("a", at, "[NaN, 0.5]"))
    capture(root, at, line("b", at, [0.9, 0.9]))
    verbose = {"probabilities": [0.1, 0.9], "labels": ["bicycle", "tram"]}
    capture(root, at, line("c", at, verbose))
    capture(root, at, line("d", at, [0.5, 0.5])[:80], name="cut.jsonl")
    late = at + timedelta(hours=9)
    capture(root, late, line("skewed", at, [0.5, 0.5]))
    assert run(root, tmp_path, "--baseline", str(shop / "baseline.json"), "--model-package", LIVE, hours=12) == 0
    report = numbers(tmp_path)
    reasons = " ".join(report["malformed"]["reasons"])
    for text in ("got nan", "must sum to 1, got 1.8", "the class 'tram'", "the file ends in the middle of the line"):
        assert text in reasons
    assert (report["counts"]["malformed"], report["counts"]["misplaced"]) == (4, 1)
    assert report["notes"] == [
        "Predictions that say another hour than the file they stand in, since a clock is wrong: 1"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no baseline at"),
        ("{", "is no baseline"),
        ("other", "is the baseline of a model with the classes tram, bus"),
    ],
)
def test_a_baseline_that_is_none_of_this_version_is_refused_in_one_line(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, message: str
) -> None:
    path = tmp_path / "baseline.json"
    if text == "other":
        make_baseline(path, ("tram", "bus"))
    elif text is not None:
        path.write_text(text)
    more = ("--baseline", str(path), "--classes", "bicycle,motorcycle", "--threshold", "0.93")
    assert run(shop / "captures", tmp_path, *more) == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="shop")
        yield s3


def test_from_s3_only_what_is_new_is_copied_and_the_report_is_listed(shop: Path, tmp_path: Path, bucket: Any) -> None:
    for path in sorted((shop / "captures").rglob("*.jsonl")):
        bucket.upload_file(str(path), "shop", f"captures/{path.relative_to(shop / 'captures').as_posix()}")
    bucket.upload_file(str(shop / "baseline.json"), "shop", "baseline.json")
    more = ("--baseline", "s3://shop/baseline.json", "--state", "s3://shop/state")
    common = (*more, "--deployed-at", START.isoformat())
    hours = HOURS - DAMAGED
    first = (*common, "--report-uri", "s3://shop/reports/one", "--new-baseline", "s3://shop/new")
    assert main_on_s3(tmp_path, *first, hours=hours) == 0
    # Captures that are gone stay known, so whoever reads them again would find nothing.
    keys = [found["Key"] for found in bucket.list_objects_v2(Bucket="shop", Prefix="captures/")["Contents"]]
    for key in keys[:hours]:
        bucket.delete_object(Bucket="shop", Key=key)
    again = (*common, "--report-uri", "s3://shop/reports/two")
    assert main_on_s3(tmp_path, *again, hours=HOURS) == 0
    report = numbers(tmp_path)
    assert report["counts"]["records"] == HOURS * A_HOUR
    assert report["verdict"].startswith("ALARM")
    # The first job read beyond its window as well; those images are looked at once they are in one.
    images = next(family for family in report["drift"]["families"] if family["family"] == "images")
    assert images["channels"]["brightness"]["values"] == HOURS * A_HOUR
    listed = json.loads(bucket.get_object(Bucket="shop", Key="reports/index.json")["Body"].read())
    assert [(each["name"], bool(each["alarms"])) for each in listed] == [("two", True), ("one", False)]
    page = bucket.get_object(Bucket="shop", Key="reports/index.html")["Body"].read().decode()
    assert page.index('href="two/report.html"') < page.index('href="one/report.html"')
    renewed = json.loads(bucket.get_object(Bucket="shop", Key="new/baseline.json")["Body"].read())
    assert (renewed["count"], renewed["share_below_threshold"]) == (hours * A_HOUR, 0.0)
    assert renewed["origin"].startswith("traffic from 2026-03-01 00:00")


def main_on_s3(work: Path, *more: str, hours: int) -> int:
    arguments = ["--captures", "s3://shop/captures", "--output", str(work / "report"), "--start", START.isoformat()]
    arguments += ["--end", (START + timedelta(hours=hours)).isoformat(), "--endpoint", "vehicles"]
    return main([*arguments, "--message-file", str(work / "message"), "--least-confident", "2", *more])
