"""Connections to a model server that closed them while nobody asked anything: the next request goes over a new one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from local_account.sagemaker.endpoints.instance import Connections


class Forgetful:
    """Answers one request on each connection, as if it were kept, and closes it then. Counts the connections."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.opened = 0
        self.closed = threading.Semaphore(0)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self.opened += 1
                while not connection.recv(65536).endswith(b"photo"):
                    pass
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            self.closed.release()


@pytest.fixture
def server() -> Iterator[Forgetful]:
    made = Forgetful()
    yield made
    made.listener.close()


def test_a_request_after_a_long_silence_is_answered(server: Forgetful) -> None:
    connections = Connections(server.port, "secret")
    for number in range(1, 4):
        answer = connections.request("POST", "/invocations", b"photo", {}, 10.0)
        assert (answer.status, answer.body, server.opened) == (200, b"ok", number)
        server.closed.acquire()
    connections.close()
