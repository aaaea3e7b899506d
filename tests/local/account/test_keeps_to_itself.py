"""Whatever a user's environment says, nothing that belongs to the account leaves this machine."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scones.stage.connection import connect
from tests.local.conftest import RunningAccount
from tests.local.foreign_functions import Workshop
from tests.local.roles import allow, make_role, trust
from tests.places import ROOT

LOOPBACK = {"127.0.0.1"}
# One for each way out that botocore or the aws CLI knows.
HOSTILE = {
    "AWS_ENDPOINT_URL_S3": "{trap}",
    "AWS_ENDPOINT_URL_STS": "{trap}",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "AWS_PROFILE": "missing",
    "AWS_DEFAULT_PROFILE": "missing",
    "AWS_CONFIG_FILE": "{config}",
    "AWS_SHARED_CREDENTIALS_FILE": "{config}",
    "AWS_CREDENTIAL_FILE": "{config}",
    "AWS_SESSION_TOKEN": "stale",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "{config}",
    "AWS_ROLE_ARN": "arn:aws:iam::210987654321:role/production",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "{trap}/credentials",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT": "{trap}",
    "AWS_CA_BUNDLE": "/not/there.pem",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_ENDPOINT_DISCOVERY_ENABLED": "true",
    "AWS_DATA_PATH": "{config}",
    "HTTP_PROXY": "{trap}",
    "http_proxy": "{trap}",
    "HTTPS_PROXY": "{trap}",
    "https_proxy": "{trap}",
    "ALL_PROXY": "{trap}",
    "NO_PROXY": "example.com",
}
CONFIGURATION = """
[default]
endpoint_url = {trap}
ignore_configured_endpoint_urls = true
aws_access_key_id = of-the-user
aws_secret_access_key = of-the-user
region = eu-central-1
"""
CALLS = """
import json, sys
called = set()
sys.addaudithook(lambda event, given: called.add(str(given[1][0])) if event == "socket.connect" else None)
import boto3
boto3.client("s3").list_buckets(), boto3.client("dynamodb").list_tables(), boto3.client("sqs").list_queues()
print(json.dumps([boto3.client("sts").get_caller_identity()["Account"], sorted(called)]))
"""


class Trap:
    """A port of this machine that stands for elsewhere; it counts who comes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.caught: list[bytes] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                visitor, _ = self._listener.accept()
            except OSError:
                return
            with visitor:
                self.caught.append(visitor.recv(1000))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def trap() -> Iterator[Trap]:
    found = Trap()
    yield found
    found.close()


@pytest.fixture
def hostile(trap: Trap, tmp_path: Path) -> dict[str, str]:
    """Variables that would each lead a client elsewhere."""
    config = tmp_path / "config"
    config.write_text(CONFIGURATION.format(trap=trap.url), encoding="utf-8")
    return {name: value.format(trap=trap.url, config=config) for name, value in HOSTILE.items()}


def in_the_accounts_shell(account: RunningAccount, command: str, before: dict[str, str], path: str = "") -> str:
    """What a command prints in a shell that had some variables and then evaluated `scones account env`."""
    scones = shlex.quote(str(Path(sys.executable).with_name("scones")))
    line = f'eval "$({scones} account env)" && {command}'
    environment = {
        **os.environ,
        **before,
        "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"],
        "AWS_ENDPOINT_URL": account.endpoint_url,
        "AWS_MAX_ATTEMPTS": "1",
        "SCONES_HOME": str(account.state_dir.parent),
    }
    done = subprocess.run(
        ["/bin/sh", "-c", line], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def homely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAccount]:
    """An account whose state lies where `scones account` looks for it."""
    from tests.local.conftest import start_account

    running = start_account(tmp_path_factory.mktemp("homely") / "account")
    yield running
    running.stop()


@pytest.mark.slow
def test_no_service_of_the_aws_cli_leaves_this_machine(
    homely: RunningAccount, hostile: dict[str, str], trap: Trap, tmp_path: Path
) -> None:
    program = tmp_path / "programs" / "aws"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tests.local.every_service "$@"\n')
    program.chmod(0o755)
    told = in_the_accounts_shell(homely, "aws every-service", hostile, str(program.parent))
    called: dict[str, list[str]] = json.loads(told)
    assert {"sqs", "rds", "docdb", "neptune", "health", "emr", "signin", "s3control", "s3api"} <= called.keys()
    assert len(called) > 350
    assert {name: hosts for name, hosts in called.items() if set(hosts) != LOOPBACK} == {}
    assert trap.caught == []


def test_boto3_in_the_users_shell_calls_the_account_only(
    homely: RunningAccount, hostile: dict[str, str], trap: Trap
) -> None:
    told = in_the_accounts_shell(homely, f"{shlex.quote(sys.executable)} -c {shlex.quote(CALLS)}", hostile)
    assert json.loads(told) == ["123456789012", ["127.0.0.1"]]
    assert trap.caught == []


def test_the_environment_can_be_evaluated_twice_and_knows_no_aws_without_one(homely: RunningAccount) -> None:
    scones = shlex.quote(str(Path(sys.executable).with_name("scones")))
    told = in_the_accounts_shell(homely, f'eval "$({scones} account env)" && echo "$PATH" && echo "$NO_PROXY"', {})
    path, exceptions = told.splitlines()
    assert path.split(":").count(str(homely.state_dir / "client" / "bin")) == 1
    assert exceptions.split(",").count("127.0.0.1") == 1
    told = in_the_accounts_shell(homely, 'PATH="${PATH%%:*}" aws sqs list-queues 2>&1 || echo "$?"', {})
    assert told.splitlines() == ["aws: the aws CLI is not on PATH", "127"]


@pytest.mark.parametrize("name", HOSTILE)
def test_the_command_line_of_the_project_reads_no_setting_of_the_users(
    homely: RunningAccount, hostile: dict[str, str], trap: Trap, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, hostile[name])
    monkeypatch.setenv("AWS_ENDPOINT_URL", homely.endpoint_url)
    monkeypatch.setenv("SCONES_HOME", str(homely.state_dir.parent))
    connection = connect("local")
    clients = [connection.client(service) for service in ("s3", "sts", "dynamodb")]
    assert clients[0].list_buckets()["ResponseMetadata"]["HTTPStatusCode"] == 200
    for client in clients:
        client.close()
    assert trap.caught == []


def test_what_the_account_calls_for_a_role_passes_no_proxy(
    fresh_account: Callable[..., RunningAccount], trap: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, trap.url)
    running = fresh_account()
    monkeypatch.undo()
    running.client("s3").create_bucket(Bucket="by-a-role")
    shop = Workshop(running)
    code = (
        "import boto3\n\ndef handler(event, context):\n    return len(boto3.client('s3').list_buckets()['Buckets'])\n"
    )
    put = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:s3:putObject",
        "Parameters": {"Bucket": "by-a-role", "Key": "k", "Body": "b"},
        "Next": "Call",
    }
    ended = shop.run(shop.machine({"Put": put, "Call": shop.task(shop.function(code))}))
    assert (ended["status"], ended.get("output")) == ("SUCCEEDED", "1")
    assert trap.caught == []


BUILD = """
version: 0.2
phases:
  build:
    commands:
      - python3 -m pip --version
      - aws sts get-caller-identity
      - aws sqs list-queues
      - aws rds describe-db-instances || true
      - aws signin get-console-authorization-configuration || true
"""


def test_the_aws_of_a_build_calls_the_account_only(account: RunningAccount) -> None:
    role = make_role(account, "keeps-to-itself", allow("*", "*"), trusted=trust("codebuild"))
    codebuild = account.client("codebuild")
    codebuild.create_project(
        name="keeps-to-itself",
        source={"type": "NO_SOURCE", "buildspec": BUILD},
        artifacts={"type": "NO_ARTIFACTS"},
        environment={"type": "LINUX_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_SMALL"},
        serviceRole=role,
    )
    build_id = codebuild.start_build(projectName="keeps-to-itself")["build"]["id"]
    build: dict[str, Any] = {}
    while not build.get("buildComplete"):
        build = codebuild.batch_get_builds(ids=[build_id])["builds"][0]
        time.sleep(0.1)
    place = {"logGroupName": build["logs"]["groupName"], "logStreamName": build["logs"]["streamName"]}
    log = "\n".join(event["message"] for event in account.client("logs").get_log_events(**place)["events"])
    assert build["buildStatus"] == "SUCCEEDED", log
    assert "assumed-role/keeps-to-itself/" in log
    assert "does not implement the service 'rds'" in log
    assert f'Failed to connect to proxy URL: "{account.endpoint_url}"' in log
