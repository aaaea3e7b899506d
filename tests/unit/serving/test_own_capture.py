"""The container's own capture: every answer once, in the layout of data capture, whatever ends the server."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from monitoring.captures.line import input_bytes, parse_document
from monitoring.store.window_table import Captures, Window, read_captures
from serving import capture
from serving.capture import CaptureOptions, CaptureWriter
from serving.capture_line import AnsweredRequest, line_of
from tests.places import ROOT
from tests.served_model import ModelServer, start_server, write_model

PACKAGE = "arn:aws:sagemaker:eu-west-1:1:model-package/vehicles/7"


def picture(red: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), (red, 60, 90)).save(out, "PNG")
    return out.getvalue()


def ask(server: ModelServer, body: bytes, kind: str = "image/png", identity: str = "") -> list[float]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=300)
    headers = {"Content-Type": kind} | ({"X-Amzn-SageMaker-Inference-Id": identity} if identity else {})
    connection.request("POST", "/invocations", body, headers)
    answer: list[float] = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def refused(server: ModelServer) -> int:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=300)
    connection.request("POST", "/invocations", b"no picture", {"Content-Type": "image/png"})
    status = connection.getresponse().status
    connection.close()
    return status


def read(folder: Path) -> Captures:
    now = datetime.now(UTC)
    return read_captures(folder, Window(now - timedelta(days=1), now + timedelta(days=1)), class_count=2)


def test_a_server_that_is_ended_has_written_each_answer_once(tmp_path: Path) -> None:
    told = {
        capture.URI: str(tmp_path / "captures"), capture.ENDPOINT: "vehicles", "SCONES_MODEL_PACKAGE_ARN": PACKAGE,
        capture.LARGEST: "20000",
    }  # fmt: skip
    server = start_server(write_model(tmp_path / "model"), tmp_path, **told)
    try:
        answers = {f"id-{red}": ask(server, picture(red), identity=f"id-{red}") for red in range(0, 250, 10)}
        text = json.dumps({"image_data": base64.b64encode(picture(7)).decode()})
        answers["json"] = ask(server, text.encode(), "application/json", identity="json")
        assert refused(server) == 400, "an answer that refuses is none that is captured"
        large = io.BytesIO()
        Image.effect_noise((200, 200), 90).convert("RGB").save(large, "PNG")
        answers["large"] = ask(server, large.getvalue(), identity="large")
    finally:
        server.stop()
    found = read(tmp_path / "captures")
    assert dict(zip(found.frame["inference_id"], found.frame["probabilities"].map(list), strict=True)) == answers
    assert (found.malformed, found.duplicates) == (0, 0)
    assert set(found.frame["model_version"]) == {PACKAGE}
    assert set(zip(found.frame["endpoint"], found.frame["variant"], strict=True)) == {("vehicles", "AllTraffic")}
    images = {identity: found.image(row) for row, identity in enumerate(found.frame["inference_id"])}
    assert (images["id-0"], images["json"]) == (picture(0), picture(7))
    assert images["large"] is None, "larger than what is kept of a request"


def test_json_and_image_requests_keep_their_bytes() -> None:
    for body, kind in ((picture(9), "image/png"), (b'{"image_data": "aGk="}', "application/json"), ("x", "image/png")):
        document = parse_document(line_of(AnsweredRequest(body, kind, "[0.5, 0.5]", "application/json"), 100).encode())
        wanted = {"image/png": body.encode() if isinstance(body, str) else body, "application/json": b"hi"}[kind]
        assert input_bytes(document) == (wanted if len(body) <= 100 else None)


def options(**changed: Any) -> CaptureOptions:
    return CaptureOptions(**{"uri": "any", "endpoint": "e", "pause_s": 0.0} | changed)


def record(hour: int = 0) -> AnsweredRequest:
    return AnsweredRequest(b"x", "image/png", "[1.0, 0.0]", "application/json", time=3600.0 * hour)


def test_hours_go_into_folders_of_their_own_and_a_failed_put_is_repeated() -> None:
    put: dict[str, bytes] = {}
    failures = iter([True, True, False])

    def fails_twice(name: str, data: bytes) -> None:
        if next(failures, False):
            raise OSError("S3 is busy")
        put[name] = data

    writer = CaptureWriter(options(), fails_twice)
    for hour in (1, 1, 2):
        writer.add(record(hour))
    writer.close()
    assert sorted((name[: len("e/AllTraffic/1970/01/01/00")], data.count(b"\n")) for name, data in put.items()) == [
        ("e/AllTraffic/1970/01/01/01", 2),
        ("e/AllTraffic/1970/01/01/02", 1),
    ]
    assert writer.left_out == 0


def test_the_queue_is_bounded_and_what_is_left_out_is_counted(capsys: pytest.CaptureFixture[str]) -> None:

    def refuses(_name: str, _data: bytes) -> None:
        raise OSError("no S3")

    writer = CaptureWriter(options(queue_bytes=5 * len(record())), refuses)
    for _ in range(8):
        writer.add(record())
    assert writer.left_out == 3
    writer.flush()
    assert writer.left_out == 3, "what could not be written waits for another time"
    writer.close()
    assert writer.left_out == 8
    assert "records could not be written and are lost: no S3" in capsys.readouterr().err


def test_a_sample_is_taken_by_chance_and_nothing_without_a_place() -> None:
    written: list[bytes] = []
    writer = CaptureWriter(options(percent=25.0), lambda _name, data: written.append(data))
    for _ in range(2000):
        writer.add(record())
    writer.close()
    assert 400 < sum(data.count(b"\n") for data in written) < 600
    assert CaptureOptions.of_environment({}) is None


def test_an_endpoint_that_cannot_capture_answers_all_the_same(tmp_path: Path) -> None:
    told = {capture.URI: str(tmp_path), capture.PERCENT: "most"}
    server = start_server(write_model(tmp_path / "model"), tmp_path, **told)
    try:
        assert len(ask(server, picture(5))) == 2
    finally:
        server.stop()
    assert server.log.read_text().count("capture: nothing is captured, ValueError") == 1


def test_a_process_that_dies_of_sigterm_writes_first(tmp_path: Path) -> None:
    """As TorchServe ends its workers, which set no handler of their own."""
    script = (
        "import sys, time\nfrom serving import capture\ncapture.writer()\n"
        "class Context:\n def get_request_header(self, idx, key):\n  return f'id-{n}'\n"
        "for n in range(50):\n capture.note_request(b'x', 'image/png')\n"
        " capture.note_answer('[1.0, 0.0]', 'application/json', Context(), '')\n"
        "print('ready', flush=True)\ntime.sleep(600)\n"
    )
    told = os.environ | {"PYTHONPATH": str(ROOT), capture.URI: str(tmp_path), capture.ENDPOINT: "vehicles"}
    process = subprocess.Popen([sys.executable, "-c", script], env=told, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.terminate()
    process.communicate(timeout=300)
    assert sorted(read(tmp_path).frame["inference_id"]) == sorted(f"id-{n}" for n in range(50))
