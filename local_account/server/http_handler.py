"""HTTP/1.1 with connections that stay open, between a socket and the WSGI application.

Runs in the server process, one thread a connection. werkzeug's own handler closes every connection after one answer,
which costs a client a new connection for each call.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from moto.moto_server.werkzeug_app import MotoRequestHandler

from local_account.base import clock

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 2**31  # S3 takes at most 5 GiB at once; a body is held in memory here


class KeepAliveHandler(MotoRequestHandler):
    """Reads each request's body whole before the application runs, so that the next request starts where it ended."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536  # bytes: head and body of a short answer leave in one packet
    timeout = 600  # seconds without a request after which a connection is closed

    def run_wsgi(self) -> None:
        """Answer one request."""
        if self.headers.get("Expect", "").strip().lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()
        environ = self.make_environ()
        try:
            body = self._read_body(environ)
        except OSError as error:  # the client went away in the middle: what came is not what it meant to send
            log.info("%s %r: the body did not arrive whole (%s)", self.command, self.path, error)
            self.close_connection = True
            return
        if body is None:
            self.close_connection = True
            self.send_error(413, "Request body too large")
            return
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
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

    def _read_body(self, environ: WSGIEnvironment) -> bytes | None:
        if environ.get("wsgi.input_terminated"):  # chunked
            content: bytes = environ["wsgi.input"].read(MAX_BODY_BYTES + 1)
            return content if len(content) <= MAX_BODY_BYTES else None
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            return None
        if not 0 <= length <= MAX_BODY_BYTES:
            return None
        content = self.rfile.read(length)
        if len(content) < length:
            raise ConnectionError(f"{len(content)} of {length} bytes")
        return content

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
