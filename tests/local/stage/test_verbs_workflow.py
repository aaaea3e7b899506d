"""Batches, thresholds and reviews as a user meets them: the command line on a deployed stage, with real photographs."""

from __future__ import annotations

import json
import re
import shutil
import signal
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from processing.dataset.cifar_source import read_archive
from scones.cli import app
from scones.review import threshold
from scones.stage.connection import connect
from tests.local.stage.test_loop import STAGE_PREFIX, Shop, new_shop

BUCKET = f"{STAGE_PREFIX}-data-123456789012-us-east-1"
CLASSES = ["bicycle", "motorcycle"]
TRAINED, TESTED, NEW = 24, 10, 6  # photographs of each class: to train with, to test with, and never seen


@dataclass
class Stage:
    """A stage that serves a model of a few photographs, and photographs that it has never seen."""

    shop: Shop
    dataset: str
    new: dict[str, list[Path]]

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Within this process, which saves the time to start one."""
        answer = CliRunner().invoke(app, [*arguments, "--json"], env=self.shop.environment())
        assert answer.exit_code == code, answer.output + repr(answer.exception)
        return json.loads(answer.stdout)

    def threshold(self) -> dict[str, Any]:
        name = "/scones/local/confidence-threshold"
        document: dict[str, Any] = json.loads(self.shop.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])
        return document

    def objects(self, prefix: str) -> dict[str, str]:
        """Key and digest of each object."""
        found = self.shop.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return {item["Key"]: item["ETag"] for item in found}

    def lines(self, uri: str) -> list[dict[str, Any]]:
        key = uri.removeprefix(f"s3://{BUCKET}/")
        text = self.shop.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()
        return [json.loads(line) for line in text.splitlines()]

    @property
    def queue(self) -> str:
        return str(self.shop.client("sqs").get_queue_url(QueueName=f"{STAGE_PREFIX}-review")["QueueUrl"])

    def empty_queue(self) -> None:
        """Message by message: SQS purges a queue once a minute."""
        sqs = self.shop.client("sqs")
        while messages := sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])

    def ask_again(self, item: dict[str, Any]) -> None:
        """What a message that was not deleted, or was sent twice, looks like."""
        message = {name: value for name, value in item.items() if name not in ("uri", "age_s")}
        self.shop.client("sqs").send_message(QueueUrl=self.queue, MessageBody=json.dumps(message))


def write_photographs(archive: Path, folder: Path) -> dict[str, list[Path]]:
    """``source/<split>/<class>/`` to train with; answers the files of those that are kept for later."""
    splits = read_archive(archive, CLASSES).splits
    kept: dict[str, list[Path]] = {}
    for split, count in (("train", TRAINED), ("test", TESTED), ("new", NEW)):
        images = splits["test" if split == "test" else "train"]
        for label, name in enumerate(CLASSES):
            target = folder / ("new" if split == "new" else f"source/{split}/{name}")
            target.mkdir(parents=True, exist_ok=True)
            rows = np.flatnonzero(images.labels == label)
            rows = rows[-count:] if split == "new" else rows[:count]
            for row, pixels in zip(rows, images.pixels(images.rows[rows]), strict=True):
                Image.fromarray(pixels).save(target / f"{name}-{split}-{row}.png")
                kept.setdefault(name, []).append(target / f"{name}-{split}-{row}.png")
    return {name: [path for path in paths if path.parent.name == "new"] for name, paths in kept.items()}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, real_archive: Path) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("verbs")
    shop = new_shop(folder, real_archive)
    new = write_photographs(real_archive, folder)
    try:
        shop.succeeds("account", "start")
        shop.succeeds("deploy")
        parameters = ("--recipe", "scratch", "-p", "Epochs=1", "-p", "Members=1", "-p", "AccuracyGate=0")
        shop.succeeds("pipeline", "run", "--data", str(folder / "source"), *parameters)
        shop.succeeds("model", "approve")
        (version,) = shop.versions()
        yield Stage(shop, version["metadata"]["dataset_s3_uri"], new)
    finally:
        shop.scones("account", "stop")


@pytest.fixture(scope="module")
def batch(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A folder of the photographs and two files that are none, with a threshold that half of them miss."""
    folder = tmp_path_factory.mktemp("photos")
    for path in [path for paths in stage.new.values() for path in paths]:
        shutil.copy(path, folder / path.name)
    stage.shop.succeeds("threshold", "set", "0", "--reason", "to see every confidence")
    everything = stage.json("batch", str(folder))
    confidences = [row["confidence"] for row in stage.lines(everything["results_uri"])]
    stage.shop.succeeds("threshold", "set", str(statistics.median(confidences)), "--reason", "half of them")
    (folder / "note.png").write_text("no image", encoding="utf-8")
    (folder / "empty.png").touch()
    time.sleep(1.1)  # the functions of this stage read the threshold again after a second
    summary: dict[str, Any] = stage.json("batch", str(folder), "--tolerated-failures", "20", "--batch-size", "5")
    return summary


def test_every_image_of_a_folder_ends_in_exactly_one_way(stage: Stage, batch: dict[str, Any]) -> None:
    rows = stage.lines(batch["results_uri"])
    assert len({row["s3_key"] for row in rows}) == len(rows) == batch["items"] == 2 * NEW + 2
    statuses = Counter(row["status"] for row in rows)
    assert statuses == {"passed": NEW, "needs_review": NEW, "failed": 2}
    assert batch["errors"] == {"ImageEmpty": 1, "InvalidImage": 1}
    assert {Path(row["s3_key"]).name for row in batch["failed_images"]} == {"note.png", "empty.png"}
    waiting = stage.json("review", "list")
    assert {w["s3_key"] for w in waiting} == {row["s3_key"] for row in rows if row["status"] == "needs_review"}


def test_only_the_failures_are_sent_once_more(stage: Stage, batch: dict[str, Any]) -> None:
    for row, path in zip(batch["failed_images"], stage.new["bicycle"], strict=False):
        stage.shop.client("s3").upload_file(str(path), BUCKET, row["s3_key"])
    again = stage.json("batch", "--retry-failures", batch["batch_id"])
    assert (again["items"], again["failed"]) == (2, 0)
    assert "there is nothing to do again" in stage.shop.fails("batch", "--retry-failures", again["batch_id"])


def test_a_batch_with_too_many_failures_says_so(stage: Stage, batch: dict[str, Any], tmp_path: Path) -> None:
    manifest = tmp_path / "images.csv"
    good = stage.lines(batch["results_uri"])[0]["s3_key"]
    manifest.write_text(f"s3_key\n{good}\nincoming/nowhere.png\n", encoding="utf-8")
    answer = stage.shop.scones("batch", "--manifest", str(manifest))
    assert answer.returncode == 1
    assert "TOLERATED_FAILURES_EXCEEDED: 50 % failed, 10 % are tolerated" in answer.stderr
    assert re.search(r"nowhere.png +ImageNotFound", answer.stdout)
    batch_id = re.search(r"batch (\S+) has started", answer.stderr)
    assert batch_id is not None
    assert batch_id[1] in answer.stdout
    followed = stage.json("batch", "--follow", batch_id[1], code=1)
    assert (followed["items"], followed["failed"]) == (2, 1)


def test_ctrl_c_leaves_the_batch_running_and_says_how_to_stop_it(
    stage: Stage, batch: dict[str, Any], tmp_path: Path
) -> None:
    passed = next(row for row in stage.lines(batch["results_uri"]) if row["status"] == "passed")
    manifest = tmp_path / "long.jsonl"
    manifest.write_text(1000 * (json.dumps({"s3_key": passed["s3_key"]}) + "\n"), encoding="utf-8")
    command = stage.shop.command("batch", "--manifest", str(manifest), "--batch-size", "1", "--max-concurrency", "1")
    process = subprocess.Popen(command, env=stage.shop.environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "has started" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    batch_id = said.split("--stop ")[1].strip()
    assert f"batch {batch_id} goes on" in said
    stage.shop.succeeds("batch", "--stop", batch_id)
    assert "ended ABORTED" in stage.shop.fails("batch", "--follow", batch_id)


def test_the_threshold_does_to_the_test_images_what_was_foretold(stage: Stage, batch: dict[str, Any]) -> None:
    now = stage.threshold()["default"]
    said = stage.json("threshold", "set", "--class", f"bicycle={now + 0.002}", "--reason", "[sure] of bicycles")
    assert said["after"]["threshold"]["default"] == now
    shown = stage.json("threshold", "show")
    assert shown["threshold"]["classes"] == {"bicycle": now + 0.002}
    assert [change["reason"] for change in shown["history"]][:2] == ["[sure] of bicycles", "half of them"]
    assert all("arn:aws:" in change["by"] for change in shown["history"][:-1])
    page = stage.shop.succeeds("threshold", "show")
    assert "[sure] of bicycles" in page
    assert "<- now for bicycle" in page
    measured = stage.json("batch", f"{stage.dataset}/test")
    assert measured["items"] == 2 * TESTED
    assert measured["passed"] == said["after"]["expected"]["passed"]


def test_what_is_no_threshold_is_refused(stage: Stage, batch: dict[str, Any]) -> None:
    before = stage.threshold()
    assert "from 0 to 1, got '-0.1'" in stage.shop.fails("threshold", "set", "-0.1", "--reason", "a mistake")
    line = stage.shop.fails("threshold", "set", "0.5", "--class", "bycicle=0.9", "--reason", "a mistake")
    assert "the classes are: bicycle, motorcycle" in line
    assert stage.threshold() == before


def test_a_deployment_keeps_what_a_person_set(
    stage: Stage, batch: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when it changes the parameter, as with another threshold in the stage file."""
    for name, value in stage.shop.environment().items():
        monkeypatch.setenv(name, value)
    before, said = stage.threshold(), list[str]()
    with threshold.kept(connect("local"), said.append):
        deploy_with_threshold(stage.shop, "0.5")
        assert stage.threshold()["default"] == 0.5
    assert stage.threshold() == before
    assert "the deployment had set 0.5" in said[0]


def deploy_with_threshold(shop: Shop, value: str) -> None:
    stacks = shop.client("cloudformation")
    known = stacks.describe_stacks(StackName=STAGE_PREFIX)["Stacks"][0]["Parameters"]
    changed = {"ConfidenceThreshold": {"ParameterValue": value}}
    parameters = [
        {"ParameterKey": name, **changed.get(name, {"UsePreviousValue": True})}
        for name in (parameter["ParameterKey"] for parameter in known)
    ]
    stacks.update_stack(
        StackName=STAGE_PREFIX, UsePreviousTemplate=True, Parameters=parameters, Capabilities=["CAPABILITY_IAM"]
    )
    stacks.get_waiter("stack_update_complete").wait(StackName=STAGE_PREFIX, WaiterConfig={"Delay": 1})


def test_the_report_draws_the_line_at_the_threshold_that_counts(
    stage: Stage, batch: dict[str, Any], tmp_path: Path
) -> None:
    report = stage.json("monitor", "report", "--out", str(tmp_path / "report"))
    assert report["threshold"] == stage.threshold()["default"]


def test_low_confidence_is_no_failure_when_it_is_asked_for(stage: Stage, batch: dict[str, Any]) -> None:
    stage.empty_queue()
    doubtful = next(row for row in stage.lines(batch["results_uri"]) if row["status"] == "needs_review")
    image = next(p for paths in stage.new.values() for p in paths if p.name == Path(doubtful["s3_key"]).name)
    stage.shop.succeeds("threshold", "set", "1", "--class", "bicycle=default", "--reason", "all to be reviewed")
    (waits,) = stage.json("classify", str(image), "--on-low-confidence", "review")
    (failed,) = stage.json("classify", str(image), "--on-low-confidence", "fail", code=1)
    assert waits["status"] == failed["status"] == "LOW_CONFIDENCE"
    assert {item["s3_key"] for item in stage.json("review", "list")} == {waits["s3_key"], failed["s3_key"]}


def test_looking_never_loses_an_image(stage: Stage, batch: dict[str, Any]) -> None:
    first = stage.json("review", "list")
    assert first
    for _ in range(10):  # queues with dead letters commonly give up on messages that were received five times
        stage.shop.client("sqs").receive_message(QueueUrl=stage.queue, MaxNumberOfMessages=10, VisibilityTimeout=0)
    assert [item["s3_key"] for item in stage.json("review", "list")] == [item["s3_key"] for item in first]


def test_labels_become_ground_truth_once(stage: Stage, batch: dict[str, Any]) -> None:
    item = stage.json("review", "list")[0]
    stage.ask_again(item)
    stage.shop.succeeds("review", "label", item["s3_key"], "motorcycle")
    assert item["inference_id"] not in {other["inference_id"] for other in stage.json("review", "list")}
    (key,) = [key for key in stage.objects("ground-truth/") if item["inference_id"] in key]
    assert re.fullmatch(r"ground-truth/\d{4}/\d\d/\d\d/\d\d/[^/]+\.jsonl", key)
    (line,) = stage.lines(f"s3://{BUCKET}/{key}")
    assert line == {
        "groundTruthData": {"data": "1", "encoding": "CSV"},
        "eventMetadata": {"eventId": item["inference_id"]},
        "eventVersion": "0",
    }
    before = stage.objects("reviews/") | stage.objects("ground-truth/")
    stage.ask_again(item)
    stage.shop.succeeds("review", "label", item["s3_key"], "motorcycle")
    assert stage.objects("reviews/") | stage.objects("ground-truth/") == before
    stage.shop.succeeds("review", "label", item["inference_id"], "bicycle")
    truths = [line for key in stage.objects("ground-truth/") for line in stage.lines(f"s3://{BUCKET}/{key}")]
    mine = [line for line in truths if line["eventMetadata"]["eventId"] == item["inference_id"]]
    assert [line["groundTruthData"]["data"] for line in mine] == ["0"]


def test_the_export_trains_and_holds_no_test_image(stage: Stage, batch: dict[str, Any], tmp_path: Path) -> None:
    """One by one: photographs nobody has seen, a copy of a test image, and a test image where the pipeline put it."""
    stage.empty_queue()
    folder = tmp_path / "sent"
    folder.mkdir()
    for name in CLASSES:
        shutil.copy(stage.new[name][0], folder / f"new-{name}.png")
    tests = sorted(key for key in stage.objects(f"{stage.dataset.removeprefix(f's3://{BUCKET}/')}/test/"))
    stage.shop.client("s3").download_file(BUCKET, tests[0], str(folder / "copy.png"))
    stage.json("batch", str(folder))
    manifest = tmp_path / "one.jsonl"
    manifest.write_text(json.dumps({"s3_key": tests[1]}) + "\n", encoding="utf-8")
    stage.json("batch", "--manifest", str(manifest))
    answers = {"new-bicycle.png": "1", "new-motorcycle.png": "motorcycle", "copy.png": "1", Path(tests[1]).name: "2"}
    labelled = label_all(stage, answers, tmp_path / "shown")
    assert labelled.count("ground-truth/") == 4
    assert len(list((tmp_path / "shown").iterdir())) == 4
    assert stage.json("review", "list") == []
    out = tmp_path / "images"
    done = stage.json("review", "export", "--out", str(out))
    assert done["added"]["motorcycle"] == 1
    assert done["left_out"]["comes from the dataset of a pipeline run"] == 1
    assert done["left_out"]["in test already"] == 1
    counts = Counter(path.parent.relative_to(out).as_posix() for path in out.rglob("*.png"))
    assert [counts[f"test/{name}"] for name in CLASSES] == [TESTED, TESTED]
    trained = {pixels(path) for path in (out / "train").rglob("*.png")}
    assert not trained & {pixels(path) for path in (out / "test").rglob("*.png")}
    assert {pixels(folder / f"new-{name}.png") for name in CLASSES} <= trained
    place = f"s3://{BUCKET}/source/reviewed"
    assert stage.json("review", "export", "--out", place)["added"] == done["added"]
    uploaded = {key.removeprefix("source/reviewed/") for key in stage.objects("source/reviewed/")}
    assert uploaded == {path.relative_to(out).as_posix() for path in out.rglob("*.png")}
    for taken in (str(out), place):
        assert "is not empty" in stage.shop.fails("review", "export", "--out", taken)
    shown = json.loads(
        stage.shop.succeeds("data", "show", "--data", str(out), "--sheet", str(tmp_path / "s.png"), "--json")
    )
    assert shown["counts"]["train"] == {name: counts[f"train/{name}"] for name in CLASSES}


def label_all(stage: Stage, answers: dict[str, str], shown: Path) -> str:
    """Answer what `scones review label` asks, image by image: which comes first is the queue's choice."""
    process = subprocess.Popen(
        stage.shop.command("review", "label", "--out", str(shown)),
        env=stage.shop.environment() | {"PYTHONUNBUFFERED": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("s3://"):
            process.stdin.write(answers[Path(line.strip()).name] + "\n")
            process.stdin.flush()
    assert process.wait(60) == 0
    process.stdin.close()
    process.stdout.close()
    return said


def pixels(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.convert("RGB").tobytes()
