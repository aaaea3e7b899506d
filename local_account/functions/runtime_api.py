"""The Lambda Runtime API, on a port of its own: a worker asks it for the next invocation and posts the result.

Runs in the server process, one connection and one thread a worker. The protocol is
docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. On AWS every execution environment has its own address; here one
port serves them all, and the address that a worker gets (``AWS_LAMBDA_RUNTIME_API``) ends in a secret path of its own.
"""

from __future__ import annotations

import queue
import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PREFIX = "/2018-06-01/runtime"


@dataclass(frozen=True)
class QueuedInvocation:
    """One call of a function, as the worker sees it."""

    request_id: str
    function_arn: str
    deadline_ms: int
    event: bytes
    client_context: str | None = None


@dataclass(frozen=True)
class Message:
    """What came of a worker: ``ready``, ``response``, ``error``, ``init-error``, or ``exit`` with its code."""

    kind: str
    body: bytes = b""
    request_id: str = ""
    exit_code: int = 0


@dataclass
class Mailbox:
    """How a worker's process and the thread that invokes it meet. ``None`` in ``inbox`` ends the conversation."""

    inbox: queue.SimpleQueue[QueuedInvocation | None] = field(default_factory=queue.SimpleQueue)
    outbox: queue.SimpleQueue[Message] = field(default_factory=queue.SimpleQueue)


class RuntimeApiServer:
    """The loopback server; ``open`` gives a worker's address and mailbox, ``close`` forgets them."""

    def __init__(self) -> None:
        self._mailboxes: dict[str, Mailbox] = {}
        mailboxes = self._mailboxes

        class Handler(_RequestHandler):
            def mailbox(self, token: str) -> Mailbox | None:
                return mailboxes.get(token)

        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, name="lambda-runtime-api", daemon=True).start()

    def open(self) -> tuple[str, str, Mailbox]:
        """A new worker's token, its address, and its mailbox."""
        token = secrets.token_urlsafe(16)
        mailbox = self._mailboxes[token] = Mailbox()
        return token, f"127.0.0.1:{self._server.server_address[1]}/{token}", mailbox

    def close(self, token: str) -> None:
        """Forget a worker; one that waits is told to end."""
        mailbox = self._mailboxes.pop(token, None)
        if mailbox is not None:
            mailbox.inbox.put(None)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet an answer

    def mailbox(self, token: str) -> Mailbox | None:
        raise NotImplementedError

    def do_GET(self) -> None:  # http.server's name
        token, path = self._target()
        mailbox = self.mailbox(token)
        if mailbox is None or path != "/invocation/next":
            self._answer(404, b'{"errorType":"NotFound","errorMessage":"no such worker or path"}')
            return
        mailbox.outbox.put(Message("ready"))
        invocation = mailbox.inbox.get()
        if invocation is None:
            self.close_connection = True
            return
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
        }
        if invocation.client_context is not None:
            headers["Lambda-Runtime-Client-Context"] = invocation.client_context
        self._answer(200, invocation.event, headers)

    def do_POST(self) -> None:  # http.server's name
        token, path = self._target()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        mailbox = self.mailbox(token)
        parts = path.strip("/").split("/")
        if mailbox is None:
            message = None
        elif path == "/init/error":
            message = Message("init-error", body)
        elif len(parts) == 3 and parts[0] == "invocation" and parts[2] in {"response", "error"}:
            message = Message(parts[2], body, parts[1])
        else:
            message = None
        if mailbox is None or message is None:
            self._answer(404, b'{"errorType":"NotFound","errorMessage":"no such worker or path"}')
            return
        self._answer(202, b'{"status":"OK"}')
        mailbox.outbox.put(message)

    def _target(self) -> tuple[str, str]:
        token, _, path = self.path.removeprefix("/").partition(PREFIX)
        return token, path

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the worker died: its exit is reported by its process
            self.send_response_only(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: requests of workers are no news."""
