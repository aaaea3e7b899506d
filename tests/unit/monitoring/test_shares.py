"""Several instances read a share of the hours each, and one merges what they leave: the same store as of one alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from monitoring.captures.line import Classes
from monitoring.job_inputs.inputs import StateFiles
from monitoring.job_inputs.places import Prefix
from monitoring.shares import collect, merge
from monitoring.store import update
from monitoring.store.store import Store
from monitoring.store.window_table import Window
from tests.unit.monitoring.test_capture_store import content
from tests.unit.monitoring.test_report_drift import START, capture, line

BUCKET, CLASSES = "captured", "bicycle,motorcycle"
STATE, PARTS = f"s3://{BUCKET}/state", f"s3://{BUCKET}/state/partials/run"
HOSTS = ["algo-1", "algo-2", "algo-3"]


class Shop:
    """Captures of five hours in S3; a tenth of the lines came an hour late, and some came twice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.s3: Any = boto3.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        for hour in range(5):
            self.capture(hour, range(30))
        self.put()

    def capture(self, hour: int, numbers: range) -> None:
        """Requests of an hour, in the folder of that hour."""
        for number in numbers:
            at = START + timedelta(hours=hour, minutes=number)
            asked = at - timedelta(hours=1) if number % 10 == 9 else at
            share = 0.97 if number % 4 else 0.6
            name = f"{hour}-{max(number, 2)}"
            capture(self.folder / "captures", at, line(name, asked, [share, round(1 - share, 2)]))

    def put(self) -> None:
        """Copy all captures to S3; a line that cannot be read is among them."""
        for path in (self.folder / "captures").rglob("*.jsonl"):
            name = path.relative_to(self.folder / "captures").as_posix()
            self.s3.upload_file(str(path), BUCKET, f"captures/{name}")

    def folders(self) -> list[str]:
        root = self.folder / "captures"
        return sorted({path.parent.relative_to(root).as_posix() for path in root.rglob("*.jsonl")})

    def collect(self, host: str, hosts: list[str] = HOSTS) -> int:
        """What one instance does, with every so-many-th of the tickets."""
        tickets, config = self.folder / host, self.folder / f"{host}.json"
        tickets.mkdir(exist_ok=True)
        for number, folder in enumerate(self.folders()[hosts.index(host) :: len(hosts)]):
            (tickets / f"{number}").write_text(folder)
        config.write_text(json.dumps({"current_host": host, "hosts": hosts}))
        words = ["--hours", str(tickets), "--captures", f"s3://{BUCKET}/captures", "--state", STATE, "--parts", PARTS]
        return collect.main([*words, "--classes", CLASSES, "--resource-config", str(config), *self.quietly()])

    def merge(self) -> int:
        return merge.main(["--parts", PARTS, "--state", STATE, "--classes", CLASSES, *self.quietly()])

    def quietly(self) -> list[str]:
        return ["--message-file", str(self.folder / "opt/output/message")]

    def clear_parts(self) -> None:
        for found in self.s3.list_objects_v2(Bucket=BUCKET, Prefix="state/partials/").get("Contents", []):
            self.s3.delete_object(Bucket=BUCKET, Key=found["Key"])

    def names(self) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix="state/").get("Contents", [])
        return [item["Key"] for item in found if "/partials/" not in item["Key"]]

    def merged(self) -> Any:
        """The content of the store in S3."""
        target = self.folder / "merged"
        for name in self.names():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self.s3.download_file(BUCKET, name, str(path))
        return content(Store(target / "state", Classes.of(CLASSES.split(","))))

    def alone(self) -> Any:
        """The content of the store of one job that reads all."""
        words = ["--captures", str(self.folder / "captures"), "--state", str(self.folder / "one")]
        assert update.main([*words, "--classes", CLASSES]) == 0
        return content(Store(self.folder / "one", Classes.of(CLASSES.split(","))))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield Shop(tmp_path)


def test_three_instances_and_a_merge_leave_what_one_alone_does(shop: Shop) -> None:
    assert [shop.collect(host) for host in HOSTS] == [0, 0, 0]
    assert shop.names() == [], "only the merge writes the state"
    assert shop.merge() == 0
    assert shop.merged() == shop.alone()
    assert shop.merge() == 0, "a job that was killed is run again"
    assert shop.merged() == shop.alone()


def test_what_comes_later_joins_what_was_merged(shop: Shop) -> None:
    assert [shop.collect(host) for host in HOSTS] == [0, 0, 0]
    assert shop.merge() == 0
    shop.clear_parts()
    shop.capture(4, range(30, 40))
    shop.capture(5, range(10))
    shop.put()
    assert [shop.collect(host, HOSTS[:2]) for host in HOSTS[:2]] == [0, 0]
    assert shop.merge() == 0
    assert shop.merged() == shop.alone()


def test_what_comes_late_for_a_compacted_day_joins_it(shop: Shop) -> None:
    assert [shop.collect(host) for host in HOSTS] == [0, 0, 0]
    assert shop.merge() == 0
    shop.clear_parts()
    report = StateFiles(Prefix(STATE), shop.folder / "report")
    report.load([Window(START, START + timedelta(days=4))])
    report.save()
    assert not [name for name in shop.names() if name.endswith("/02.parquet")]
    shop.capture(2, range(40, 50))
    shop.put()
    assert [shop.collect(host, HOSTS[:2]) for host in HOSTS[:2]] == [0, 0]
    assert shop.merge() == 0
    shop.merged(), shop.alone()
    assert by_hour(shop.folder / "merged/state") == by_hour(shop.folder / "one")


def by_hour(state: Path) -> dict[int, Any]:
    store = Store(state, Classes.of(CLASSES.split(",")))
    (variant,) = store.variants()
    span = Window(START - timedelta(days=1), START + timedelta(days=1))
    return {
        hour: (store.rows(path).to_pylist(), store.quarantined(path))
        for hour, path in store.hours(variant, *span.hours)
    }


def test_an_instance_that_died_is_named_and_nothing_is_written(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert [shop.collect(host) for host in ("algo-1", "algo-3")] == [0, 0]
    assert shop.merge() == 1
    assert "merge: instance algo-2 left no whole part below" in capsys.readouterr().err
    assert shop.names() == []


def test_a_half_written_hour_of_the_state_is_named_and_nothing_counts_as_read(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [shop.collect(host) for host in HOSTS] == [0, 0, 0]
    assert shop.merge() == 0
    shop.clear_parts()
    (name,) = (each for each in shop.names() if each.endswith("/02.parquet"))
    whole = shop.s3.get_object(Bucket=BUCKET, Key=name)["Body"].read()
    shop.s3.put_object(Bucket=BUCKET, Key=name, Body=whole[: len(whole) // 2])
    shop.capture(2, range(40, 50))
    shop.put()
    for _ in range(2):
        assert [shop.collect(host) for host in HOSTS] == [0, 0, 0]
        capsys.readouterr()
        assert shop.merge() == 1
        said = capsys.readouterr().err
        assert f"{name}, or what an instance left of it, is damaged" in said
        assert said.count("\n") == 1


def test_no_part_at_all_is_said(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert shop.merge() == 1
    assert "merge: no instance left no whole part" not in (said := capsys.readouterr().err)
    assert "nothing was merged, run it again" in said
