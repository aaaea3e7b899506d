"""The console's server: on 127.0.0.1 alone, opened by an address that holds a key.

Runs on a laptop, until Ctrl-C.
"""

from __future__ import annotations

import os
import socket
import webbrowser
from collections.abc import Callable
from html import escape
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from console.account import ConsoleAccount
from console.application import application
from console.impatience import ImpatientProtocol
from console.safety.secrets import KEY_PARAMETER, ConsoleSecrets
from scones.errors import SconesError
from scones.stage.settings import Settings, home

HOST = "127.0.0.1"
PORT = 8765


def serve(settings: Settings, port: int | None, say: Callable[[str], None], *, read_only: bool, opened: bool) -> None:
    """Serve the pages of a stage. SconesError when the port is taken."""
    listener = listen(port)
    number = int(listener.getsockname()[1])
    secrets = ConsoleSecrets()
    app = application(ConsoleAccount(settings, read_only), secrets, number)
    address = f"http://{HOST}:{number}/?{KEY_PARAMETER}={secrets.key}"
    say(f"console of stage {settings.stage}: {address}")
    say("Ctrl-C ends it")
    door = _open(address, number) if opened else None
    try:
        uvicorn.Server(configuration(app)).run(sockets=[listener])
    finally:
        listener.close()
        if door is not None:
            door.unlink(missing_ok=True)


def configuration(app: ASGIApp) -> uvicorn.Config:
    """How the server behaves: it waits for nobody who says nothing, and says nothing of itself."""
    return uvicorn.Config(
        app,
        http=ImpatientProtocol,
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        lifespan="on",
    )


def listen(port: int | None) -> socket.socket:
    """Take the port that was asked for; without one the console's own or, when that is taken, any. SconesError."""
    for choice in [port] if port is not None else [PORT, 0]:
        listener = socket.socket()
        # Not to wait for what a console before this one has left; another one that listens is refused all the same.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, choice))
            listener.listen(128)  # who comes before the server is ready waits
        except OSError as error:
            listener.close()
            if port is not None:
                raise SconesError(f"port {port} of {HOST} cannot be had ({error.strerror}): choose another") from error
        else:
            return listener
    raise SconesError(f"no port of {HOST} can be had")


def _open(address: str, number: int) -> Path:
    """By way of a file that only this login reads: others see the arguments of every process."""
    folder = home() / "console"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    door = folder / f"open-{number}.html"
    door.unlink(missing_ok=True)
    descriptor = os.open(door, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(
            f'<!doctype html><title>scones</title><meta http-equiv="refresh" content="0; url={escape(address)}">'
        )
    webbrowser.open(door.as_uri())
    return door
