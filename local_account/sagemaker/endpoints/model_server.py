"""The model server: one process that loads a model archive's script and answers ``/ping`` and ``/invocations``.

Runs inside the container of an endpoint's variant, started by its file path, on the standard library alone (numpy only
where a script leaves ``input_fn`` or ``output_fn`` out). It follows SageMaker's script mode as the inference toolkit
does (https://github.com/aws/sagemaker-inference-toolkit): reads ``SAGEMAKER_PROGRAM``, ``SAGEMAKER_SUBMIT_DIRECTORY``,
``SM_MODEL_DIR`` and ``SAGEMAKER_BIND_TO_PORT``; writes the port it took to ``MODEL_SERVER_PORT_FILE``. With
``MODEL_SERVER_SECRET`` it answers only those who send it as the header ``X-Model-Server-Secret``: other users of the
machine reach the port as well.
"""

from __future__ import annotations

import hmac
import importlib
import inspect
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

MODEL_DIR = Path("/opt/ml/model")
HOOKS = ("model_fn", "input_fn", "predict_fn", "output_fn", "transform_fn")
MAX_BODY_BYTES = 6_291_456  # InvokeEndpoint's limit: nothing larger reaches a container on AWS
MAX_DISCARDED_BYTES = 64 * 2**20  # a larger body is not even read past
CHUNK_BYTES = 64 * 1024
SECRET_HEADER = "X-Model-Server-Secret"  # noqa: S105  # its name
ATTRIBUTES_HEADER = "X-Amzn-SageMaker-Custom-Attributes"
# How the standard library refuses what it does not read, and what that is: the client's fault.
CLIENT_ERRORS = {HTTPStatus.NOT_IMPLEMENTED: HTTPStatus.METHOD_NOT_ALLOWED, 505: HTTPStatus.BAD_REQUEST}


class UnsupportedContentError(Exception):
    """The default ``input_fn`` or ``output_fn`` does not know a content type."""

    status_code = 415


class InvalidContentError(Exception):
    """The script's ``input_fn`` refused the request."""

    status_code = 400


class Context:
    """What the toolkit hands to hooks that take one argument more: one for each request."""

    def __init__(self, model_dir: Path) -> None:
        self.system_properties = {"model_dir": str(model_dir), "gpu_id": None}
        self.response_headers: dict[str, str] = {}

    def set_response_header(self, idx: int, key: str, value: str) -> None:  # noqa: ARG002  # the toolkit's signature
        """``idx`` counts the requests of a batch; there is one."""
        self.response_headers[key] = value


class Answer(NamedTuple):
    body: bytes
    content_type: str
    attributes: str = ""


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def default_input_fn(body: bytes, content_type: str) -> Any:
    """Decode JSON, CSV and NPY into an array."""
    import numpy  # only models without an input_fn of their own need it

    kind = media_type(content_type)
    if kind == "application/json":
        return numpy.array(json.loads(body))
    if kind == "text/csv":
        return numpy.genfromtxt(io.StringIO(body.decode()), delimiter=",")
    if kind == "application/x-npy":
        return numpy.load(io.BytesIO(body), allow_pickle=False)
    raise UnsupportedContentError(f"Content type {content_type} is not supported by this framework.")


def default_predict_fn(data: Any, model: Any) -> Any:
    if not callable(model):
        raise NotImplementedError("Please provide a predict_fn implementation: the model is not callable.")
    return model(data)


def default_output_fn(prediction: Any, accept: str) -> Any:
    """Encode an array as JSON, CSV or NPY."""
    import numpy  # only models without an output_fn of their own need it

    array = numpy.asarray(prediction)
    kind = media_type(accept)
    if kind == "application/json":
        return json.dumps(array.tolist())
    stream = io.BytesIO()
    if kind == "text/csv":
        numpy.savetxt(stream, numpy.atleast_1d(array), delimiter=",", fmt="%s")
    elif kind == "application/x-npy":
        numpy.save(stream, array, allow_pickle=False)
    else:
        raise UnsupportedContentError(f"Accept type {accept} is not supported by this framework.")
    return stream.getvalue()


class Script:
    """The user's module with its hooks; load it once, call ``transform`` from many threads."""

    def __init__(self, hooks: dict[str, Callable[..., Any]], model_dir: Path) -> None:
        if "model_fn" not in hooks:
            raise NotImplementedError("Please provide a model_fn implementation: the script defines none.")
        if "transform_fn" in hooks and hooks.keys() & {"input_fn", "predict_fn", "output_fn"}:
            raise ValueError("transform_fn excludes input_fn, predict_fn and output_fn: provide one or the others.")
        self._hooks = {
            "input_fn": default_input_fn,
            "predict_fn": default_predict_fn,
            "output_fn": default_output_fn,
        } | hooks
        self._model_dir = model_dir
        self._takes = {name: len(inspect.signature(hook).parameters) for name, hook in self._hooks.items()}
        self._model = self._call(Context(model_dir), "model_fn", str(model_dir))

    def _call(self, context: Context, name: str, *arguments: Any) -> Any:
        hook = self._hooks[name]
        return hook(*arguments, context) if self._takes[name] > len(arguments) else hook(*arguments)

    def transform(self, body: bytes, content_type: str, accept: str) -> Answer:
        """One inference; an exception with ``status_code`` answers that status, any other one 500."""
        context = Context(self._model_dir)
        if "transform_fn" in self._hooks:
            result = self._call(context, "transform_fn", self._model, body, content_type, accept)
        else:
            data = self._decode(context, body, content_type)
            result = self._call(context, "output_fn", self._call(context, "predict_fn", data, self._model), accept)
        content, answered_type = result if isinstance(result, tuple) else (result, accept)
        if isinstance(content, str):
            content = content.encode()
        if not isinstance(content, bytes | bytearray):
            raise TypeError(f"output_fn must return str or bytes, it returned {type(content).__name__}.")
        # InvokeEndpoint passes on no other header than this one, and of it only ASCII.
        named = {name.lower(): value for name, value in context.response_headers.items()}
        attributes = " ".join(named.get(ATTRIBUTES_HEADER.lower(), "").split()).encode("ascii", "replace").decode()
        return Answer(bytes(content), answered_type, attributes)

    def _decode(self, context: Context, body: bytes, content_type: str) -> Any:
        # Differs from the toolkit, which answers 500 here too: a request that cannot be read is the client's fault.
        try:
            return self._call(context, "input_fn", body, content_type)
        except (ValueError, TypeError) as error:
            if hasattr(error, "status_code"):  # the script knows better
                raise
            raise InvalidContentError(str(error)) from error


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # what is no request is answered with a status, not as HTTP/0.9 without one
    server_version = "model-server"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024  # unbuffered, the header and the body of an answer meet Nagle's delay of 40 ms
    server: Server

    def do_GET(self) -> None:
        if self._read_body() is not None:
            self._answer(200 if self.path == "/ping" else 404, Answer(b"", "text/plain"))

    def do_POST(self) -> None:
        body = self._read_body()
        if body is None:
            return
        if self.path != "/invocations":
            self._answer(404, Answer(b"", "text/plain"))
            return
        accept = self._header("Accept", "*/*")
        if accept == "*/*":
            accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "application/json")
        try:
            status = 200
            answer = self.server.script.transform(body, self._header("Content-Type", "application/json"), accept)
        except Exception as error:  # whatever a script raises is an answer, never the end of the server
            status = getattr(error, "status_code", 500)
            if not (isinstance(status, int) and 400 <= status <= 599):
                status = 500
            reason = str(error) or type(error).__name__
            if status >= 500:
                traceback.print_exc()
            else:
                self.log_message("%s", reason)
            answer = Answer(reason.encode(errors="backslashreplace"), "text/plain")
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
            body = self.rfile.read(length)
            self.close_connection |= len(body) < length
            return body if len(body) == length else None
        return None

    def _discard(self, length: int) -> None:
        """Read past a body, so that a client that sends all of it before it listens meets an answer, not a reset."""
        while 0 < length <= MAX_DISCARDED_BYTES:
            part = self.rfile.read(min(length, CHUNK_BYTES))
            length = length - len(part) if part else 0

    def handle_expect_100(self) -> bool:
        proceed = super().handle_expect_100()
        self.wfile.flush()  # the client waits for it before it sends the body
        return proceed

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 (the base class's signature)
        """Refuse what cannot be read; the connection may hold anything by now, and is closed."""
        self.close_connection = True
        self._answer(CLIENT_ERRORS.get(code, code), Answer((message or "").encode(errors="replace"), "text/plain"))

    def _answer(self, status: int, answer: Answer) -> None:
        self.send_response(status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        if answer.attributes:
            self.send_header(ATTRIBUTES_HEADER, answer.attributes)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002 (the base class's signature)
        if self.requestline.split(" ")[1:2] != ["/ping"]:
            self.log_message('"%s" %s', self.requestline, code)

    def log_message(self, format: str, *arguments: Any) -> None:
        sys.stdout.write(f"{self.address_string()} - {ascii(format % arguments)[1:-1]}\n")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, script: Script) -> None:
        self.script = script
        self.secret = os.environ.get("MODEL_SERVER_SECRET", "")
        super().__init__(("127.0.0.1", port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError | socket.timeout):
            super().handle_error(request, client_address)


def load_script(submit_directory: Path, program: str) -> Script:
    """Install the script's requirements, import it and load the model."""
    requirements = submit_directory / "requirements.txt"
    if requirements.is_file():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*command, "--requirement", str(requirements)], check=True)
        importlib.invalidate_caches()
    sys.path.insert(0, str(submit_directory))
    module = importlib.import_module(program.removesuffix(".py").replace("/", "."))
    hooks = {name: getattr(module, name) for name in HOOKS if hasattr(module, name)}
    return Script(hooks, Path(os.environ.get("SM_MODEL_DIR", MODEL_DIR)))


def main() -> None:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # stdout is a text stream here
    submit_directory = Path(os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY", MODEL_DIR / "code"))
    script = load_script(submit_directory, os.environ.get("SAGEMAKER_PROGRAM", "inference.py"))
    server = Server(int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")), script)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    if "MODEL_SERVER_PORT_FILE" in os.environ:
        port_file = Path(os.environ["MODEL_SERVER_PORT_FILE"])
        partial = port_file.with_suffix(".partial")
        partial.write_text(str(server.server_address[1]))
        partial.replace(port_file)
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
