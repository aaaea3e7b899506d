"""The inference workflows in the stand-in account: every image ends in exactly one way, in both query languages."""

from __future__ import annotations

import base64
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.colour_models import write_served_archive
from tests.local.workflow_stage import (
    BUCKET,
    CLASSES,
    ENDPOINT,
    PREFIX,
    STATES_ARN,
    THRESHOLD,
    Photos,
    Shop,
    large_photo,
    png,
)

MACHINES = {"JSONPath": f"{PREFIX}-inference-workflow", "JSONata": f"{PREFIX}-jsonata"}
MACHINES["Express"] = f"{PREFIX}-inference-express"


@pytest.fixture(scope="module")
def inputs(shop: Shop, photos: Photos) -> dict[str, dict[str, Any]]:
    """What may be sent, by what should become of it."""
    clear = Image.open(io.BytesIO(photos.passing[0])).convert("RGB")
    middling = png(np.random.default_rng(1).integers(0, 100, (300, 300, 3), dtype=np.uint8))
    assert 180_000 < len(middling) < 6_291_456
    body = {"s3_bucket": BUCKET, "s3_key": "in/wrapped.png", "image_data": ""}
    shop.put("in/wrapped.png", photos.passing[1])
    return {
        "passed": shop.put("in/passed.png", photos.passing[0]),
        "passed, wrapped": {"statusCode": 200, "body": body},
        "passed, wrapped as text": {"statusCode": 200, "body": json.dumps(body)},
        "passed, in the input": {"image_data": base64.b64encode(photos.passing[2]).decode()},
        "passed, by reference": shop.put("in/middling.png", middling),
        "passed, scaled down": shop.put("in/large.png", large_photo()),
        "passed, second attempt": shop.put("in/once.png", png(np.asarray(clear), width=9)),
        "THRESHOLD_CONFIDENCE_NOT_MET": shop.put("in/low.png", photos.doubtful[0]),
        "needs_review": {**shop.put("in/low2.png", photos.doubtful[1]), "on_low_confidence": "review"},
        "ImageNotFound": {"s3_bucket": BUCKET, "s3_key": "in/none.png"},
        "ImageNotFound, bucket": {"s3_bucket": "no-such-bucket-anywhere", "s3_key": "in/none.png"},
        "ImageNotReadable": shop.put("in/frozen.png", photos.passing[0], StorageClass="GLACIER"),
        "ImageEmpty": shop.put("in/empty.png", b""),
        "InvalidImage": shop.put("in/text.png", b"this is no image"),
        "InvalidImage, cut": shop.put("in/cut.png", photos.passing[0][:300]),
        "InvalidImage, large": shop.put("in/large-text.png", b"no image" * 900_000),
        "UnexpectedModelAnswer": shop.put("in/nonsense.png", png(np.asarray(clear), width=11)),
        "InvalidInput": {"s3_bucket": BUCKET},
        "InvalidInput, choice": {"s3_bucket": BUCKET, "s3_key": "in/passed.png", "on_low_confidence": "perhaps"},
    }


@pytest.mark.parametrize("language", MACHINES)
def test_every_image_ends_in_the_way_that_it_deserves(
    shop: Shop, inputs: dict[str, dict[str, Any]], language: str
) -> None:
    shop.reviews()
    machine = MACHINES[language]
    if language == "Express":
        ended = {name: shop.run(machine, document) for name, document in inputs.items()}
    else:
        started = {name: shop.start(machine, document) for name, document in inputs.items()}
        ended = {name: shop.ended(arn) for name, arn in started.items()}
    for name, execution in ended.items():
        wanted, key = name.partition(",")[0], inputs[name].get("s3_key", "")
        if execution["status"] == "SUCCEEDED":
            output = json.loads(execution["output"])
            assert (output["status"], output["image_data"]) == (wanted, ""), (name, output)
            assert output["s3_key"] == (key or ("in/wrapped.png" if "wrapped" in name else ""))
            assert output["predicted_label"] == CLASSES[int(np.argmax(output["inferences"]))]
        else:
            assert execution.get("error") == wanted, (name, execution)
            assert key in execution["cause"], (name, execution["cause"])
    low = json.loads(ended["THRESHOLD_CONFIDENCE_NOT_MET"]["cause"])
    assert low.keys() == {"predicted_label", "confidence", "threshold", "s3_bucket", "s3_key"}
    reviews = {review["s3_key"]: review for review in shop.reviews()}
    assert reviews.keys() == {"in/low.png", "in/low2.png"}
    review = reviews["in/low.png"]
    assert {name: review[name] for name in low} == low
    assert (review["classes"], review["threshold"]) == (CLASSES, THRESHOLD)
    assert review["execution_arn"] == ended["THRESHOLD_CONFIDENCE_NOT_MET"]["executionArn"]
    assert review["execution_arn"].rsplit(":", 1)[0].endswith(review["inference_id"]) or review[
        "execution_arn"
    ].endswith(review["inference_id"])
    assert review["model_package_arn"].endswith("/1")
    assert review["queued_at"].endswith("Z")


def test_a_model_that_stays_broken_is_named_after_some_attempts(shop: Shop, photos: Photos) -> None:
    broken = Image.open(io.BytesIO(photos.passing[0])).convert("RGB")
    document = shop.put("in/broken.png", png(np.asarray(broken), width=7))
    ended = shop.run(MACHINES["Express"], document)
    assert (ended["status"], ended["error"]) == ("FAILED", "ModelTemporarilyUnavailable")
    assert "s3://" + BUCKET + "/in/broken.png: the model failed with status 500" in ended["cause"]


def test_a_queue_that_is_gone_loses_no_image_silently(shop: Shop, photos: Photos) -> None:
    """The definition of the express workflow, with a queue that nobody made."""
    states = shop.account.client("stepfunctions")
    deployed = states.describe_state_machine(stateMachineArn=f"{STATES_ARN}:{MACHINES['Express']}")
    text = deployed["definition"].replace(f"/{PREFIX}-review", "/nobody-made-it")
    name = f"{PREFIX}-queueless-express"
    states.create_state_machine(name=name, definition=text, roleArn=deployed["roleArn"], type="EXPRESS")
    ended = shop.run(name, {**shop.put("in/lost.png", photos.doubtful[2]), "on_low_confidence": "review"})
    assert (ended["status"], ended["error"]) == ("FAILED", "ReviewQueueNotWritable")
    assert ended["cause"].startswith(f"s3://{BUCKET}/in/lost.png: not queued for review")


def test_the_threshold_changes_without_a_deployment_and_a_malformed_one_is_named(shop: Shop, photos: Photos) -> None:
    ssm, name = shop.account.client("ssm"), "/scones/local/confidence-threshold"
    before = ssm.get_parameter(Name=name)["Parameter"]["Value"]
    assert json.loads(before)["default"] == THRESHOLD
    document = {**shop.put("in/doubt.png", photos.doubtful[3]), "on_low_confidence": "review"}
    wanted = {'{"default": 0.0}': "passed", '{"default": 0.0, "classes": {"dark": 1, "bright": 1}}': "needs_review"}
    try:
        for value, status in wanted.items():
            ssm.put_parameter(Name=name, Value=value, Overwrite=True)
            time.sleep(1.1)  # the local stage's cache
            assert json.loads(shop.run(MACHINES["JSONPath"], document)["output"])["status"] == status
        ssm.put_parameter(Name=name, Value="0.9", Overwrite=True)
        time.sleep(1.1)
        assert shop.run(MACHINES["JSONata"], document)["error"] == "InvalidThreshold"
    finally:
        ssm.put_parameter(Name=name, Value=before, Overwrite=True)
        time.sleep(1.1)
        shop.reviews()


def test_functions_count_what_the_model_was_sure_of(shop: Shop, inputs: dict[str, Any]) -> None:
    shop.run(MACHINES["Express"], inputs["passed"])
    dimensions = [{"Name": "service", "Value": "inference-workflow"}, {"Name": "stage", "Value": "local"}]
    now, deadline, count = time.time(), time.monotonic() + 10, 0.0
    while not count and time.monotonic() < deadline:
        time.sleep(0.2)
        points = shop.account.client("cloudwatch").get_metric_statistics(
            Namespace="Scones",
            MetricName="Confidence",
            Dimensions=dimensions,
            StartTime=now - 600,
            EndTime=now + 600,
            Period=1200,
            Statistics=["SampleCount", "Maximum"],
        )["Datapoints"]
        count = sum(point["SampleCount"] for point in points)
    assert count
    assert all(THRESHOLD <= point["Maximum"] <= 1 for point in points)


@pytest.fixture(scope="module")
def folder(shop: Shop, photos: Photos) -> dict[str, str]:
    """Images below one prefix: key -> what should become of it."""
    clear = np.asarray(Image.open(io.BytesIO(photos.passing[0])).convert("RGB"))
    content = {f"batch/passing-{i}.png": (data, "passed") for i, data in enumerate(photos.passing[:12])}
    content |= {f"batch/doubtful-{i}.png": (data, "needs_review") for i, data in enumerate(photos.doubtful[:5])}
    content |= {
        "batch/": (b"", "skipped"),
        "batch/empty.png": (b"", "ImageEmpty"),
        "batch/text.png": (b"no image", "InvalidImage"),
        "batch/nonsense.png": (png(clear, width=11), "UnexpectedModelAnswer"),
        "batch/once.png": (png(255 - clear, width=9), "passed"),
        "batch/large.png": (large_photo(), "passed"),
    }
    for key, (data, _) in content.items():
        shop.put(key, data)
    return {key: fate for key, (_, fate) in content.items()}


def rows_of(shop: Shop, summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    rows = [json.loads(line) for line in shop.get(summary["results_uri"]).splitlines()]
    found = {row["s3_key"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def test_a_batch_tells_of_each_image_and_leaves_what_failed(shop: Shop, folder: dict[str, str]) -> None:
    shop.reviews()
    ended = shop.batch(source="prefix", s3_prefix="batch/", batch_size=5, tolerated_failure_percentage=50)
    assert ended["status"] == "SUCCEEDED", ended
    summary = json.loads(ended["output"])
    assert summary == json.loads(shop.get(summary["summary_uri"]))
    assert summary["batch_id"] == ended["name"]
    rows = rows_of(shop, summary)
    assert {key: row["error"] or row["status"] for key, row in rows.items()} == folder
    fates = list(folder.values())
    assert summary["items"] == len(folder) - 1
    assert (summary["passed"], summary["needs_review"]) == (fates.count("passed"), 5)
    assert (summary["failed"], summary["skipped"]) == (3, 1)
    assert summary["errors"] == {"ImageEmpty": 1, "InvalidImage": 1, "UnexpectedModelAnswer": 1}
    assert sum(sum(counts.values()) for counts in summary["classes"].values()) == fates.count("passed") + 5
    queued = shop.reviews()
    assert sorted(review["s3_key"] for review in queued) == [k for k in sorted(folder) if "doubtful" in k]
    assert {review["execution_arn"] for review in queued} == {ended["executionArn"]}
    assert all(rows[r["s3_key"]]["inference_id"] == r["inference_id"] for r in queued)

    shop.put("batch/empty.png", large_photo())
    again = shop.batch(source="jsonl", s3_key=summary["left_uri"].split("/", 3)[3], tolerated_failure_percentage=100)
    second = json.loads(again["output"])
    fates_left = {key: row["error"] or row["status"] for key, row in rows_of(shop, second).items()}
    assert fates_left == {
        "batch/empty.png": "passed",
        "batch/text.png": "InvalidImage",
        "batch/nonsense.png": "UnexpectedModelAnswer",
    }


@pytest.mark.parametrize("source", ["csv", "json", "jsonl"])
def test_a_manifest_names_the_images(shop: Shop, folder: dict[str, str], source: str) -> None:
    items = [{"s3_bucket": BUCKET, "s3_key": f"batch/passing-{i}.png"} for i in range(7)]
    text = {
        "csv": "s3_bucket,s3_key\n" + "".join(f"{item['s3_bucket']},{item['s3_key']}\n" for item in items),
        "json": json.dumps(items),
        "jsonl": "".join(json.dumps({"s3_key": item["s3_key"]}) + "\n" for item in items),
    }[source]
    shop.put(f"manifests/list.{source}", text.encode())
    ended = shop.batch(source=source, s3_key=f"manifests/list.{source}", batch_size=3)
    assert ended["status"] == "SUCCEEDED", ended
    summary = json.loads(ended["output"])
    assert (summary["passed"], summary["failed"], summary["left_uri"]) == (7, 0, None)
    assert rows_of(shop, summary).keys() == {item["s3_key"] for item in items}


def test_too_many_failures_fail_the_batch_with_its_summary(shop: Shop, folder: dict[str, str]) -> None:
    ended = shop.batch(source="prefix", s3_prefix="batch/", tolerated_failure_percentage=1)
    assert (ended["status"], ended["error"]) == ("FAILED", "TOLERATED_FAILURES_EXCEEDED")
    summary = json.loads(ended["cause"])
    assert summary["failed"] >= 2
    assert len(shop.get(summary["left_uri"]).splitlines()) == summary["failed"]


def test_an_empty_prefix_is_an_empty_batch(shop: Shop) -> None:
    summary = json.loads(shop.batch(source="prefix", s3_prefix="nothing/")["output"])
    assert (summary["items"], summary["failed_percentage"], summary["status"]) == (0, 0.0, "complete")


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"source": "prefix"}, "InvalidInput"),
        ({"source": "tape", "s3_prefix": ""}, "InvalidInput"),
        ({"source": "prefix", "s3_prefix": "", "batch_size": 101}, "InvalidInput"),
        ({"source": "csv", "s3_key": "manifests/none.csv"}, "ItemsNotReadable"),
    ],
)
def test_a_batch_that_cannot_begin_says_why(shop: Shop, document: dict[str, Any], error: str) -> None:
    ended = shop.batch(**document)
    assert (ended["status"], ended["error"]) == ("FAILED", error), ended["cause"]
    assert ended["cause"]


def test_a_batch_whose_function_is_broken_loses_no_image(shop: Shop, folder: dict[str, str]) -> None:
    functions, name = shop.account.client("lambda"), f"{PREFIX}-classify-batch"
    handler = functions.get_function_configuration(FunctionName=name)["Handler"]
    functions.update_function_configuration(FunctionName=name, Handler="lambdas.nothing.handler")
    try:
        ended = shop.batch(source="prefix", s3_prefix="batch/passing", batch_size=4)
    finally:
        functions.update_function_configuration(FunctionName=name, Handler=handler)
    assert (ended["status"], ended["error"]) == ("FAILED", "TOLERATED_FAILURES_EXCEEDED")
    summary = json.loads(ended["cause"])
    left = [json.loads(line)["s3_key"] for line in shop.get(summary["left_uri"]).splitlines()]
    assert sorted(left) == sorted(key for key in folder if "passing" in key)


def test_each_result_names_the_version_that_gave_it_while_versions_change(
    shop: Shop, photos: Photos, tmp_path: Path
) -> None:
    """Last, as it leaves another model behind. Versions of our own serving code, of which each knows one answer."""
    classes, labels = ["bicycle", "motorcycle"], {}
    for label, weights in {"bicycle": [[99, -99]] * 3, "motorcycle": [[-99, 99]] * 3}.items():
        content = write_served_archive(tmp_path / label / "model.tar.gz", classes, weights).read_bytes()
        labels[shop.register(label, content, classes)] = label
    document = shop.put("switch/photo.png", photos.passing[0])
    first, second = labels
    shop.approve(first)
    shop.in_service(f"{ENDPOINT}-v{first.rsplit('/', 1)[-1]}")
    assert json.loads(shop.run(MACHINES["JSONPath"], document)["output"])["model_package_arn"] == first
    started: list[str] = []
    wanted = f"{ENDPOINT}-v{second.rsplit('/', 1)[-1]}-"
    client, deadline = shop.account.client("sagemaker"), time.monotonic() + 60
    while not client.describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"].startswith(wanted):
        assert time.monotonic() < deadline
        started += [shop.start(MACHINES["JSONPath"], document) for _ in range(5)]
        if len(started) == 10:
            shop.ended(started[0])
            shop.approve(second)
    started += [shop.start(MACHINES["JSONPath"], document) for _ in range(10)]
    ended = [shop.ended(arn) for arn in started]
    assert {execution["status"] for execution in ended} == {"SUCCEEDED"}
    outputs = [json.loads(execution["output"]) for execution in ended]
    assert {output["predicted_label"] for output in outputs} == set(classes)
    assert all(labels[output["model_package_arn"]] == output["predicted_label"] for output in outputs)
    summary = json.loads(shop.batch(source="prefix", s3_prefix="switch/")["output"])
    (row,) = rows_of(shop, summary).values()
    assert (row["model_package_arn"], row["predicted_label"]) == (second, "motorcycle")
