"""The stand-in account's model server with our serving code, over HTTP: answers, refusals, concurrency, memory."""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imaging.decode import encode_png
from serving.inference import Model, input_fn, model_fn, output_fn, predict_fn
from tests.served_model import ModelServer, start_server, write_model

MAX_BODY_BYTES = 6_291_456
PNG = encode_png(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
HEAD = "POST /invocations HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return model_fn(str(folder))


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    running = start_server(folder, tmp_path_factory.mktemp("server"), SCONES_MODEL_VERSION="7")
    yield running
    assert running.process.poll() is None, running.log.read_text()
    running.stop()


def post(server: ModelServer, body: bytes, content_type: str = "image/png", **headers: str) -> tuple[int, str, str]:
    """Status, content type and text of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    try:
        connection.request("POST", "/invocations", body, {"Content-Type": content_type, **headers})
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()
    finally:
        connection.close()


def raw(server: ModelServer, sent: bytes) -> bytes:
    """What the server answers to these bytes, until it closes the connection."""
    with server.connect() as connection:
        connection.sendall(sent)
        received = b""
        while part := connection.recv(65536):
            received += part
        return received


def test_the_answer_is_the_built_in_algorithm_s_array(server: ModelServer, model: Model) -> None:
    expected = output_fn(predict_fn(input_fn(PNG, "image/png"), model), "application/json")
    assert post(server, PNG) == (200, "application/json", expected)
    assert post(server, PNG, Accept="text/html, application/*;q=0.5") == (200, "application/json", expected)


def test_the_verbose_answer_has_labels_and_the_deployed_version(server: ModelServer) -> None:
    status, kind, text = post(server, PNG, Accept="application/json;verbose")
    document = json.loads(text)
    assert (status, kind) == (200, "application/json;verbose")
    assert document["labels"] == ["bicycle", "motorcycle"]
    assert document["confidence"] == max(document["probabilities"])
    assert document["predicted_label"] == document["labels"][np.argmax(document["probabilities"])]
    assert document["model_version"] == "7"


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "expected"),
    [
        (b"", "image/png", "*/*", (400, "empty")),
        (PNG, "text/csv", "*/*", (415, "text/csv")),
        (PNG, "image/png", "text/csv", (406, "text/csv")),
        (b"[" * 100_000, "application/json", "*/*", (400, "lists and objects")),
        (b"x" * MAX_BODY_BYTES, "image/png", "*/*", (400, "not an image")),
        (b"x" * (MAX_BODY_BYTES + 1), "image/png", "*/*", (413, "6,291,457 bytes")),
    ],
)
def test_a_bad_request_is_the_client_s_fault(
    server: ModelServer, body: bytes, content_type: str, accept: str, expected: tuple[int, str]
) -> None:
    status, _, reason = post(server, body, content_type, Accept=accept)
    assert status == expected[0]
    assert expected[1] in reason


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (HEAD + "Content-Length: -1\r\n\r\n", 400),
        (HEAD + "Content-Length: many\r\n\r\n", 400),
        (HEAD + "Content-Length: \u00b2\r\n\r\n", 400),
        (HEAD + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (HEAD + "Content-Length: 99999999999999999999\r\n\r\n", 400),
        (HEAD + "Content-Length: 999999999999999999\r\n\r\n", 413),
        (HEAD + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        ("PUT /invocations HTTP/1.1\r\n\r\n", 405),
        ("BREW /ping HTTP/1.1\r\n\r\n", 405),
        ("GET /ping HTTP/3.0\r\n\r\n", 400),
        ("complete nonsense\r\n\r\n", 400),
        ("\x16\x03\x01\x02\r\n\r\n", 400),
        ("GET /" + "a" * 70_000 + " HTTP/1.1\r\n\r\n", 414),
        ("GET /ping HTTP/1.1\r\n" + "A: b\r\n" * 200 + "\r\n", 431),
        ("GET /nothing HTTP/1.1\r\nConnection: close\r\n\r\n", 404),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(
    server: ModelServer, request_: str, status: int
) -> None:
    assert raw(server, request_.encode("latin-1")).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_client_that_goes_away_takes_only_its_connection_with_it(server: ModelServer) -> None:
    for sent in (b"", b"POST /inv", HEAD.encode(), HEAD.encode() + b"Content-Length: 500\r\n\r\nhalf"):
        with server.connect() as connection:
            connection.sendall(sent)
    assert post(server, PNG)[0] == 200


def test_a_client_that_asks_first_is_told_to_go_on(server: ModelServer) -> None:
    with server.connect() as connection:
        head = f"{HEAD}Content-Type: image/png\r\nExpect: 100-continue\r\nContent-Length: {len(PNG)}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(PNG)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")


def test_a_folded_header_cannot_write_into_the_answer(server: ModelServer) -> None:
    folded = "Accept: application/json;verbose\r\n Injected: yes\r\n"
    answer = raw(
        server,
        f"{HEAD}Connection: close\r\nContent-Type: image/png\r\n{folded}Content-Length: {len(PNG)}\r\n\r\n".encode()
        + PNG,
    )
    assert b"\r\nInjected" not in answer


def test_an_error_of_the_client_leaves_one_line_in_the_log_and_no_traceback(server: ModelServer) -> None:
    post(server, b"\x1b[31mred", "image/png")
    log = server.log.read_text()
    assert "are not an image" in log
    assert "Traceback" not in log
    assert "\x1b" not in log


def test_parallel_clients_get_the_answers_to_their_own_images(server: ModelServer, model: Model) -> None:
    random = np.random.default_rng(1)
    images = [encode_png(np.full((32, 32, 3), colour, dtype=np.uint8)) for colour in random.integers(0, 256, (64, 3))]
    expected = [output_fn(predict_fn(input_fn(image, "image/png"), model), "application/json") for image in images]
    assert len(set(expected)) > 60

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        for i in np.random.default_rng(number).permutation(len(images)):
            connection.request("POST", "/invocations", images[i], {"Content-Type": "image/png"})
            assert connection.getresponse().read().decode() == expected[i]
        connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(client, range(8))] == [None] * 8


def test_large_pictures_in_parallel_take_the_memory_of_one(server: ModelServer) -> None:
    """Sixteen megapixels with a transparent colour: 144 MB each while they are decoded, from 16 KB."""
    buffer = io.BytesIO()
    picture = Image.new("P", (4000, 4000))
    picture.putpalette([255, 0, 0] * 256)
    picture.save(buffer, "PNG", transparency=0)

    def peak_of_four() -> float:
        with ThreadPoolExecutor(4) as pool:
            assert [*pool.map(lambda _: post(server, buffer.getvalue())[0], range(4))] == [200] * 4
        return server.memory_mib("VmHWM")

    before = server.memory_mib()
    peak = peak_of_four()
    assert peak - before < 300
    assert peak_of_four() - peak < 60
