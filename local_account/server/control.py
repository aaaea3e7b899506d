"""Starts and stops the account as a server in the background.

Runs in the user's command (``scones account``). Reads ``<state>/server.json`` (the server's note of its process and
port); writes ``<state>/server.log``; everything else in the folder is the server's.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from local_account.account import Account
from local_account.base.errors import AccountError

STARTED_FILE = "server.json"
LOG_FILE = "server.log"
# Files by which a folder is known to be an account's state.
_MARKER = "account.lock"
# The servers that this process started: their parent has to wait for them when they end.
_started: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Status:
    """A running account, as it describes itself."""

    pid: int
    port: int
    state_dir: Path
    region: str
    account_id: str
    version: str
    time_scale: float = 1.0
    chaos: str = ""
    clock: dict[str, Any] = field(default_factory=dict, compare=False)
    """``now``, ``speed`` and ``movable``."""
    already_running: bool = False

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def status(state_dir: Path) -> Status | None:
    """The account that runs on this state; None when there is none (or only the note of one that is gone)."""
    state_dir = state_dir.resolve()
    try:
        note = json.loads((state_dir / STARTED_FILE).read_text(encoding="utf-8"))
        answer = _health(int(note["port"]))
    except (OSError, ValueError, KeyError):
        return None
    if answer is None or Path(answer["state_dir"]) != state_dir:
        return None
    return _status(answer, int(note["port"]), state_dir)


def _status(answer: Mapping[str, Any], port: int, state_dir: Path) -> Status:
    told = {key: answer[key] for key in ("pid", "region", "account_id", "version", "time_scale", "chaos", "clock")}
    return Status(port=port, state_dir=state_dir, **told)


def start(
    state_dir: Path,
    port: int,
    timeout_s: float = 30.0,
    images: Mapping[str, Any] | None = None,
    *,
    time_scale: float = 1.0,
    chaos: str = "",
    clock: str = "",
) -> Status:
    """Start the account and wait until it answers; one that runs already is left as it is.

    ``images`` says what stands for container images, see `local_account.base.images`; ``time_scale`` how many times as
    fast as stated the waits of deployments pass; ``chaos`` which faults the account allows itself
    (`local_account.base.chaos`); ``clock`` where its time starts and how fast it passes (`local_account.base.clock`).
    Raises AccountError with the server's last line when it does not come up.
    """
    state_dir = state_dir.resolve()
    if running := status(state_dir):
        if running.port != port:
            raise AccountError(
                f"the account on {state_dir} already runs on port {running.port}, not {port}; stop it first"
            )
        if chaos and running.chaos != chaos:
            raise AccountError(f"the account on {state_dir} already runs without --chaos {chaos}; stop it first")
        if clock and not running.clock["movable"]:
            raise AccountError(f"the account on {state_dir} already runs in this machine's time; stop it first")
        return Status(**{**running.__dict__, "already_running": True})
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    log_path = state_dir / LOG_FILE
    with log_path.open("ab") as log:
        log_start = log.tell()
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "local_account", "--port", str(port), "--state", str(state_dir)),
                *(
                    "--images",
                    json.dumps(images or {}),
                    "--time-scale",
                    str(time_scale),
                    "--chaos",
                    chaos,
                    "--clock",
                    clock,
                ),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the terminal that started it does not reach it
        )
    _started[process.pid] = process
    try:
        answer = _await_health(process, port, timeout_s)
    except BaseException:  # Ctrl-C included: a server that nobody waits for must not stay behind
        process.kill()
        process.wait()
        raise
    if answer is None:
        if process.poll() is not None:
            raise AccountError(f"the account did not start: {_last_line(log_path, log_start)}")
        process.kill()
        process.wait()
        raise AccountError(f"the account did not answer on port {port} within {timeout_s:g} seconds; see {log_path}")
    return _status(answer, port, state_dir)


def _await_health(process: subprocess.Popen[bytes], port: int, timeout_s: float) -> dict[str, Any] | None:
    """What the server says of itself once it answers; None when it ended or the time is over."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        answer = _health(port)
        if answer and answer["pid"] == process.pid:
            return answer
        time.sleep(0.05)
    return None


def advance_clock(state_dir: Path, seconds: float) -> Status:
    """Move the account's time forward, and do what falls due; AccountError where it is this machine's."""
    running = status(state_dir)
    if running is None:
        raise AccountError("no stand-in account runs")
    return _status(advance_clock_at(running.port, seconds), running.port, running.state_dir)


def advance_clock_at(port: int, seconds: float) -> dict[str, Any]:
    """The same for the account on a port; what it says of itself then."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        connection.request("POST", "/_account/clock", json.dumps({"advance_s": seconds}))
        answer = connection.getresponse()
        told: dict[str, Any] = json.loads(answer.read())
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise AccountError(told["message"])
    return told


def stop(state_dir: Path, timeout_s: float = 30.0) -> bool:
    """Stop the account that runs on this state and wait until it is gone; False when none runs."""
    running = status(state_dir)
    if running is None:
        return False
    try:
        os.kill(running.pid, signal.SIGTERM)
        (_started.pop(running.pid, None) or psutil.Process(running.pid)).wait(timeout_s)
    except (ProcessLookupError, psutil.NoSuchProcess):
        pass
    except (subprocess.TimeoutExpired, psutil.TimeoutExpired) as error:
        raise AccountError(
            f"the account (process {running.pid}) did not stop within {timeout_s:g} seconds; see "
            f"{running.state_dir / LOG_FILE}, or end it with: kill -9 {running.pid}"
        ) from error
    (running.state_dir / STARTED_FILE).unlink(missing_ok=True)
    return True


def reset(state_dir: Path) -> None:
    """Stop the account and remove its state; the folder itself stays.

    Raises AccountError for a folder that no account has written.
    """
    state_dir = state_dir.resolve()
    if not state_dir.exists() or not any(state_dir.iterdir()):
        return
    if not (state_dir / _MARKER).is_file():
        raise AccountError(f"{state_dir} is not the state of an account (no {_MARKER} in it); nothing was removed")
    stop(state_dir)
    if _is_locked(state_dir):
        raise AccountError(f"an account still runs on {state_dir}; end it, then try again. Nothing was removed")
    for entry in state_dir.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != _MARKER:
            entry.unlink()


def environment(port: int) -> dict[str, str]:
    """What to export so that the aws CLI and every SDK reach the account on this port."""
    return Account(Path(), port).environment()


def _health(port: int) -> dict[str, Any] | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/_account/health")
        answer = json.loads(connection.getresponse().read())
        return answer if isinstance(answer, dict) and answer.get("status") == "running" else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _is_locked(state_dir: Path) -> bool:
    """Whether a server holds the state, also one that was started without this module."""
    from local_account.server.main import lock_state

    try:
        os.close(lock_state(state_dir))
    except AccountError:
        return True
    return False


def _last_line(log_path: Path, start: int) -> str:
    with log_path.open("rb") as log:
        log.seek(start)
        lines = log.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].removeprefix("local_account: ") if lines else f"it ended without a word; see {log_path}"
