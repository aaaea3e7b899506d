"""``scones mlflow``: MLflow's pages about the stage's trainings."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from typing import Annotated

import typer

from scones import screen
from scones.commands import Stage
from scones.errors import SconesError
from scones.stage.connection import connect
from scones.stage.settings import Settings
from scones.stage.tracking_address import DATABASE, database_path, lacking_client

PORT = 5000  # MLflow's own default
# It would start ten processes for jobs of its own, which nothing here asks for, and tell its makers of its use.
_QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
Open = Annotated[bool, typer.Option("--open", help="Open it in this machine's browser.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1 for a database's pages; 0: any.")]


def mlflow(stage: Stage = "local", open_: Open = False, port: Port = PORT) -> None:
    """Open MLflow's pages about the stage's trainings: of a database here until Ctrl-C, else by their address."""
    settings = Settings.load(stage)
    address = settings.tracking_uri
    if not address:
        raise SconesError(
            f"stage {stage} logs no trainings to MLflow: set `mlflow` in stages/{stage}.toml, or MLFLOW_TRACKING_URI"
        )
    if address.startswith(DATABASE):
        _serve(address, port, open_)
        return
    _show(_presigned(stage, address) if address.startswith("arn:") else address, open_)


def _show(url: str, opened: bool) -> None:
    screen.say(url)
    if opened:
        webbrowser.open(url)


def _presigned(stage: str, arn: str) -> str:
    """An address that lets its bearer in, for some minutes."""
    client, name = connect(stage).client("sagemaker"), arn.rpartition("/")[2]
    if ":mlflow-app/" in arn:
        return client.create_presigned_mlflow_app_url(Arn=arn)["AuthorizedUrl"]
    return client.create_presigned_mlflow_tracking_server_url(TrackingServerName=name)["AuthorizedUrl"]


def _serve(address: str, port: int, opened: bool) -> None:
    """Serve a database's pages on 127.0.0.1 until Ctrl-C. Raises SconesError when that cannot be."""
    if lacking := lacking_client(address):
        raise SconesError(lacking)
    database = database_path(address)
    if not database.is_file():
        raise SconesError(f"no training was logged to {database} yet: run `scones pipeline run` first")
    port = _free(port)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", address, "--default-artifact-root", database.with_name("files").as_uri()]
    server = subprocess.Popen(command, env={**os.environ, **_QUIET})
    try:
        threading.Thread(target=_show_when_up, args=(server, port, opened), daemon=True).start()
        status = server.wait()
    except KeyboardInterrupt:
        return
    finally:
        server.terminate()
        with contextlib.suppress(KeyboardInterrupt):
            server.wait()
    raise SconesError(f"MLflow's server ended with status {status}; what it wrote stands above")


def _show_when_up(server: subprocess.Popen[bytes], port: int, opened: bool) -> None:
    while server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            _show(f"http://127.0.0.1:{port}", opened)
            return
        time.sleep(0.2)


def _free(port: int) -> int:
    """The port, or any free one for 0. Raises SconesError when another program has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SconesError(f"port {port} cannot be had ({error.strerror}): choose another with --port") from error
        number: int = probe.getsockname()[1]
        return number
