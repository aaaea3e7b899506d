"""One instance of a variant: a model server process, restarted when it crashes, drained before it ends.

Runs in the server process. Writes ``<state>/endpoints/<endpoint>/<variant>-<id>`` (its ``/opt/ml``) while it runs.
"""

from __future__ import annotations

import http.client
import logging
import queue
import secrets
import select
import shutil
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from local_account.account import Account
from local_account.containers.run import RunningContainer, start_container
from local_account.sagemaker.endpoints.archive import StartError, fetch_code, fetch_model_data, script_of
from local_account.sagemaker.endpoints.container.model_server import SECRET_HEADER
from local_account.sagemaker.records import Container

log = logging.getLogger(__name__)

MODEL_SERVER = Path(__file__).with_name("container") / "model_server.py"
PORT_FILE = "model-server.port"
# AWS's limit for one answer: "customer containers must respond within 60 seconds" (SageMaker, InvokeEndpoint).
ANSWER_S = 60.0
# Without ContainerStartupHealthCheckTimeoutInSeconds AWS gives up on a container after eight minutes.
STARTUP_S = 480.0
RESTART_DELAYS_S = (0.1, 1.0, 2.0, 5.0, 10.0, 30.0)
STOP_GRACE_S = 5.0


class NoAnswerError(Exception):
    """The model server gave no HTTP answer."""


@dataclass(frozen=True)
class ModelAnswer:
    """What a model server answered."""

    status: int
    body: bytes
    content_type: str
    custom_attributes: str | None


class Connections:
    """Keep-alive connections to one model server process."""

    def __init__(self, port: int, secret: str) -> None:
        self._port = port
        self._secret = secret
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()

    def request(self, method: str, path: str, body: bytes, headers: dict[str, str], timeout_s: float) -> ModelAnswer:
        """Ask the model server; raises OSError or HTTPException, after which the connection is closed."""
        connection = self._kept() or http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout_s)
        try:
            connection.request(method, path, body, {**headers, SECRET_HEADER: self._secret})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            raise
        self._idle.put(connection)
        return ModelAnswer(
            answer.status,
            content,
            answer.headers.get("Content-Type", "application/octet-stream"),
            answer.headers.get("X-Amzn-SageMaker-Custom-Attributes"),
        )

    def _kept(self) -> http.client.HTTPConnection | None:
        """An idle connection; the model server closes those on which nothing was asked for ten minutes."""
        with suppress(queue.Empty):
            while connection := self._idle.get_nowait():
                if connection.sock and not _readable(connection.sock):
                    return connection
                connection.close()  # what can be read of it, while nothing is asked, is its end
        return None

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()


def _readable(connection: socket.socket) -> bool:
    """Whether something has come, or the end; unlike `select`, for however many open files."""
    waiting = select.poll()
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(0))


class Instance:
    """One process of a variant; ``in_flight`` counts the requests that it answers."""

    def __init__(self, account: Account, endpoint: str, variant: str, container: Container, startup_s: float) -> None:
        self.variant = variant
        self.log_group = f"/aws/sagemaker/Endpoints/{endpoint}"
        self.instance = f"i-{secrets.token_hex(8)}"
        self._account = account
        self._container = container
        self._startup_s = startup_s
        self._root = account.state_dir / "endpoints" / endpoint / f"{variant}-{self.instance}"
        self._secret = secrets.token_urlsafe(24)
        self._stopping = threading.Event()
        self._process: RunningContainer | None = None
        self._connections: Connections | None = None
        self._busy = threading.Condition()
        self.in_flight = 0

    @property
    def log_stream(self) -> str:
        """The stream of CloudWatch Logs that it writes, in ``log_group``."""
        return f"{self.variant}/{self.instance}"

    def start(self) -> None:
        """Return once the model server answers its ping; raises StartError."""
        model = fetch_model_data(self._account, self._container, self._root)
        fetch_code(self._account, self._container, self._root)
        script = script_of(self._container, model)
        self._launch(script)
        threading.Thread(target=self._watch, args=(script,), name=f"variant-{self.variant}", daemon=True).start()

    def _launch(self, script: dict[str, str]) -> None:
        (self._root / PORT_FILE).unlink(missing_ok=True)
        with socket.socket() as listener:
            # Opened here, so that a container without a network is reached all the same, and by nobody else.
            listener.bind(("127.0.0.1", 0))
            process = self._start_container(script, listener.fileno())
        self._process = process
        try:
            self._connections = self._until_healthy(process)
        except StartError:
            process.stop(0.5)
            raise

    def _start_container(self, script: dict[str, str], listener: int) -> RunningContainer:
        return start_container(
            self._account,
            name=f"endpoint-{self.variant}",
            root=self._root,
            # -P: by its path alone, the server's folder must not become importable for the script
            command=["python3", "-P", str(MODEL_SERVER)],
            environment={
                "SM_MODEL_DIR": "/opt/ml/model",
                **self._container["environment"],
                **script,
                "MODEL_SERVER_SOCKET": str(listener),
                "MODEL_SERVER_SECRET": self._secret,
                "MODEL_SERVER_PORT_FILE": f"/opt/ml/{PORT_FILE}",
            },
            log_group=self.log_group,
            log_stream=self.log_stream,
            role=self._container.get("role", ""),
            isolated=self._container.get("isolated", False),
            sockets=(listener,),
        )

    def _until_healthy(self, process: RunningContainer) -> Connections:
        failed = (
            f"The primary container for production variant {self.variant} did not pass the ping health check. "
            "Please check CloudWatch logs for this endpoint."
        )
        deadline = time.monotonic() + self._startup_s
        while time.monotonic() < deadline and not self._stopping.is_set():
            if process.poll() is not None:
                process.wait(5)
                raise StartError(f"{failed} Last lines: {' | '.join(process.tail(5))}")
            with suppress(OSError, ValueError, http.client.HTTPException):
                connections = Connections(int((self._root / PORT_FILE).read_text()), self._secret)
                if connections.request("GET", "/ping", b"", {}, ANSWER_S).status == http.HTTPStatus.OK:
                    return connections
                connections.close()
            self._stopping.wait(0.02)
        raise StartError(failed)

    def _watch(self, script: dict[str, str]) -> None:
        """Start the process again whenever it ends by itself."""
        crashes = 0
        while self._process is not None:
            started = time.monotonic()
            code = self._process.wait()
            if self._stopping.is_set() or self._account.stopping.is_set():
                return
            crashes = crashes + 1 if time.monotonic() - started < RESTART_DELAYS_S[-1] else 1
            line = f"The model server of {self.variant} ended with code {code}; it is started again."
            log.warning("%s %s", self.log_group, line)
            self._account.put_log_lines(self.log_group, self.log_stream, [line])
            if self._stopping.wait(RESTART_DELAYS_S[min(crashes, len(RESTART_DELAYS_S)) - 1]):
                return
            with suppress(StartError):  # its log says why; the next round tries again
                self._launch(script)
            if self._stopping.is_set():  # it was stopped while it came up
                self._process.stop(STOP_GRACE_S)

    def invoke(self, body: bytes, headers: dict[str, str]) -> ModelAnswer:
        """One request to ``/invocations``; raises NoAnswerError."""
        connections = self._connections
        if connections is None:
            raise NoAnswerError("The container primary is not running.")
        try:
            return connections.request("POST", "/invocations", body, headers, ANSWER_S)
        except TimeoutError as error:
            raise NoAnswerError(
                "Your invocation timed out while waiting for a response from container primary. Review the latency "
                "metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswerError("The container primary closed the connection before it answered.") from error

    @property
    def healthy(self) -> bool:
        """Whether its process runs and has answered a ping."""
        return self._connections is not None and self._process is not None and self._process.poll() is None

    def enter(self) -> None:
        """A request begins; ``end`` waits for it."""
        with self._busy:
            self.in_flight += 1

    def leave(self) -> None:
        """A request has been answered."""
        with self._busy:
            self.in_flight -= 1
            self._busy.notify_all()

    def end(self) -> None:
        """Stop once the requests in flight are answered."""
        with self._busy:
            self._busy.wait_for(lambda: self.in_flight == 0, ANSWER_S)
        self.stop()

    def stop(self) -> None:
        """End the process now, and remove its folder."""
        self._stopping.set()
        if self._connections:
            self._connections.close()
        if self._process:
            self._process.stop(STOP_GRACE_S)
        shutil.rmtree(self._root, ignore_errors=True)
