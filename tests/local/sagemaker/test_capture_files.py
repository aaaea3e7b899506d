"""Data capture: the files that an endpoint of the stand-in account leaves in S3."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from PIL import Image

from tests.local.foreign_models import Deployer
from tests.places import ROOT
from tests.served_model import write_model

PATH = re.compile(
    r"captured/(?P<endpoint>[^/]+)/AllTraffic/(\d{4}/\d\d/\d\d/\d\d)/\d\d-\d\d-\d{3}-[0-9a-f-]{36}\.jsonl"
)


@pytest.fixture(scope="module")
def deployer(account: Any) -> Deployer:
    return Deployer(account, "cap")


def capture(deployer: Deployer, **options: Any) -> dict[str, Any]:
    return {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{deployer.bucket}/captured",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
        **options,
    }


def captured(
    deployer: Deployer, endpoint: str, count: int, timeout_s: float = 300
) -> tuple[list[str], list[dict[str, Any]]]:
    """Keys and lines of an endpoint once there are ``count`` lines."""
    s3 = deployer.account.client("s3")
    deadline = time.monotonic() + timeout_s
    while True:
        found = s3.list_objects_v2(Bucket=deployer.bucket, Prefix=f"captured/{endpoint}/").get("Contents", [])
        keys = [entry["Key"] for entry in found]
        bodies = [s3.get_object(Bucket=deployer.bucket, Key=key)["Body"].read() for key in keys]
        lines = [json.loads(line) for body in bodies for line in body.splitlines()]
        if len(lines) >= count or time.monotonic() > deadline:
            return keys, lines
        time.sleep(0.2)


def test_every_successful_invocation_is_one_line_in_sagemaker_s_layout(deployer: Deployer) -> None:
    endpoint = deployer.serve("all", capture=capture(deployer))
    before = datetime.now(UTC).replace(microsecond=0)
    for i in range(5):
        deployer.invoke(endpoint, bytes([i]), InferenceId=f"id-{i}")
    deployer.invoke(endpoint, b"\xff")
    with pytest.raises(ClientError):
        deployer.invoke(endpoint, b"")
    keys, lines = captured(deployer, endpoint, 6)
    assert len(lines) == 6
    for key in keys:
        match = PATH.fullmatch(key)
        assert match, key
        assert match["endpoint"] == endpoint
    by_id = {line["eventMetadata"].get("inferenceId"): line for line in lines}
    assert set(by_id) == {f"id-{i}" for i in range(5)} | {None}
    line = by_id["id-3"]
    assert line["eventVersion"] == "0"
    assert line["captureData"]["endpointInput"] == {
        "observedContentType": "application/octet-stream",
        "mode": "INPUT",
        "data": base64.b64encode(bytes([3])).decode(),
        "encoding": "BASE64",
    }
    output = line["captureData"]["endpointOutput"]
    assert (output["encoding"], output["mode"], output["observedContentType"]) == ("JSON", "OUTPUT", "application/json")
    assert json.loads(output["data"]) == {"mean": 3.0, "model": 1.0}
    at = datetime.strptime(line["eventMetadata"]["inferenceTime"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert before <= at <= datetime.now(UTC)
    assert len({line["eventMetadata"]["eventId"] for line in lines}) == 6
    description = deployer.sagemaker.describe_endpoint(EndpointName=endpoint)["DataCaptureConfig"]
    assert (description["CaptureStatus"], description["CurrentSamplingPercentage"]) == ("Started", 100)
    deployer.sagemaker.delete_endpoint(EndpointName=endpoint)


def test_without_json_content_types_the_output_is_base64_and_modes_are_honoured(deployer: Deployer) -> None:
    config = capture(deployer, CaptureOptions=[{"CaptureMode": "Output"}])
    del config["CaptureContentTypeHeader"]
    endpoint = deployer.serve("plain", capture=config)
    deployer.invoke(endpoint, b"\x05", CustomAttributes="trace=7")
    _, lines = captured(deployer, endpoint, 1)
    data = lines[0]["captureData"]
    assert data.keys() == {"endpointOutput"}
    assert data["endpointOutput"]["encoding"] == "BASE64"
    assert json.loads(base64.b64decode(data["endpointOutput"]["data"]))["mean"] == 5.0
    assert lines[0]["eventMetadata"]["customAttributes"] == ["trace=7"]
    deployer.sagemaker.delete_endpoint(EndpointName=endpoint)


@pytest.mark.parametrize(
    ("name", "options"), [("off", {"EnableCapture": False}), ("zero", {"InitialSamplingPercentage": 0})]
)
def test_nothing_is_captured_when_capture_is_off(deployer: Deployer, name: str, options: dict[str, Any]) -> None:
    endpoint = deployer.serve(name, capture=capture(deployer, **options))
    deployer.invoke(endpoint)
    _, lines = captured(deployer, endpoint, 1, timeout_s=3)
    assert lines == []
    deployer.sagemaker.delete_endpoint(EndpointName=endpoint)


def test_many_lines_share_a_file(deployer: Deployer) -> None:
    endpoint = deployer.serve("many", capture=capture(deployer))
    for _ in range(120):
        deployer.invoke(endpoint)
    keys, lines = captured(deployer, endpoint, 120)
    assert len(lines) == 120
    assert len(keys) < 40
    deployer.sagemaker.delete_endpoint(EndpointName=endpoint)


def test_a_stop_loses_no_line(fresh_account: Callable[..., Any]) -> None:
    first = fresh_account()
    deployer = Deployer(first, "stop")
    endpoint = deployer.serve("now", capture=capture(deployer))
    for i in range(20):
        deployer.invoke(endpoint, bytes([i]), InferenceId=f"id-{i}")
    first.stop()
    second = fresh_account(first.state_dir)
    deployer.account = second
    _, lines = captured(deployer, endpoint, 20)
    assert {line["eventMetadata"]["inferenceId"] for line in lines} == {f"id-{i}" for i in range(20)}


def own_archive(folder: Path) -> bytes:
    """A small model with the project's serving code, as a training job's archive holds it."""
    write_model(folder)
    for room in ("imaging", "serving"):
        shutil.copytree(ROOT / room, folder / "code" / room, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "code" / "inference.py").write_text("from serving.inference import *  # noqa: F403\n", encoding="utf-8")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        tar.add(folder, ".")
    return stream.getvalue()


def records(lines: list[dict[str, Any]]) -> list[tuple[str, str, str, list[float]]]:
    """Who asked what in which type, and what was answered."""
    return sorted(
        (
            line["eventMetadata"]["inferenceId"],
            line["captureData"]["endpointInput"]["observedContentType"],
            line["captureData"]["endpointInput"]["data"],
            json.loads(line["captureData"]["endpointOutput"]["data"]),
        )
        for line in lines
    )


def test_the_containers_own_capture_holds_the_records_of_sagemakers_no_more_and_no_less(
    deployer: Deployer, tmp_path: Path
) -> None:
    place = {"SCONES_CAPTURE_URI": f"s3://{deployer.bucket}/captured", "SCONES_CAPTURE_ENDPOINT": "own"}
    model = deployer.model("both", own_archive(tmp_path / "model"), **place)
    endpoint = deployer.endpoint("both", deployer.config("both", {"AllTraffic": model}, capture(deployer)))
    assert deployer.settled(endpoint)["EndpointStatus"] == "InService"
    asked = 60

    def ask(number: int) -> None:
        out = io.BytesIO()
        Image.new("RGB", (32, 32), (number, 60, 90)).save(out, "PNG")
        body, kind = out.getvalue(), "image/png"
        if number % 3 == 0:
            body = json.dumps({"image_data": base64.b64encode(body).decode()}).encode()
            kind = "application/json"
        deployer.invoke(endpoint, body, ContentType=kind, InferenceId=f"id-{number:03d}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(asked)))
    with pytest.raises(ClientError):
        deployer.invoke(endpoint, b"no picture", ContentType="image/png", InferenceId="refused")
    _, theirs = captured(deployer, endpoint, asked)
    deployer.sagemaker.delete_endpoint(EndpointName=endpoint)
    keys, ours = captured(deployer, "own", asked)
    assert all(PATH.fullmatch(key) for key in keys)
    assert records(ours) == records(theirs)
    assert len({line["eventMetadata"]["eventId"] for line in ours}) == len(theirs) == asked
