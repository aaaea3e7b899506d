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
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local_account.account import REGION, Account
from local_account.authority.owner import owner_keys
from local_account.base.client_environment import (
    FOLDER,
    shell_variables,
    taken_out,
    with_programs,
    write_client_file,
)
from local_account.base.clients import make_client
from local_account.base.errors import AccountError
from local_account.base.progress import STUCK_S, ProcessProgress
from local_account.base.sdk.settings import sdk_files, sdk_variables
from local_account.server.refusals import ACCOUNTS_OWN

STARTED_FILE = "server.json"
LOG_FILE = "server.log"
ANSWER_S = 60.0  # for what an account says of itself; where none listens, the answer comes at once
# Files by which a folder is known to be an account's state.
_MARKER = "account.lock"
_TOLD = (
    "pid",
    "region",
    "account_id",
    "version",
    "time_scale",
    "chaos",
    "durable",
    "trouble",
    "unsaved_s",
    "loss_s",
    "clock",
)
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
    durable: bool = False
    trouble: str = field(default="", compare=False)
    """Why changes are not saved and refused; empty while they are saved."""
    unsaved_s: float = field(default=0.0, compare=False)
    """How old the oldest change is that is not written."""
    loss_s: float = field(default=0.0, compare=False)
    """How old the oldest acknowledged change may be that a crash costs."""
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
        answer = _ask(state_dir, int(note["port"]))
    except (OSError, ValueError, KeyError):
        return None
    if answer is None or Path(answer["state_dir"]) != state_dir:
        return None
    return _status(answer, int(note["port"]), state_dir)


def _status(answer: Mapping[str, Any], port: int, state_dir: Path) -> Status:
    return Status(port=port, state_dir=state_dir, **{name: answer[name] for name in _TOLD})


def start(
    state_dir: Path,
    port: int,
    images: Mapping[str, Any] | None = None,
    *,
    time_scale: float = 1.0,
    chaos: str = "",
    clock: str = "",
    durable: bool = False,
    stuck_s: float = STUCK_S,
) -> Status:
    """Start the account and wait until it answers; one that runs already is left as it is.

    It is waited for as long as it lives and does not stand still for ``stuck_s`` seconds, however slow the machine is.

    ``images`` says what stands for container images, see `local_account.base.images`; ``time_scale`` how many times as
    fast as stated the waits of deployments pass; ``chaos`` which faults the account allows itself
    (`local_account.base.chaos`); ``clock`` where its time starts and how fast it passes (`local_account.base.clock`);
    ``durable`` whether a change is on disk before it is acknowledged. Raises AccountError with the server's last line
    when it does not come up.
    """
    state_dir = state_dir.resolve()
    if running := status(state_dir):
        if running.port != port:
            raise AccountError(
                f"the account on {state_dir} already runs on port {running.port}, not {port}; stop it first"
            )
        if chaos and running.chaos != chaos:
            raise AccountError(f"the account on {state_dir} already runs without --chaos {chaos}; stop it first")
        if durable and not running.durable:
            raise AccountError(f"the account on {state_dir} already runs without --durable; stop it first")
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
                    *(["--durable"] if durable else []),
                ),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the terminal that started it does not reach it
        )
    _started[process.pid] = process
    try:
        answer = _await_health(process, state_dir, port, ProcessProgress(process.pid, stuck_s))
    except BaseException:  # Ctrl-C included: a server that nobody waits for must not stay behind
        process.kill()
        process.wait()
        raise
    if answer is None:
        if process.poll() is not None:
            raise AccountError(f"the account did not start: {_last_line(log_path, log_start)}")
        process.kill()
        process.wait()
        raise AccountError(
            f"the account stood still for {stuck_s:g} seconds before it answered on port {port}; see {log_path}"
        )
    return _status(answer, port, state_dir)


def _await_health(
    process: subprocess.Popen[bytes], state_dir: Path, port: int, progress: ProcessProgress
) -> dict[str, Any] | None:
    """What the server says of itself once it answers; None when it ended or stands still.

    Whoever has the port may never answer, so that a question without an answer is asked again, with twice the patience.
    """
    patience_s = 1.0
    while process.poll() is None and not progress.stands_still():
        asked = time.monotonic()
        answer = _ask(state_dir, port, patience_s)
        if time.monotonic() - asked > patience_s:
            patience_s = min(2 * patience_s, ANSWER_S)
        if answer and answer["pid"] == process.pid:
            return answer
        time.sleep(0.05)
    return None


def advance_clock(state_dir: Path, seconds: float) -> Status:
    """Move the account's time forward, and do what falls due; AccountError where it is this machine's."""
    running = status(state_dir)
    if running is None:
        raise AccountError("no stand-in account runs")
    return _status(advance_clock_at(running.state_dir, running.port, seconds), running.port, running.state_dir)


def advance_clock_at(state_dir: Path, port: int, seconds: float) -> dict[str, Any]:
    """The same for the account on a port; what it says of itself then."""
    status, told = _request(
        state_dir, port, "POST", "/_account/clock", json.dumps({"advance_s": seconds}), timeout_s=600
    )
    if status != http.client.OK:
        raise AccountError(told["message"])
    return told


def stop(state_dir: Path, stuck_s: float = STUCK_S, *, losing: bool = False) -> bool:
    """Stop the account that runs on this state and wait until it is gone; False when none runs.

    Raises AccountError when it stands still for ``stuck_s`` seconds instead, and when its last changes are not saved,
    unless ``losing`` them is meant.
    """
    running = status(state_dir)
    if running is None:
        return False
    if running.trouble and running.unsaved_s and not losing:
        raise AccountError(
            f"the account's last changes are not saved: {running.trouble}. Make room and try again, or lose them with:"
            f" kill -9 {running.pid}"
        )
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        process = _started.pop(running.pid, None) or psutil.Process(running.pid)
        progress = ProcessProgress(running.pid, stuck_s)
        os.kill(running.pid, signal.SIGTERM)
        while not _has_ended(process):
            if progress.stands_still():
                raise AccountError(
                    f"the account (process {running.pid}) has stood still for {stuck_s:g} seconds instead of stopping;"
                    f" see {running.state_dir / LOG_FILE}, or end it with: kill -9 {running.pid}"
                )
    (running.state_dir / STARTED_FILE).unlink(missing_ok=True)
    return True


def _has_ended(process: subprocess.Popen[bytes] | psutil.Process) -> bool:
    """Wait a moment for the end of a process."""
    try:
        process.wait(0.2)
    except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
        return False
    return True


def reset(state_dir: Path) -> None:
    """Stop the account and remove its state; the folder itself stays.

    Raises AccountError for a folder that no account has written.
    """
    state_dir = state_dir.resolve()
    if not state_dir.exists() or not any(entry.name != FOLDER for entry in state_dir.iterdir()):
        return
    if not (state_dir / _MARKER).is_file():
        raise AccountError(f"{state_dir} is not the state of an account (no {_MARKER} in it); nothing was removed")
    stop(state_dir, losing=True)
    if _is_locked(state_dir):
        raise AccountError(f"an account still runs on {state_dir}; end it, then try again. Nothing was removed")
    for entry in state_dir.iterdir():
        if entry.name == FOLDER:  # shells that read `scones account env` go on working
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != _MARKER:
            entry.unlink()


def environment(state_dir: Path, port: int) -> dict[str, str]:
    """What to export so that the aws CLI and every SDK reach the account on this port and nothing else.

    Besides, `left_out` has to be unset.
    """
    account = Account(state_dir.resolve(), port)
    folder = account.client_folder
    for name, text in sdk_files(account.account_id, account.region).items():
        write_client_file(folder / name, text)
    path = with_programs(folder, os.environ.get("PATH", ""))
    shell = {**shell_variables(os.environ), **sdk_variables(folder, os.environ), "PATH": path}
    return {**account.environment(), **shell}


def left_out(exported: Mapping[str, str]) -> list[str]:
    """The variables of this process's environment, and others, that would lead past the account."""
    return taken_out(os.environ, exported)


def client(state_dir: Path, port: int, service: str) -> Any:
    """A boto3 client of the account on this state, with its owner's keys."""
    return make_client(
        boto3.Session(region_name=REGION), service, f"http://127.0.0.1:{port}", owner_keys(state_dir.resolve())
    )


def _ask(state_dir: Path, port: int, timeout_s: float = ANSWER_S) -> dict[str, Any] | None:
    """What the account on this state says of itself; None when no account answers, or one with other keys."""
    try:
        status, told = _request(state_dir, port, "GET", "/_account/health", timeout_s=timeout_s)
    except (OSError, ValueError, http.client.HTTPException):
        return None
    return told if status == http.client.OK and told.get("status") == "running" else None


def _request(
    state_dir: Path, port: int, method: str, path: str, body: str = "", *, timeout_s: float | None = ANSWER_S
) -> tuple[int, dict[str, Any]]:
    """Status and document of the answer to a request that the owner signs."""
    request = AWSRequest(method, f"http://127.0.0.1:{port}{path}", data=body.encode())
    keys = owner_keys(state_dir.resolve())
    SigV4Auth(Credentials(keys.access_key, keys.secret_key), ACCOUNTS_OWN, REGION).add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, path, body, dict(request.headers))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
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
