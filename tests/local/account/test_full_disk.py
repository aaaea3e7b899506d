"""What was acknowledged is kept, or said not to be: on a full disk, and when the server is killed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, HTTPClientError
from typer.testing import CliRunner

from local_account.server import control
from scones.cli import app
from tests.local.conftest import RunningAccount
from tests.local.small_disk import fill, mounted

SIZE_MIB = 48


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", SIZE_MIB) as folder:
        yield folder


def told(account: RunningAccount) -> control.Status:
    found = control.status(account.state_dir)
    assert found is not None
    return found


def until(condition: Callable[[], bool], account: RunningAccount) -> None:
    """Wait for the thing itself, as long as the server lives."""
    while not condition():
        assert account.process.poll() is None, account.log
        time.sleep(0.1)


def test_nothing_that_was_acknowledged_is_lost_when_the_disk_is_full(
    small_disk: Path, fresh_account: Callable[..., RunningAccount]
) -> None:
    running = fresh_account(small_disk / "account")
    ssm, s3 = running.client("ssm"), running.client("s3")
    s3.create_bucket(Bucket="of-a-small-disk")
    acknowledged = ["/full/first"]
    ssm.put_parameter(Name=acknowledged[0], Value="v", Type="String")
    filler = fill(small_disk)
    with pytest.raises(ClientError) as raised:
        while True:
            name = f"/full/{len(acknowledged)}"
            ssm.put_parameter(Name=name, Value="v" * 1000, Type="String")
            acknowledged.append(name)
    answer = raised.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("ServiceUnavailable", 503)
    assert "cannot save anything: No space left on device" in answer["Error"]["Message"]
    with pytest.raises(ClientError, match="cannot save anything: No space left on device"):
        s3.put_object(Bucket="of-a-small-disk", Key="k", Body=b"x")
    assert ssm.get_parameter(Name=acknowledged[0])["Parameter"]["Value"]
    assert running.client("sagemaker").search(Resource="Pipeline")["Results"] == []  # reads, by whatever name, go on
    assert "No space left on device" in told(running).trouble
    said = CliRunner().invoke(app, ["account", "status"], env=running.environment() | {"SCONES_HOME": str(small_disk)})
    assert "NOTHING IS SAVED, and changes are refused: No space left on device" in said.output.replace("\n", " ")
    until(lambda: told(running).unsaved_s == 0, running)  # there was room for what had been acknowledged
    running.kill()
    filler.unlink()
    again = fresh_account(small_disk / "account")
    kept = {
        p["Name"]
        for page in again.client("ssm").get_paginator("describe_parameters").paginate()
        for p in page["Parameters"]
    }
    assert [name for name in acknowledged if name not in kept] == []


def test_an_account_that_has_room_again_goes_on(small_disk: Path, fresh_account: Callable[..., RunningAccount]) -> None:
    running = fresh_account(small_disk / "account")
    ssm, s3 = running.client("ssm"), running.client("s3")
    s3.create_bucket(Bucket="of-a-small-disk")
    filler = fill(small_disk)
    with pytest.raises(ClientError, match="No space left on device"):
        s3.put_object(Bucket="of-a-small-disk", Key="k", Body=b"x" * 10_000_000)
    assert list((running.state_dir / "objects").glob("*/.partial-*")) == []
    with contextlib.suppress(ClientError):  # the bucket's own state may have found the disk full already
        ssm.put_parameter(Name="/before", Value="v", Type="String")
    until(lambda: told(running).trouble != "", running)
    filler.unlink()
    until(lambda: told(running).trouble == "", running)
    ssm.put_parameter(Name="/after", Value="v", Type="String")
    s3.put_object(Bucket="of-a-small-disk", Key="k", Body=b"x")
    assert running.stop() == 0


def test_what_a_durable_account_has_answered_survives_any_kill(fresh_account: Callable[..., RunningAccount]) -> None:
    running = fresh_account(None, None, "--durable")
    ssm, s3, sagemaker = running.client("ssm"), running.client("s3"), running.client("sagemaker")
    s3.create_bucket(Bucket="durable")
    acknowledged: list[list[str]] = [[], [], []]

    def write(kind: int, call: Callable[[str], Any]) -> None:
        try:
            while True:
                name = f"n{len(acknowledged[kind])}"
                call(name)
                acknowledged[kind].append(name)
        except (HTTPClientError, EndpointConnectionError):
            pass  # it was killed

    calls: tuple[Callable[[str], Any], ...] = (
        lambda name: ssm.put_parameter(Name=name, Value=name, Type="String"),
        lambda name: s3.put_object(Bucket="durable", Key=name, Body=name.encode()),
        lambda name: sagemaker.create_model_package_group(ModelPackageGroupName=name),
    )
    threads = [threading.Thread(target=write, args=(kind, call)) for kind, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    until(lambda: all(len(names) >= 5 for names in acknowledged), running)
    running.process.kill()
    for thread in threads:
        thread.join()
    running.stop()
    again = fresh_account(running.state_dir)
    for name in acknowledged[0]:
        assert again.client("ssm").get_parameter(Name=name)["Parameter"]["Value"] == name
    for name in acknowledged[1]:
        assert again.client("s3").get_object(Bucket="durable", Key=name)["Body"].read() == name.encode()
    for name in acknowledged[2]:
        assert again.client("sagemaker").describe_model_package_group(ModelPackageGroupName=name)
