"""HTTP/1.1 with connections that stay open, between a socket and the WSGI application.

Runs in the server process, one thread a connection. werkzeug's own handler closes every connection after one answer,
which costs a client a new connection for each call.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

from moto.moto_server.werkzeug_app import MotoRequestHandler

from local_account.base import clock
from local_account.base.wire.patient_reader import MemoryKeeper, PatientReader, receive

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 2**31  # S3 takes at most 5 GiB at once; the services hold a body in memory here


class KeepAliveHandler(MotoRequestHandler):
    """Reads each request's body whole before the application runs, so that the next request starts where it ended."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536  # bytes: head and body of a short answer leave in one packet
    timeout = 600  # seconds without a request after which a connection is closed, or in which an answer is taken
    head_s = 30.0  # from a request's first byte to the end of its head
    body_s = 60.0  # for a request's body, and one second more for every ``slowest`` bytes
    slowest = 2**20
    memory = MemoryKeeper()
    rfile: io.BufferedReader

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._reader = PatientReader(self.connection, float(self.timeout), self.head_s, self.body_s, self.slowest)
        self.rfile = io.BufferedReader(self._reader)

    def handle_one_request(self) -> None:
        self._reader.expect_request()
        super().handle_one_request()

    def run_wsgi(self) -> None:
        """Answer one request."""
        if self.headers.get("Expect", "").strip().lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()
        environ = self.make_environ()
        try:
            received = self._read_body(environ)
        except TimeoutError:
            log.info("%s %r: the body did not come in time", self.command, self.path)
            self._refuse(408, "RequestTimeout: the request's body did not come in time")
            return
        except OSError as error:  # the client went away in the middle: what came is not what it meant to send
            log.info("%s %r: the body did not arrive whole (%s)", self.command, self.path, error)
            self.close_connection = True
            return
        if received is None:
            self._refuse(413, "Request body too large")
            return
        body, length = received
        with body:
            environ["wsgi.input"] = body
            environ["CONTENT_LENGTH"] = str(length)
            environ.pop("HTTP_TRANSFER_ENCODING", None)
            self._run(environ)
        self.memory.had(length)

    def _run(self, environ: WSGIEnvironment) -> None:
        answer: tuple[str, list[tuple[str, str]]] = ("500 Internal Server Error", [])

        def start_response(
            status: str, headers: list[tuple[str, str]], _exc_info: object = None, /
        ) -> Callable[[bytes], object]:
            nonlocal answer
            answer = (status, headers)
            return self.wfile.write

        try:
            content = b"".join(self.server.app(environ, start_response))
        except Exception:  # the application answers its own errors: this is a fault of its front
            log.exception("%s %r failed", self.command, self.path)
            answer = ("500 Internal Server Error", [])
            content = b""
        self._answer(*answer, content)
        self.memory.had(len(content))

    def _refuse(self, status: int, message: str) -> None:
        self.close_connection = True
        self.send_error(status, message)

    def _read_body(self, environ: WSGIEnvironment) -> tuple[IO[bytes], int] | None:
        """The body as a file, and its length; None when it is too large."""
        if environ.get("wsgi.input_terminated"):  # chunked
            self._reader.expect_body(MAX_BODY_BYTES)
            file, came = receive(environ["wsgi.input"].read, MAX_BODY_BYTES + 1)
            if came <= MAX_BODY_BYTES:
                return file, came
            file.close()
            return None
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            return None
        if not 0 <= length <= MAX_BODY_BYTES:
            return None
        self._reader.expect_body(length)
        file, came = receive(self.rfile.read, length)
        if came < length:
            file.close()
            raise ConnectionError(f"{came} of {length} bytes")
        return file, came

    def _answer(self, status: str, headers: list[tuple[str, str]], content: bytes) -> None:
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        head = self.command == "HEAD"
        for name, value in headers:
            # HEAD names the length of what GET would send; every other answer's length is what is sent.
            if name.lower() not in ("connection", "transfer-encoding") and (head or name.lower() != "content-length"):
                self.send_header(name, str(value))
        if not head and code not in ("204", "304"):
            self.send_header("Content-Length", str(len(content)))
        elif head and not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("Content-Length", "0")
        self.end_headers()
        if not head and code not in ("204", "304"):
            self.wfile.write(content)
        self.wfile.flush()

    def date_time_string(self, timestamp: float | None = None) -> str:
        """For the header ``Date``, by which a client can learn the account's time."""
        return str(super().date_time_string(clock.time() if timestamp is None else timestamp))

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """No line for each request."""

    def log_message(self, format: str, *arguments: object) -> None:
        """What http.server has to say, in the account's log."""
        log.info(format, *arguments)
