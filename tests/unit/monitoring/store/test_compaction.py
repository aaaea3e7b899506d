"""A day's small files become one, and whoever reads before, meanwhile, after or after a crash finds each hour once."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from monitoring.job_inputs.inputs import StateFiles
from monitoring.job_inputs.places import Prefix
from monitoring.store import compact, update
from monitoring.store.days import DAY_FILE
from monitoring.store.store import Store
from monitoring.store.window_table import Window
from scones.traffic import query
from tests.places import ROOT
from tests.unit.monitoring.test_capture import line, write
from tests.unit.monitoring.test_capture_store import DAY, HALF, MINE, add, store_of, traffic

NEXT_DAY = date(2026, 3, 2)
BUCKET = "kept"


def said(store: Store) -> dict[int, Any]:
    """All that a store says of the day, by hour."""
    found = store.aggregates(MINE, *DAY.hours, HALF)
    hours = dict(store.hours(MINE, *DAY.hours))
    assert found.keys() == hours.keys()
    return {
        hour: (found[hour], store.rows(path).to_pylist(), store.quarantined(path), store.rows(path).schema)
        for hour, path in hours.items()
    }


def files(store: Store) -> list[str]:
    return sorted(path.name for path in store.variant_folder(MINE).glob("day=*/[!_]*"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Captures of a day, the store of them, which has an hour without predictions."""
    folder = tmp_path_factory.mktemp("whole")
    traffic(folder / "captures")
    write(folder / "captures", b"{", hour="2026/03/01/20", name="bad.jsonl")
    add(store_of(folder), folder / "captures")
    return folder / "captures", folder / "state"


def copy_of(whole: tuple[Path, Path], tmp_path: Path) -> Store:
    shutil.copytree(whole[1], tmp_path / "state")
    return store_of(tmp_path)


def test_a_day_in_one_file_says_what_its_hours_said(whole: tuple[Path, Path], tmp_path: Path) -> None:
    store = copy_of(whole, tmp_path)
    before, names = said(store), files(store)
    assert len(names) > 6
    assert compact.main(["--state", str(store.state), "--before", "2026-03-02"]) == 0
    assert (said(store), files(store)) == (before, [DAY_FILE])
    assert compact.compact(store.state, NEXT_DAY) == 0, "there is nothing left to do"
    assert files(store) == [DAY_FILE]


def test_a_day_that_goes_on_is_left_alone(whole: tuple[Path, Path], tmp_path: Path) -> None:
    store = copy_of(whole, tmp_path)
    names = files(store)
    assert compact.compact(store.state, NEXT_DAY - timedelta(days=1)) == 0
    assert files(store) == names


def test_lines_that_come_late_join_their_hour(whole: tuple[Path, Path], tmp_path: Path) -> None:
    store, captures = copy_of(whole, tmp_path), tmp_path / "captures"
    shutil.copytree(whole[0], captures)
    compact.compact(store.state, NEXT_DAY)
    write(captures, line("late", "2026-03-01T08:30:00Z"), line("event-3", "2026-03-01T09:01:00Z"), name="late.jsonl")
    first = captures / "scones" / "AllTraffic" / "2026/03/01/10/1.jsonl"
    changed = next(path for path in captures.rglob("1.jsonl") if path.parent.name == "10") or first
    changed.write_bytes(changed.read_bytes() + line("more", "2026-03-01T10:59:00Z").encode() + b"\n")
    expected = store_of(tmp_path, "at-once")
    for each in (store, expected):
        add(each, captures)
    assert said(store) == said(expected)
    assert DAY_FILE in files(store)
    assert len(files(store)) > 1
    compact.compact(store.state, NEXT_DAY)
    assert (said(store), files(store)) == (said(expected), [DAY_FILE])


def test_wherever_it_is_killed_each_hour_is_there_once(whole: tuple[Path, Path], tmp_path: Path) -> None:
    done = copy_of(whole, tmp_path)
    expected, names = said(done), files(done)
    compact.compact(done.state, NEXT_DAY)
    (day,) = done.variant_folder(MINE).glob("day=*")
    for gone in (0, 1, len(names) // 2, len(names)):
        store = copy_of(whole, tmp_path / str(gone))
        folder = store.variant_folder(MINE) / day.name
        shutil.copy(day / DAY_FILE, folder / DAY_FILE)
        for name in names[:gone]:
            (folder / name).unlink()
        assert said(store) == expected
        compact.compact(store.state, NEXT_DAY)
        assert (said(store), files(store)) == (expected, [DAY_FILE])


def test_sql_counts_an_hour_once_while_it_has_two_files(whole: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("duckdb", reason="the extra `query` is not installed")
    store, sql = copy_of(whole, tmp_path), "SELECT count(*) FROM predictions"
    paths = sorted(store.variant_folder(MINE).glob("day=*/[!_]*.parquet"))
    alone = query.ask_files(paths, sql)
    aside = shutil.copytree(paths[0].parent, tmp_path / "aside")
    compact.compact(store.state, NEXT_DAY)
    for name in ("08.parquet", "10.parquet"):  # as if it had been killed before these were gone
        shutil.copy(aside / name, paths[0].with_name(name))
    both = sorted(store.variant_folder(MINE).glob("day=*/[!_]*.parquet"))
    assert len(both) == 3
    assert query.ask_files(both, sql) == alone


def test_it_is_killed_and_read_at_the_same_time(whole: tuple[Path, Path], tmp_path: Path) -> None:
    store = copy_of(whole, tmp_path)
    expected, names = said(store), files(store)
    command = [sys.executable, "-m", "monitoring.store.compact", "--state", str(store.state), "--before", "2026-03-02"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while files(store) == names and process.poll() is None:
            pass
        process.send_signal(signal.SIGKILL)
    assert said(store) == expected
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            assert said(store) == expected
    assert (process.returncode, said(store), files(store)) == (0, expected, [DAY_FILE])


@pytest.fixture
def kept(whole: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Prefix]:
    """The store in S3."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        state = Prefix(f"s3://{BUCKET}/state")
        state.put([path.relative_to(whole[1]).as_posix() for path in whole[1].rglob("*") if path.is_file()], whole[1])
        yield state


def job(state: Prefix, scratch: Path, at: datetime, captures: Path | None = None) -> Store:
    """What a report does with the state: load, perhaps read more, save."""
    window = Window(datetime(2026, 3, 1, tzinfo=UTC), at)
    known = StateFiles(state, scratch)
    known.load([window])
    store = store_of(scratch)
    if captures:
        add(store, captures)
    known.save()
    return store


def rows_in(state: Prefix) -> list[str]:
    names = [found.name.rpartition("/")[2] for found in state.objects() if "/day=" in found.name]
    return sorted(name for name in names if not name.startswith("_"))


def test_a_report_compacts_days_in_s3_once_they_are_two_days_over(
    kept: Prefix, whole: tuple[Path, Path], tmp_path: Path
) -> None:
    expected, names = said(store_of(whole[1].parent)), rows_in(kept)
    job(kept, tmp_path / "early", datetime(2026, 3, 3, 23, tzinfo=UTC))
    assert rows_in(kept) == names
    job(kept, tmp_path / "late", datetime(2026, 3, 4, 1, tzinfo=UTC))
    assert rows_in(kept) == [DAY_FILE]
    assert said(job(kept, tmp_path / "after", datetime(2026, 3, 4, 2, tzinfo=UTC))) == expected


def test_a_damaged_hour_keeps_its_day_as_it_is_and_not_the_others(
    kept: Prefix, whole: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hours = [
        found.name for found in kept.objects() if found.name.endswith("8.parquet") or found.name.endswith("9.parquet")
    ]
    for name in hours:  # of the day before
        kept.copy(kept, name, name.replace("day=2026-03-01", "day=2026-02-28"))
    names = rows_in(kept)
    kept.write(hours[0], b"PAR1")
    job(kept, tmp_path, datetime(2026, 3, 4, 1, tzinfo=UTC))
    assert rows_in(kept) == sorted({*names, DAY_FILE})
    assert f"{hours[0].rpartition('/')[0]} was not compacted: " in capsys.readouterr().err


def test_what_comes_late_in_s3_joins_its_day(kept: Prefix, whole: tuple[Path, Path], tmp_path: Path) -> None:
    captures, at = tmp_path / "captures", datetime(2026, 3, 4, 1, tzinfo=UTC)
    shutil.copytree(whole[0], captures)
    job(kept, tmp_path / "first", at)
    write(captures, line("late", "2026-03-01T08:30:00Z"), name="late.jsonl")
    both = store_of(tmp_path, "at-once")
    add(both, captures)
    assert said(job(kept, tmp_path / "second", at, captures)) == said(both)
    assert rows_in(kept) == ["08.parquet", DAY_FILE]
    assert said(job(kept, tmp_path / "third", at)) == said(both)
    assert rows_in(kept) == [DAY_FILE]


def test_an_update_that_was_killed_is_cleared_up_after(tmp_path: Path) -> None:
    captures, store = tmp_path / "captures", store_of(tmp_path)
    write(captures, line("a"))
    words = ["--captures", str(captures), "--state", str(store.state), "--classes", "bicycle,motorcycle"]
    assert update.main(words) == 0
    assert not list(store.root.rglob("_writing"))
    (store.root / "_writing").touch()
    left = store.variant_folder(MINE) / "05.partial"
    left.touch()
    assert update.main(words) == 0
    assert not left.exists()
