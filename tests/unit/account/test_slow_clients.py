"""Requests that never end: the account's server and the model server let go of their connections and their memory."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from werkzeug.serving import make_server

from local_account.sagemaker.endpoints.container import model_server
from local_account.server.http_handler import KeepAliveHandler

TIMEOUT_S = 300.0  # for what happens within a second on a machine that is not busy
SCRIPT = """
def model_fn(folder): return len
def input_fn(body, content_type): return body
def output_fn(prediction, accept): return str(prediction)
"""
HALF_SENT = 60
BODY_BYTES = 6_000_000
# Held by 60 halves of 3 MB: 180 MB if each lies in memory.
MAX_GROWTH_MIB = 90


@dataclass
class Server:
    port: int
    process: psutil.Process
    path: str

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S)

    def begin(self, length: int, sent: bytes) -> socket.socket:
        """A request whose body is not sent whole."""
        connection = self.connect()
        connection.sendall(f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode())
        connection.sendall(sent)
        return connection

    def answers(self) -> bool:
        with self.begin(3, b"abc") as connection:
            return connection.recv(1000).startswith(b"HTTP/1.1 200")


class QuickHandler(KeepAliveHandler):
    """The account's handler with less patience."""

    timeout = 1
    head_s = 0.5
    body_s = 0.5


@pytest.fixture(scope="module")
def front() -> Iterator[Server]:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [str(len(environ["wsgi.input"].read())).encode()]

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=QuickHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Server(server.server_port, psutil.Process(), "/")
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def running_model(folder: Path, timeout_s: float) -> Iterator[Server]:
    (folder / "inference.py").write_text(SCRIPT)
    port_file = folder / "port"
    environment = {
        **os.environ,
        "SM_MODEL_DIR": str(folder),
        "SAGEMAKER_SUBMIT_DIRECTORY": str(folder),
        "SAGEMAKER_BIND_TO_PORT": "0",
        "MODEL_SERVER_PORT_FILE": str(port_file),
        "MODEL_SERVER_READ_TIMEOUT_S": str(timeout_s),
    }
    command = [sys.executable, "-P", model_server.__file__]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        until(port_file.exists)
        yield Server(int(port_file.read_text()), psutil.Process(process.pid), "/invocations")
        process.terminate()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_model(tmp_path_factory.mktemp("model"), 0.5) as server:
        yield server


@pytest.fixture(params=["front", "model"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


def until(condition: Any) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def received(connection: socket.socket) -> bytes:
    """What comes until the other side closes; the socket's own time-out fails the test."""
    content = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            content += part
    return content


def test_a_body_that_does_not_come_is_refused(server: Server) -> None:
    with server.begin(1000, b"half") as connection:
        assert received(connection).startswith(b"HTTP/1.1 408")
    assert server.answers()


@pytest.mark.parametrize("sent", [b"P", b"POST / HTTP/1.1\r\nHost: loc"])
def test_a_head_that_does_not_come_is_not_waited_for(server: Server, sent: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(sent)
        assert b"200" not in received(connection)  # which ends once the server closes
    assert server.answers()


def test_a_body_that_comes_byte_by_byte_does_not_take_for_ever(server: Server) -> None:
    """Each byte comes well within the time, all of them do not."""
    with server.begin(10**6, b"x") as connection:
        deadline = time.monotonic() + TIMEOUT_S
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < deadline:
                connection.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() < deadline
    assert server.answers()


def test_a_large_body_arrives_whole(server: Server) -> None:
    with server.begin(BODY_BYTES, b"x" * BODY_BYTES) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert received(connection).endswith(str(BODY_BYTES).encode())


@pytest.mark.skipif(sys.platform != "linux", reason="memory is given back by glibc's malloc_trim")
def test_half_sent_bodies_take_no_memory_and_whole_ones_give_it_back(tmp_path: Path) -> None:
    def grown_mib() -> float:
        return (server.process.memory_info().rss - before) / 2**20

    with running_model(tmp_path, TIMEOUT_S) as server:
        assert server.answers()
        before = server.process.memory_info().rss
        with contextlib.ExitStack() as open_connections:
            for _ in range(HALF_SENT):
                open_connections.enter_context(server.begin(BODY_BYTES, bytes(BODY_BYTES // 2)))
            until(lambda: server.process.num_threads() > HALF_SENT)
            assert grown_mib() < MAX_GROWTH_MIB
        whole = [server.begin(BODY_BYTES, bytes(BODY_BYTES)) for _ in range(HALF_SENT)]
        for connection in whole:
            with connection:
                assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        until(lambda: grown_mib() < MAX_GROWTH_MIB)
