"""The model server: one process that loads a model archive's script and answers ``/ping`` and ``/invocations``.

Runs inside the container of an endpoint's variant, started by its file path, on the standard library alone. It follows
SageMaker's script mode as the inference toolkit does (https://github.com/aws/sagemaker-inference-toolkit): reads
``SAGEMAKER_PROGRAM``, ``SAGEMAKER_SUBMIT_DIRECTORY``, ``SM_MODEL_DIR`` and ``SAGEMAKER_BIND_TO_PORT``; writes the port
it took to ``MODEL_SERVER_PORT_FILE``. With ``MODEL_SERVER_SECRET`` it answers only those who send it as the header
``X-Model-Server-Secret``: other users of the machine reach the port as well.
"""

from __future__ import annotations

import hmac
import importlib
import io
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import traceback
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_account.base.wire import patient_reader
    from local_account.sagemaker.endpoints.container import inference_script
else:  # this file runs by its path, where no package can be imported
    _WIRE = Path(__file__).parents[3] / "base" / "wire"
    patient_reader = SimpleNamespace(**runpy.run_path(str(_WIRE / "patient_reader.py")))
    inference_script = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("inference_script.py"))))

MODEL_DIR = Path("/opt/ml/model")
HOOKS = ("model_fn", "input_fn", "predict_fn", "output_fn", "transform_fn")
MAX_BODY_BYTES = 6_291_456  # InvokeEndpoint's limit: nothing larger reaches a container on AWS
MAX_DISCARDED_BYTES = 64 * 2**20  # a larger body is not even read past
CHUNK_BYTES = 64 * 1024
IDLE_S = 600.0  # a connection without a request: the account keeps some open
HEAD_S = BODY_S = 30.0  # from the first byte on; a client on the same machine needs milliseconds
SLOWEST_BYTES_S = 2**20
SECRET_HEADER = "X-Model-Server-Secret"  # noqa: S105  # its name
# How the standard library refuses what it does not read, and what that is: the client's fault.
CLIENT_ERRORS = {HTTPStatus.NOT_IMPLEMENTED: HTTPStatus.METHOD_NOT_ALLOWED, 505: HTTPStatus.BAD_REQUEST}


class ModelServerHandler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # what is no request is answered with a status, not as HTTP/0.9 without one
    server_version = "model-server"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024  # unbuffered, the header and the body of an answer meet Nagle's delay of 40 ms
    server: Server

    def setup(self) -> None:
        """Read the connection through a reader that waits so long and no longer."""
        super().setup()
        self.rfile.close()
        limit_s = float(os.environ.get("MODEL_SERVER_READ_TIMEOUT_S", BODY_S))
        self._reader = patient_reader.PatientReader(
            self.connection, IDLE_S, min(HEAD_S, limit_s), limit_s, SLOWEST_BYTES_S
        )
        self.rfile = io.BufferedReader(self._reader)

    def handle_one_request(self) -> None:
        """Wait for the next request of the connection."""
        self._reader.expect_request()
        super().handle_one_request()

    def do_GET(self) -> None:
        """Answer the ping."""
        if self._read_body() is not None:
            self._answer(200 if self.path == "/ping" else 404, inference_script.HookAnswer(b"", "text/plain"))

    def do_POST(self) -> None:
        """Answer an invocation."""
        body = self._read_body()
        if body is None:
            return
        if self.path != "/invocations":
            self._answer(404, inference_script.HookAnswer(b"", "text/plain"))
            return
        accept = self._header("Accept", "*/*")
        if accept == "*/*":
            accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "application/json")
        try:
            status = 200
            kind = self._header("Content-Type", "application/json")
            answer = self.server.script.transform(body, kind, accept, dict(self.headers.items()))
        except Exception as error:  # whatever a script raises is an answer, never the end of the server
            status = getattr(error, "status_code", 500)
            if not (isinstance(status, int) and 400 <= status <= 599):
                status = 500
            reason = str(error) or type(error).__name__
            if status >= 500:
                traceback.print_exc()
            else:
                self.log_message("%s", reason)
            answer = inference_script.HookAnswer(reason.encode(errors="backslashreplace"), "text/plain")
        self._answer(status, answer)

    def _header(self, name: str, default: str) -> str:
        # A folded header has line breaks, which must not reach the header of an answer that repeats it.
        return " ".join(self.headers.get(name, "").split()) or default

    def _read_body(self) -> bytes | None:
        """The request's body; None when it was refused, or when the client has gone before it was whole."""
        stated = self.headers.get_all("Content-Length", ["0"])
        if not hmac.compare_digest(self._header(SECRET_HEADER, "").encode(), self.server.secret.encode()):
            self.send_error(403, "this model server answers the account that started it only")
        elif "Transfer-Encoding" in self.headers:
            self.send_error(411, "send a Content-Length, not a Transfer-Encoding")
        elif len(stated) > 1 or not (stated[0].isascii() and stated[0].isdecimal()) or len(stated[0]) > 18:
            self.send_error(400, f"expected one Content-Length, a number, got {stated!a:.80}")
        elif (length := int(stated[0])) > MAX_BODY_BYTES:
            self._discard(length)
            self.send_error(413, f"the body has {length:,} bytes, more than the {MAX_BODY_BYTES:,} accepted")
        else:
            return self._receive(length)
        return None

    def _receive(self, length: int) -> bytes | None:
        self._reader.expect_body(length)
        try:
            file, came = patient_reader.receive(self.rfile.read, length)
        except TimeoutError:
            self.send_error(408, f"the body of {length:,} bytes did not come in time")
            return None
        finally:
            self.server.memory.had(length)
        with file:
            self.close_connection |= came < length
            return file.read() if came == length else None

    def _discard(self, length: int) -> None:
        """Read past a body, so that a client that sends all of it before it listens meets an answer, not a reset."""
        self._reader.expect_body(length)
        while 0 < length <= MAX_DISCARDED_BYTES:
            part = self.rfile.read(min(length, CHUNK_BYTES))
            length = length - len(part) if part else 0

    def handle_expect_100(self) -> bool:
        """Say at once that the body may come."""
        proceed = super().handle_expect_100()
        self.wfile.flush()  # the client waits for it before it sends the body
        return proceed

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 (the base class's signature)
        """Refuse what cannot be read; the connection may hold anything by now, and is closed."""
        self.close_connection = True
        self._answer(
            CLIENT_ERRORS.get(code, code),
            inference_script.HookAnswer((message or "").encode(errors="replace"), "text/plain"),
        )

    def _answer(self, status: int, answer: inference_script.HookAnswer) -> None:
        self.send_response(status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        if answer.attributes:
            self.send_header(inference_script.ATTRIBUTES_HEADER, answer.attributes)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002 (the base class's signature)
        """Pings leave no line."""
        if self.requestline.split(" ")[1:2] != ["/ping"]:
            self.log_message('"%s" %s', self.requestline, code)

    def log_message(self, format: str, *arguments: object) -> None:
        """One line a message, without the time, which CloudWatch Logs adds."""
        sys.stdout.write(f"{self.address_string()} - {ascii(format % arguments)[1:-1]}\n")


class Server(ThreadingHTTPServer):
    """The script and a thread for each connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, script: inference_script.InferenceScript, bound: int | None = None) -> None:
        """Listen on a port, or on the socket ``bound``, a file descriptor that was inherited."""
        self.script = script
        self.secret = os.environ.get("MODEL_SERVER_SECRET", "")
        self.memory = patient_reader.MemoryKeeper()
        super().__init__(("127.0.0.1", port), ModelServerHandler, bind_and_activate=bound is None)
        if bound is not None:
            self.socket.close()
            self.socket = socket.socket(fileno=bound)
            self.server_address = self.socket.getsockname()
            self.server_activate()

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """A client that has gone is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError | socket.timeout):
            super().handle_error(request, client_address)


def load_script(submit_directory: Path, program: str) -> inference_script.InferenceScript:
    """Install the script's requirements, import it and load the model."""
    requirements = submit_directory / "requirements.txt"
    if requirements.is_file():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*command, "--requirement", str(requirements)], check=True)
        importlib.invalidate_caches()
    sys.path.insert(0, str(submit_directory))
    module = importlib.import_module(program.removesuffix(".py").replace("/", "."))
    hooks = {name: getattr(module, name) for name in HOOKS if hasattr(module, name)}
    if "transform_fn" not in hooks:
        hooks = image_hooks(os.environ.get("IMAGE_SERVING_HOOKS", ""), submit_directory / program) | hooks
    return inference_script.InferenceScript(hooks, Path(os.environ.get("SM_MODEL_DIR", MODEL_DIR)))


def image_hooks(path: str, script: Path) -> dict[str, Callable[..., object]]:
    """What the image does for a script that leaves a hook out; nothing without such an image, or when it is its own."""
    if not path or Path(path) == script:
        return {}
    sys.path.append(str(Path(path).parent))
    module = importlib.import_module(Path(path).stem)
    return {name: getattr(module, name) for name in HOOKS if hasattr(module, name)}


def main() -> None:
    """Load the script and serve until SIGTERM."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # stdout is a text stream here
    submit_directory = Path(os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY", MODEL_DIR / "code"))
    script = load_script(submit_directory, os.environ.get("SAGEMAKER_PROGRAM", "inference.py"))
    inherited = os.environ.get("MODEL_SERVER_SOCKET")
    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))
    server = Server(port, script, int(inherited) if inherited else None)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    if "MODEL_SERVER_PORT_FILE" in os.environ:
        port_file = Path(os.environ["MODEL_SERVER_PORT_FILE"])
        partial = port_file.with_suffix(".partial")
        partial.write_text(str(server.server_address[1]))
        partial.replace(port_file)
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
