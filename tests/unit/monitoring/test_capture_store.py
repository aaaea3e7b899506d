"""The store takes in what is new, once, in whatever order it comes, and survives a job killed at any point."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from monitoring.captures.files import Reader
from monitoring.captures.line import Classes
from monitoring.store.aggregates import BINS, Aggregate, Moments, Thresholds, bin_of, merged
from monitoring.store.image_statistics import hourly_image_statistics
from monitoring.store.store import Store, Variant
from monitoring.store.update import Update, update
from monitoring.store.window_table import Window, stored_captures
from tests.places import ROOT
from tests.unit.monitoring.test_capture import ENDPOINT, VARIANT, line, output, write

LABELS = ("bicycle", "motorcycle")
MINE = Variant(ENDPOINT, VARIANT)
HALF = Thresholds(0.5)
DAY = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))


def store_of(tmp_path: Path, name: str = "state") -> Store:
    return Store(tmp_path / name, Classes.of(LABELS))


def add(store: Store, captures: Path, thresholds: Thresholds = HALF) -> Update:
    return update(store, captures, thresholds)


def aggregates(store: Store, thresholds: Thresholds = HALF) -> dict[str, Aggregate]:
    """By hour of the day."""
    found = store.aggregates(MINE, *DAY.hours, thresholds)
    return {f"{hour % 24:02d}": each for hour, each in found.items()}


def content(store: Store) -> dict[str, Any]:
    """All that a store says, by hour."""
    return {
        path.relative_to(store.root).as_posix(): (store.rows(path).to_pylist(), store.quarantined(path))
        for path in sorted(store.root.rglob("*.parquet"))
    }


def traffic(root: Path, seed: int = 1) -> list[Path]:
    """Some hours of lines: good ones, late ones, repeated ones, malformed ones."""
    chance = random.Random(seed)
    files = []
    for hour in range(8, 14):
        for number in range(3):
            lines: list[str | bytes] = []
            for _ in range(12):
                at = hour - chance.choice([0, 0, 0, 0, 1, 2])
                share = round(chance.random(), 3)
                answer = output(json.dumps([share, round(1 - share, 3)]))
                moment = f"2026-03-01T{at:02d}:{chance.randrange(60):02d}:00Z"
                lines.append(line(f"event-{chance.randrange(150)}", moment, answer, b"i" * chance.choice([9, 900])))
            lines.insert(chance.randrange(12), chance.choice([b"{", b'{"eventMetadata": {}}', b"", b"\xff"]))
            files.append(write(root, *lines, hour=f"2026/03/01/{hour:02d}", name=f"{number}.jsonl"))
    return files


def test_only_new_and_changed_files_are_read(tmp_path: Path) -> None:
    captures, store = tmp_path / "captures", store_of(tmp_path)
    write(captures, line("a"), line("b"))
    assert len(add(store, captures).files) == 1
    assert add(store, captures).files == []
    late = write(captures, line("late", "2026-03-01T10:59:59Z"), hour="2026/03/01/11")
    assert add(store, captures).files == [late.relative_to(captures).as_posix()]
    grown = write(captures, line("a"), line("b"), line("c"))
    assert add(store, captures).files == [grown.relative_to(captures).as_posix()]
    assert aggregates(store)["10"].records == 4
    assert aggregates(store)["10"].duplicates == 0


def test_a_file_that_was_downloaded_again_is_not_read_again(tmp_path: Path) -> None:
    captures, store = tmp_path / "captures", store_of(tmp_path)
    file = write(captures, line("a"))
    add(store, captures)
    os.utime(file, (1, 1))
    assert add(store, captures).files == []
    write(captures, line("b"))  # of the same size
    os.utime(file, (2, 2))
    assert len(add(store, captures).files) == 1
    assert [row["event_id"] for rows, _ in content(store).values() for row in rows] == ["b"]


def test_what_is_no_longer_there_stays_in_the_store(tmp_path: Path) -> None:
    captures, store = tmp_path / "captures", store_of(tmp_path)
    write(captures, line("a")).unlink()
    write(captures, line("a"))
    add(store, captures)
    (captures / ENDPOINT / VARIANT / "2026/03/01/10/30-00-000-a.jsonl").unlink()
    add(store, captures)
    assert aggregates(store)["10"].records == 1


def test_the_order_in_which_files_come_does_not_matter(tmp_path: Path) -> None:
    whole = store_of(tmp_path, "whole")
    files = traffic(tmp_path / "captures")
    done = add(whole, tmp_path / "captures")
    bit_by_bit = store_of(tmp_path, "bits")
    random.Random(3).shuffle(files)
    for file in files:
        target = tmp_path / "growing" / file.relative_to(tmp_path / "captures")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        add(bit_by_bit, tmp_path / "growing")
        target.write_bytes(file.read_bytes())
        add(bit_by_bit, tmp_path / "growing")
    assert content(bit_by_bit) == content(whole)
    assert aggregates(bit_by_bit) == aggregates(whole)
    everything = merged(aggregates(whole).values())
    assert everything.records + everything.duplicates + sum(everything.malformed.values()) == done.lines
    assert everything.duplicates > 10
    assert set(everything.malformed) >= {"not JSON"}


def test_one_event_in_two_runs_counts_once(tmp_path: Path) -> None:
    captures, store = tmp_path / "captures", store_of(tmp_path)
    write(captures, line("a"), line("b"), name="1.jsonl")
    add(store, captures)
    write(captures, line("b"), line("c"), name="2.jsonl")
    add(store, captures)
    found = aggregates(store)["10"]
    assert (found.records, found.duplicates) == (3, 1)


def test_variants_are_kept_apart(tmp_path: Path) -> None:
    captures, store = tmp_path / "captures", store_of(tmp_path)
    write(captures, line("a"))
    shadow = captures / ENDPOINT / "shadow" / "2026/03/01/10"
    shadow.mkdir(parents=True)
    (shadow / "1.jsonl").write_text(line("a") + "\n" + line("b") + "\n")
    add(store, captures)
    assert store.variants() == [MINE, Variant(ENDPOINT, "shadow")]
    assert aggregates(store)["10"].records == 1
    (of_shadow,) = store.aggregates(Variant(ENDPOINT, "shadow"), *DAY.hours, HALF).values()
    assert of_shadow.records == 2


VERBOSE = {
    "probabilities": [0.25, 0.75],
    "labels": ["bicycle", "motorcycle"],
    "model_version": "3",
    "precision": "int8",
}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (VERBOSE, [0.25, 0.75]),
        ({"probabilities": [0.25, 0.75]}, [0.25, 0.75]),
        ([VERBOSE], [0.25, 0.75]),
        ({**VERBOSE, "labels": ["motorcycle", "bicycle"]}, [0.75, 0.25]),
        ({**VERBOSE, "labels": ["bicycle", "car"]}, "unknown class"),
        ({"probabilities": [0.2, 0.3, 0.5], "labels": ["bicycle", "motorcycle", "car"]}, "unknown class"),
        ({**VERBOSE, "labels": ["bicycle", "bicycle"]}, "class count"),
        ([0.2, 0.3, 0.5], "class count"),
        ([float("nan"), 1.0], "NaN"),
        ([0.4, 0.4], "sum is not 1"),
        ([[0.5, 0.5], [0.5, 0.5]], "several answers"),
    ],
)
def test_verbose_answers_and_other_classes(tmp_path: Path, answer: Any, expected: Any) -> None:
    captures, store = tmp_path / "captures", store_of(tmp_path)
    write(captures, line("a", answer=output(json.dumps(answer), kind="application/json;verbose")))
    add(store, captures)
    ((rows, quarantined),) = content(store).values()
    if isinstance(expected, str):
        assert [row.kind for row in quarantined] == [expected]
        assert aggregates(store)["10"].malformed == {expected: 1}
    else:
        assert [row["probabilities"] for row in rows] == [expected]
        assert rows[0]["model_version"] == (None if "labels" not in str(answer) else "3")


def test_the_quarantine_names_place_reason_and_text(tmp_path: Path) -> None:
    captures, store = tmp_path / "captures", store_of(tmp_path)
    file = write(captures, line("a"), b"oops" * 100, b"\xff")
    size = len(line("a")) + 1
    add(store, captures)
    (path,) = store.root.rglob("*.quarantine.jsonl")
    rows = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    assert [(row["line"], row["offset"], row["kind"]) for row in rows] == [
        (2, size, "not JSON"),
        (3, size + 401, "not JSON"),
    ]
    assert rows[0]["file"] == file.relative_to(captures).as_posix()
    assert (rows[0]["text"], rows[1]["text"]) == ("oops" * 50, "\\xff")


def test_a_truncated_file_is_named_and_read_again_when_it_is_whole(tmp_path: Path) -> None:
    captures, store = tmp_path / "captures", store_of(tmp_path)
    file = write(captures, line("a"), line("b"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-30])
    add(store, captures)
    assert aggregates(store)["10"].malformed == {"truncated": 1}
    file.write_bytes(whole)
    add(store, captures)
    assert (aggregates(store)["10"].records, aggregates(store)["10"].malformed) == (2, {})


def test_a_file_of_nothing_but_malformed_lines_is_counted_in_full(tmp_path: Path) -> None:
    captures, store = tmp_path / "captures", store_of(tmp_path)
    write(captures, *[b"no"] * 1500)
    add(store, captures)
    assert aggregates(store)["10"].malformed == {"not JSON": 1500}
    (path,) = store.root.rglob("*.quarantine.jsonl")
    assert len(path.read_bytes().splitlines()) == 1001


def test_compressed_files_are_read_and_damaged_ones_are_named(tmp_path: Path) -> None:
    captures, store = tmp_path / "captures", store_of(tmp_path)
    plain = write(captures, line("a"), line("b"))
    packed = gzip.compress(plain.read_bytes())
    plain.unlink()
    (plain.parent / "1.jsonl.gz").write_bytes(packed)
    (plain.parent / "2.jsonl.gz").write_bytes(packed[:-20])
    (plain.parent / "3.jsonl.gz").write_bytes(b"no gzip")
    done = add(store, captures)
    found = aggregates(store)["10"]
    assert found.records == 2
    assert found.malformed["not gzip"] == 1
    assert found.malformed["truncated"] >= 1
    read = stored_captures(store, captures, DAY, done=done)
    assert read.image(0) == b"\x89PNG\r\n\x1a\n-these-bytes-stand-for-an-image"


@pytest.mark.parametrize("buffer_bytes", [64, 1000, 1 << 20])
def test_lines_longer_than_the_buffer_and_files_without_a_last_newline_are_read(
    tmp_path: Path, buffer_bytes: int
) -> None:
    file = write(tmp_path, line("a", image=b"x" * 5000), "", line("b", image=b"y" * 100), b"?", line("c"))
    file.write_bytes(file.read_bytes().rstrip(b"\n"))
    reader = Reader(tmp_path, Classes(2), buffer_bytes=buffer_bytes)
    reader.read(file.relative_to(tmp_path).as_posix())
    reader.flush()
    assert reader.columns.records == 3
    assert [(bad.line, bad.kind) for bad in reader.columns.malformed] == [(4, "not JSON")]
    assert reader.columns.lines == 4


def test_a_changed_threshold_is_counted_anew(tmp_path: Path) -> None:
    captures, store = tmp_path / "captures", store_of(tmp_path)
    write(captures, *(line(f"e{n}", answer=output(f"[0.{n},0.{10 - n}]")) for n in range(1, 10)))
    add(store, captures)
    assert aggregates(store)["10"].below == 0
    document = {"default": 0.75, "classes": {"bicycle": 0.65}, "reason": "other keys are left alone"}
    # 0.5 and 0.6 of either class, and 0.7 of a motorcycle; of the two at 0.5 the first class is predicted
    assert aggregates(store, Thresholds.of_document(document))["10"].below == 4


def test_aggregates_merge_in_any_order_and_agree_with_numpy() -> None:
    values = np.random.default_rng(5).beta(5, 1, 4000)
    pieces = [Moments.of(part) for part in np.array_split(values, 7)]
    forward = sum(pieces, Moments())
    assert sum(reversed(pieces), Moments()) == forward == Moments.of(values)
    assert pieces[0] + (pieces[1] + pieces[2]) == (pieces[0] + pieces[1]) + pieces[2]
    assert forward.mean == pytest.approx(values.mean(), abs=1e-9)
    assert forward.variance == pytest.approx(values.var(), abs=1e-8)
    assert (forward.bins() == np.histogram(values, BINS, (0, 1))[0]).all()
    edges = np.arange(BINS) / BINS
    assert (bin_of(edges) == np.arange(BINS)).all()


def test_another_list_of_classes_has_a_store_of_its_own(tmp_path: Path) -> None:
    captures = tmp_path / "captures"
    write(captures, line("a"), line("b", answer=output("[0.2,0.3,0.5]")))
    three = Store(tmp_path / "state", Classes.of([*LABELS, "bus"]))
    for store, event in ((store_of(tmp_path), "a"), (three, "b")):
        add(store, captures)
        ((rows, quarantined),) = content(store).values()
        assert ([row["event_id"] for row in rows], [row.kind for row in quarantined]) == ([event], ["class count"])


def run_update(captures: Path, state: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "monitoring.store.update", "--captures", str(captures), "--state", str(state)]
    return subprocess.Popen(
        [*command, "--classes", ",".join(LABELS), "--thresholds", '{"default": 0.5}', *more],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def many_hours(root: Path) -> int:
    """Enough bytes for two processes; a record of each hour is in the next hour's folder."""
    image = b"\0" * 45_000
    for day in range(1, 3):
        for hour in range(23):
            at = f"2026-03-{day:02d}T{hour:02d}:30:00Z"
            lines = [line(f"{day}-{hour}-{number}", at, image=image) for number in range(35)]
            write(root, *lines, hour=f"2026/03/{day:02d}/{hour:02d}")
            write(root, line(f"{day}-{hour}-late", at), hour=f"2026/03/{day:02d}/{hour + 1:02d}", name="late.jsonl")
    return 2 * 23 * 36


def test_two_processes_and_one_killed_halfway_end_in_the_same_store(tmp_path: Path) -> None:
    captures = tmp_path / "captures"
    records = many_hours(captures)
    alone = store_of(tmp_path, "alone")
    add(alone, captures)
    expected = content(alone)

    both = run_update(captures, tmp_path / "both", "--processes", "2")
    printed, errors = both.communicate(timeout=120)
    assert (both.returncode, json.loads(printed)["lines"]) == (0, records), errors
    assert content(store_of(tmp_path, "both")) == expected

    killed = run_update(captures, tmp_path / "killed")
    while not list((tmp_path / "killed").rglob("*.parquet")) and killed.poll() is None:
        time.sleep(0.001)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=300)
    after = content(store_of(tmp_path, "killed"))  # whatever is there can be read
    assert set(after) <= set(expected)
    add(store_of(tmp_path, "killed"), captures)
    assert content(store_of(tmp_path, "killed")) == expected
    assert not list((tmp_path / "killed").rglob("*.partial"))


def png(brightness: int, alpha: int | None = None) -> bytes:
    colour = (brightness,) * 3 if alpha is None else (brightness, brightness, brightness, alpha)
    out = io.BytesIO()
    Image.new("RGB" if alpha is None else "RGBA", (32, 32), colour).save(out, "PNG")
    return out.getvalue()


def test_a_sample_of_the_images_of_an_hour_is_described_once(tmp_path: Path) -> None:
    captures, store = tmp_path / "captures", store_of(tmp_path)
    images = {"dark": png(20), "light": png(200), "clear": png(0, alpha=0), "broken": b"no image", "none": None}
    file = write(captures, *(line(name, image=image) for name, image in images.items()))
    add(store, captures)
    (found,) = hourly_image_statistics(store, MINE, DAY.hours, captures).values()
    brightness = dict(zip(found.column("event_id").to_pylist(), found.column("brightness").to_pylist(), strict=True))
    assert all(math.isnan(brightness.pop(name)) for name in ("broken", "none"))
    assert brightness == pytest.approx({"dark": 20, "light": 200, "clear": 255})
    file.unlink()  # what is known needs no file
    (again,) = hourly_image_statistics(store, MINE, DAY.hours, captures).values()
    assert again.column("event_id").to_pylist() == found.column("event_id").to_pylist()
    assert np.array_equal(again.column("brightness").to_numpy(), found.column("brightness").to_numpy(), equal_nan=True)
    (three,) = hourly_image_statistics(store, MINE, DAY.hours, captures, sample=3).values()
    assert three.column("event_id").to_pylist() == found.column("event_id").to_pylist()[:3]


def test_the_store_needs_no_pandas(tmp_path: Path) -> None:
    write(tmp_path / "captures", line("a"), line("b", image=b"x" * 900))
    code = "import sys; from monitoring.store.update import main; main(); sys.exit('pandas' in sys.modules)"
    command = [sys.executable, "-c", code, "--captures", str(tmp_path / "captures"), "--state", str(tmp_path / "state")]
    finished = subprocess.run([*command, "--classes", "a,b"], cwd=ROOT, check=False)
    assert finished.returncode == 0, "it costs an hourly job 50 MB and a third of a second"


def test_a_folder_that_is_missing_is_one_clear_line(tmp_path: Path) -> None:
    process = run_update(tmp_path / "nowhere", tmp_path / "state")
    assert process.communicate(timeout=300)[1] == (
        f"store: expected a folder of captured traffic at {tmp_path / 'nowhere'}, found none\n"
    )
    assert process.returncode == 1


def test_a_few_thousand_adversarial_lines_are_read_as_json_reads_them() -> None:
    finished = subprocess.run(
        [sys.executable, "benchmarks/monitoring/capture_fuzz.py", "--lines", "4000", "--seed", "1"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert "lines read alike" in finished.stdout
