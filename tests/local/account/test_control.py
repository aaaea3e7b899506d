"""The account as a background server: start, status, stop, reset, and what each says when it cannot."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from local_account.base.errors import AccountError
from local_account.server import control
from tests.local.conftest import free_port


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    yield folder
    control.stop(folder)


def test_start_status_stop(state_dir: Path) -> None:
    port = free_port()
    assert control.status(state_dir) is None
    started = control.start(state_dir, port)
    assert control.status(state_dir) == started
    assert (started.port, started.region, started.already_running) == (port, "us-east-1", False)
    again = control.start(state_dir, port)
    assert again.already_running
    assert again.pid == started.pid
    assert control.stop(state_dir) is True
    assert control.status(state_dir) is None
    assert control.stop(state_dir) is False


def test_the_exported_environment_reaches_the_account(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = control.start(state_dir, free_port())
    for name, value in control.environment(state_dir, started.port).items():
        monkeypatch.setenv(name, value)
    client = boto3.client("sts")
    assert client.get_caller_identity()["Account"] == started.account_id
    client.close()


BEFORE_THE_SERVER = """
import sys, time
if "--port" in sys.orig_argv:
    ends = time.monotonic() + {seconds}
    while time.monotonic() < ends:
        {meanwhile}
"""


def _hold_up(folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, meanwhile: str) -> None:
    """Have every server that is started from now on do something else first."""
    (folder / "sitecustomize.py").write_text(BEFORE_THE_SERVER.format(seconds=seconds, meanwhile=meanwhile))
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_a_server_that_works_is_waited_for(state_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _hold_up(tmp_path, monkeypatch, 8, "sum(range(1000))")
    began = time.monotonic()
    started = control.start(state_dir, free_port(), stuck_s=5)
    assert time.monotonic() - began > 8
    assert control.status(state_dir) == started


def test_a_server_that_stands_still_is_given_up(
    state_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _hold_up(tmp_path, monkeypatch, 3600, "time.sleep(3600)")
    with pytest.raises(AccountError, match="the account stood still for 2 seconds before it answered"):
        control.start(state_dir, free_port(), stuck_s=2)
    assert control.status(state_dir) is None


def test_a_port_in_use_is_said_in_one_line(state_dir: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(AccountError, match=rf"port {port} .*cannot be used"):
            control.start(state_dir, port)
    assert control.status(state_dir) is None


def test_another_port_while_running_is_refused(state_dir: Path) -> None:
    control.start(state_dir, free_port())
    with pytest.raises(AccountError, match="already runs on port"):
        control.start(state_dir, free_port())


def test_a_note_of_a_server_that_is_gone_means_nothing(state_dir: Path) -> None:
    state_dir.mkdir()
    (state_dir / "server.json").write_text(json.dumps({"pid": os.getpid(), "port": free_port()}))
    assert control.status(state_dir) is None
    assert control.stop(state_dir) is False
    assert control.start(state_dir, free_port()).pid != os.getpid()


def test_reset_empties_the_state_of_a_running_account(state_dir: Path) -> None:
    started = control.start(state_dir, free_port())
    client = control.client(state_dir, started.port, "s3")
    client.create_bucket(Bucket="goes-away")
    control.reset(state_dir)
    assert control.status(state_dir) is None
    assert {path.name for path in state_dir.iterdir()} <= {"account.lock", "client"}
    control.start(state_dir, started.port)
    assert client.list_buckets()["Buckets"] == []
    client.close()


def test_reset_leaves_a_folder_that_is_no_account_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(AccountError, match="not the state of an account"):
        control.reset(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_reset_of_nothing_is_nothing(tmp_path: Path) -> None:
    control.reset(tmp_path / "never-was")
