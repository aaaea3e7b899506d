"""Fixtures: the stand-in account as a user runs it, on a free port with its state in a temporary folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local_account.authority.owner import owner_keys
from local_account.base.progress import ProcessProgress
from tests.local.roles import make_taken_for_granted
from tests.local.workflow_stage import Photos, Shop, deploy, open_shop, photographs


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_SESSION = boto3.Session(region_name="us-east-1")
_MAKING_CLIENTS = threading.Lock()  # a session makes one client at a time


def owners_client(service: str, state_dir: Path, port: int, config: Config) -> Any:
    """A boto3 client with the owner's credentials. One session for all of them reads a service's model once."""
    keys = owner_keys(state_dir)
    with _MAKING_CLIENTS:
        return _SESSION.client(
            service,
            aws_access_key_id=keys.access_key,
            aws_secret_access_key=keys.secret_key,
            endpoint_url=f"http://127.0.0.1:{port}",
            config=config.merge(Config(proxies={})),
        )


@dataclass
class RunningAccount:
    """A server process of the stand-in account and the way to reach it."""

    state_dir: Path
    port: int
    process: subprocess.Popen[bytes]
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What the server has written to its log."""
        return (self.state_dir.parent / f"{self.state_dir.name}.log").read_text(encoding="utf-8")

    def environment(self) -> dict[str, str]:
        """The environment of a process whose AWS clients reach this account."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        keys = owner_keys(self.state_dir)
        return inherited | {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str) -> Any:
        """A cached boto3 client of this account."""
        if service not in self._clients:
            config = Config(retries={"total_max_attempts": 1}, read_timeout=120)
            self._clients[service] = owners_client(service, self.state_dir, self.port, config)
        return self._clients[service]

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """End the server and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            for client in self._clients.values():
                client.close()
            self._clients.clear()
        return code

    def kill(self) -> None:
        """End the server as a crash would: no chance to write anything."""
        self.stop(signal.SIGKILL)


def start_account(state_dir: Path, port: int | None = None, *options: str) -> RunningAccount:
    """Start a server, with further options of its command line, and wait until it answers."""
    port = free_port() if port is None else port
    state_dir.parent.mkdir(parents=True, exist_ok=True)
    with (state_dir.parent / f"{state_dir.name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "local_account", "--port", str(port), "--state", str(state_dir), *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    running = RunningAccount(state_dir, port, process)
    progress = ProcessProgress(process.pid)
    while True:
        try:
            with urllib.request.urlopen(f"{running.endpoint_url}/_account/health", timeout=5):  # noqa: S310  # ours
                break
        except OSError:
            if process.poll() is not None or progress.stands_still():
                running.stop(signal.SIGKILL)
                raise RuntimeError(f"the account did not start; its log:\n{running.log}") from None
            time.sleep(0.05)
    make_taken_for_granted(running)
    return running


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAccount]:
    """One account for all tests of the session; tests name their resources apart."""
    running = start_account(tmp_path_factory.mktemp("account") / "state", None, "--time-scale", "20")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def photos(real_archive: Path) -> Photos:
    return photographs(real_archive)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The deployed stage that the workflows' tests share, in an account of its own."""
    running = start_account(tmp_path_factory.mktemp("workflow") / "home" / "account")
    try:
        deploy(running)
        yield open_shop(running)
    finally:
        running.stop()


@pytest.fixture
def fresh_account(tmp_path: Path) -> Iterator[Callable[..., RunningAccount]]:
    """``fresh_account()`` starts an empty account, ``fresh_account(state_dir)`` one on the state of an earlier one."""
    started: list[RunningAccount] = []

    def start(state_dir: Path | None = None, port: int | None = None, *options: str) -> RunningAccount:
        running = start_account(state_dir or tmp_path / f"account-{len(started)}" / "state", port, *options)
        started.append(running)
        return running

    yield start
    for running in started:
        running.stop()
