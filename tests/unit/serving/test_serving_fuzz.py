"""Malformed requests by the thousand: no crash, no answer of 5xx, no growing memory.

The same examples at every run, so that a change fails and not a coincidence; for others set SCONES_FUZZ_EXAMPLES (how
many for each test), which also draws new ones.
"""

from __future__ import annotations

import base64
import functools
import io
import json
import os
import socket
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from serving.inference import RequestError, input_fn
from serving.negotiation import JSON_TYPE, VERBOSE_TYPE, negotiate
from tests.served_model import ModelServer, start_server, write_model

EXAMPLES = int(os.environ.get("SCONES_FUZZ_EXAMPLES", "0"))
FLAT_MIB = 64.0  # a leak of one body in ten would exceed it

# Pillow warns of oddities that it reads past.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def bounded(examples: int) -> settings:
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=EXAMPLES == 0,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@functools.cache
def pictures() -> list[bytes]:
    """Small pictures of every format and mode that is read."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 24, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    found = []
    for kind, mode, options in (
        ("PNG", "RGB", {}),
        ("PNG", "P", {"transparency": 3}),
        ("PNG", "LA", {}),
        ("PNG", "1", {}),
        ("PNG", "RGB", {"exif": exif.tobytes()}),
        ("PNG", "RGB", {"save_all": True, "append_images": [noise]}),
        ("JPEG", "RGB", {"exif": exif.tobytes()}),
        ("JPEG", "CMYK", {"progressive": True}),
        ("JPEG", "L", {}),
        ("GIF", "P", {}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("WEBP", "RGB", {}),
        ("BMP", "RGB", {}),
        ("BMP", "P", {}),
    ):
        buffer = io.BytesIO()
        noise.convert(mode).save(buffer, kind, **options)
        found.append(buffer.getvalue())
    return found


@st.composite
def damaged_pictures(draw: st.DrawFn) -> bytes:
    """A picture with some bytes replaced, removed, or put in; most damage goes where the headers are."""
    data = bytearray(draw(st.sampled_from(pictures())))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.one_of(st.integers(0, min(80, len(data))), st.integers(0, len(data))))
        removed = draw(st.sampled_from([0, 1, 2, 4, 30]))
        data[start : start + removed] = draw(st.binary(max_size=8))
    if draw(st.booleans()):
        data = data[: draw(st.integers(0, len(data)))]
    return bytes(data)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=15,
)
JSON_BODIES = st.one_of(
    JSON_VALUES.map(lambda value: json.dumps(value).encode()),
    JSON_VALUES.map(lambda value: json.dumps({"image_data": value}).encode()),
    damaged_pictures().map(lambda data: json.dumps({"image_data": base64.b64encode(data).decode()}).encode()),
    st.integers(1, 3000).map(lambda depth: b'{"image_data": ' + b"[" * depth + b"]" * depth + b"}"),
    st.text(max_size=60).map(lambda text: b'{"image_data": "' + text.encode("utf-8", "replace")),
)
BODIES = st.one_of(st.binary(max_size=200), damaged_pictures(), JSON_BODIES)
TYPES = st.one_of(
    st.sampled_from(["image/png", "image/jpeg", "application/x-image", "application/json", "Application/JSON ; a=b"]),
    st.text(max_size=30),
)
ACCEPTS = st.one_of(
    st.lists(
        st.tuples(
            st.sampled_from(["application/json", "application/*", "*/*", "text/csv", ""]),
            st.sampled_from(["", ";verbose", ";q=0.5", ";q=", ";q=1e999", ";verbose;q=0", "; charset=utf-8;;"]),
        ).map("".join),
        max_size=4,
    ).map(",".join),
    st.text(max_size=40),
)


@bounded(3000)
@given(BODIES, TYPES)
def test_a_body_becomes_an_image_or_a_refusal(body: bytes, content_type: str) -> None:
    try:
        pixels = input_fn(body, content_type)
    except RequestError as error:
        assert 400 <= error.status_code < 500
        assert str(error)
        assert error.phrase.isascii()
        assert "\n" not in error.phrase
    else:
        assert (pixels.shape, pixels.dtype) == ((1, 32, 32, 3), np.uint8)


@bounded(1000)
@given(ACCEPTS)
def test_an_accept_header_is_one_of_the_two_answers_or_none(accept: str) -> None:
    assert negotiate(accept) in {JSON_TYPE, VERBOSE_TYPE, None}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    running = start_server(
        write_model(tmp_path_factory.mktemp("model")), tmp_path_factory.mktemp("server"), PYTHONWARNINGS="ignore"
    )
    yield running
    running.stop()


def exchange(server: ModelServer, request: bytes) -> bytes:
    """The first bytes of the answer to a request after which the client sends nothing more."""
    with server.connect() as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(65536)
        except TimeoutError:
            raise
        except OSError:  # the server has closed the connection upon a part of the request
            return b""


@st.composite
def well_formed(draw: st.DrawFn) -> bytes:
    """An honest HTTP request with any body and headers."""
    body = draw(BODIES)
    kind, accept = ("".join(filter(str.isprintable, draw(text))) for text in (TYPES, ACCEPTS))
    head = (
        f"POST /invocations HTTP/1.1\r\nContent-Type: {kind}\r\nAccept: {accept}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1", "replace") + body


@st.composite
def malformed(draw: st.DrawFn) -> bytes:
    """A request with damage in its own lines."""
    data = bytearray(draw(well_formed()))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, min(160, len(data))))
        data[start : start + draw(st.sampled_from([0, 1, 5]))] = draw(
            st.binary(max_size=4)
            | st.sampled_from([b"\r\n", b"\r\n\r\n", b": ", b"-1", b"Transfer-Encoding: chunked\r\n"])
        )
    return bytes(data)


def test_no_request_crashes_the_server_or_is_answered_with_5xx_and_memory_stays_flat(server: ModelServer) -> None:
    statuses: set[int] = set()

    def check(request: bytes) -> None:
        answer = exchange(server, request)
        if answer:
            status = int(answer.split(b" ", 2)[1])
            assert status < 500, answer
            statuses.add(status)

    def honest(request: bytes) -> None:
        assert exchange(server, request).startswith(b"HTTP/1.1 ")
        check(request)

    runs = [bounded(400)(given(well_formed())(honest)), bounded(600)(given(malformed())(check))]
    for run in runs:
        run()
    before = server.memory_mib()
    for run in runs:
        run()
    assert server.process.poll() is None
    assert server.memory_mib() - before < FLAT_MIB
    assert {200, 400} <= statuses  # what else it meets is chance
    assert "Traceback" not in server.log.read_text(encoding="utf-8", errors="replace")
