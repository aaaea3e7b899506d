"""What it costs to read captured traffic: ``python benchmarks/captures.py``, or ``--records 1000000`` for all of it.

Runs on a laptop (Linux). Writes captures as an endpoint does (lines of 4.1 KB, six files of 496 records an hour), then
reads them in processes of their own: into the store of `monitoring.store.update`, with one process and with two, and
the way such notebooks do it (jsonlines into a list, pandas makes the table). The same for files of one record. Then
hours of 6,000 records come to the store. Prints wall time, CPU and peak memory of the largest process, with
the start of the interpreter in all of them, and the ratios. jsonlines is used where it is installed, else a loop over
the lines that calls json as it does. Needs the disk space of the captures (4.1 GB for a million) in TMPDIR, and the
notebook's way 6 GB of memory for a million.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIRST_HOUR = datetime(2026, 3, 1, tzinfo=UTC)
FILES_PER_HOUR, RECORDS_PER_FILE = 6, 496
NEW_HOUR_RECORDS, NEW_HOUR_FILES = 6_000, 12
IMAGE_CHARACTERS = 3_684  # base64 of a PNG of 2.7 KB, such as one of CIFAR's 32 x 32 photographs
LINE = (
    '{"captureData":{"endpointInput":{"observedContentType":"image/png","mode":"INPUT","data":"%s","encoding":"BASE64"}'
    ',"endpointOutput":{"observedContentType":"application/json","mode":"OUTPUT","data":"[%r, %r]","encoding":"JSON"}},'
    '"eventMetadata":{"eventId":"%s","inferenceId":"%s","inferenceTime":"%s"},"eventVersion":"0"}\n'
)
MEASURE = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
wall = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""
INSIDE = """
import json, sys, time
from pathlib import Path
from monitoring.store.aggregates import Thresholds
from monitoring.captures.line import Classes
from monitoring.store.store import Store
from monitoring.store.update import update
store = Store(Path(sys.argv[2]), Classes.of(["bicycle", "motorcycle"]))
taken = []
for captures in sorted(Path(sys.argv[1]).iterdir()):
    started = time.perf_counter()
    lines = update(store, captures, Thresholds(0.93)).lines
    taken.append([1000 * (time.perf_counter() - started), lines])
print(json.dumps(taken))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000, help="records in large files (default: 100,000)")
    parser.add_argument("--single", type=int, default=20_000, help="files of one record (default: 20,000)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each; the cheapest counts (default: 3)")
    parser.add_argument("--json", action="store_true", help="print one document")
    parser.add_argument("--notebook", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.notebook:
        as_a_notebook(arguments.notebook)
        return
    with tempfile.TemporaryDirectory(prefix="scones-captures-") as folder:
        results = {
            "large": compare(Path(folder) / "large", arguments.records, RECORDS_PER_FILE, arguments.runs),
            "single": compare(Path(folder) / "single", arguments.single, 1, arguments.runs),
            "hour": new_hour(Path(folder) / "large", arguments.runs),
        }
    if arguments.json:
        print(json.dumps(results))
    else:
        show(results)


def compare(folder: Path, records: int, per_file: int, runs: int) -> dict[str, Any]:
    """Write captures and read them in every way; the store of the last run stays."""
    written = write(folder / "captures", records, per_file)
    for file in (folder / "captures").rglob("*.jsonl"):  # no way of reading starts with a cold disk
        file.read_bytes()
    result: dict[str, Any] = {"records": records, "megabytes": round(written / 1e6)}
    ways = {"notebook": [sys.executable, __file__, "--notebook", str(folder / "captures")]}
    for processes in (1, 2):
        job = [
            "-m",
            "monitoring.store.update",
            "--captures",
            str(folder / "captures"),
            "--state",
            str(folder / "state"),
        ]
        ways[f"store_{processes}"] = [
            sys.executable, *job, "--classes", "bicycle,motorcycle", "--processes", str(processes),
        ]  # fmt: skip
    for name, command in ways.items():
        taken = []
        for _ in range(runs):
            shutil.rmtree(folder / "state", ignore_errors=True)
            taken.append(measured(command))
        result[name] = {
            "wall_s": min(wall for wall, _, _ in taken),
            "cpu_s": min(cpu for _, cpu, _ in taken),
            "peak_mib": max(peak for _, _, peak in taken),
        }
    return result


def measured(command: list[str]) -> tuple[float, float, float]:
    """Wall and CPU seconds of a command and its children, and MiB of the largest of them."""
    finished = subprocess.run(
        [sys.executable, "-c", MEASURE, *command], check=True, capture_output=True, text=True, cwd=ROOT
    )
    code, wall, cpu, peak = json.loads(finished.stdout)
    if code:
        raise SystemExit(f"{' '.join(command)} failed:\n{finished.stderr}")
    return wall, cpu, peak


def new_hour(folder: Path, runs: int) -> dict[str, Any]:
    """Hours come to the store of ``folder``, as the job gets them: with the two before, which the store knows.

    Time inside one process, of the first hour and of the quickest after it; and of a process for one hour.
    """
    times = [FIRST_HOUR + timedelta(days=60, hours=number) for number in range(2 * runs + 2)]
    for number in range(len(times)):
        for hour in times[max(0, number - 2) : number + 1]:
            target = folder / "new" / f"{number:03d}"
            write_hour(target, hour, NEW_HOUR_FILES, NEW_HOUR_RECORDS // NEW_HOUR_FILES, random.Random(hour.hour))  # noqa: S311
    job = [sys.executable, "-m", "monitoring.store.update", "--classes", "bicycle,motorcycle"]
    last = folder / "new" / f"{len(times) - 1:03d}"
    last.rename(folder / "last")
    command = [sys.executable, "-c", INSIDE, str(folder / "new"), str(folder / "state")]
    finished = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    taken = json.loads(finished.stdout)
    if {lines for _, lines in taken} != {NEW_HOUR_RECORDS}:
        raise SystemExit(f"expected {NEW_HOUR_RECORDS} new records an hour, got {taken}")
    with_start = measured([*job, "--captures", str(folder / "last"), "--state", str(folder / "state")])[0]
    return {
        "records": NEW_HOUR_RECORDS,
        "first_ms": taken[0][0],
        "inside_ms": min(milliseconds for milliseconds, _ in taken[1:]),
        "with_start_s": with_start,
    }


def write(folder: Path, records: int, per_file: int, image_characters: int = IMAGE_CHARACTERS) -> int:
    """Write records below an endpoint's folder, an hour after the other; answers the bytes."""
    chance = random.Random(1)  # noqa: S311 (a benchmark's content)
    written, hour = 0, 0
    per_hour = FILES_PER_HOUR * RECORDS_PER_FILE
    while records > 0:
        files = min(per_hour, records) // per_file or 1
        at = FIRST_HOUR + timedelta(hours=hour)
        written += write_hour(folder, at, files, per_file, chance, image_characters=image_characters)
        records -= files * per_file
        hour += 1
    return written


def write_hour(
    folder: Path,
    hour: datetime,
    files: int,
    per_file: int,
    chance: random.Random,
    *,
    image_characters: int = IMAGE_CHARACTERS,
) -> int:
    """Write one hour's files; answers the bytes."""
    target = folder / "vehicles" / "AllTraffic" / f"{hour:%Y/%m/%d/%H}"
    target.mkdir(parents=True)
    lines = hour_lines(hour, files * per_file, chance, image_characters)
    written = 0
    for number in range(files):
        content = "".join(next(lines) for _ in range(per_file))
        (target / f"{number % 60:02d}-00-{number:05d}-{uuid.UUID(int=chance.getrandbits(128))}.jsonl").write_text(
            content
        )
        written += len(content)
    return written


def hour_lines(hour: datetime, count: int, chance: random.Random, image_characters: int) -> Iterator[str]:
    images = base64.b64encode(chance.randbytes(300_000)).decode()
    for number in range(count):
        bicycle, at = round(chance.random(), 6), chance.randrange(len(images) - image_characters)
        ids = [uuid.UUID(int=chance.getrandbits(128)) for _ in range(2)]
        time = hour + timedelta(seconds=number * 3600 // count)
        image = images[at : at + image_characters]
        yield LINE % (image, bicycle, round(1 - bicycle, 6), *ids, f"{time:%Y-%m-%dT%H:%M:%SZ}")


def as_a_notebook(folder: Path) -> None:
    """Every line of every file into a list, then a table, then what its plot needs."""
    import pandas as pd

    documents: list[Any] = []
    for path in sorted(folder.rglob("*.jsonl")):
        documents.extend(lines_of(path))
    table = pd.DataFrame(
        {
            "time": [document["eventMetadata"]["inferenceTime"] for document in documents],
            "inferences": [json.loads(document["captureData"]["endpointOutput"]["data"]) for document in documents],
        }
    )
    table["time"] = pd.to_datetime(table["time"])
    table["confidence"] = table["inferences"].map(max)
    print(table.groupby(table["time"].dt.floor("h"))["confidence"].describe())


def lines_of(path: Path) -> Iterator[Any]:
    try:
        import jsonlines  # type: ignore[import-not-found,unused-ignore]  # where it is installed
    except ImportError:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
    else:
        with jsonlines.open(path) as reader:
            yield from reader


def show(results: dict[str, Any]) -> None:
    for name in ("large", "single"):
        result = results[name]
        print(f"{result['records']:,} records in {'large files' if name == 'large' else 'files of one record'}, "
              f"{result['megabytes']:,} MB")  # fmt: skip
        base = result["notebook"]
        for way in ("notebook", "store_1", "store_2"):
            taken = result[way]
            print(
                f"  {way:9} {taken['wall_s']:7.2f} s wall, {taken['cpu_s']:7.2f} s CPU, {taken['peak_mib']:6.0f} MiB; "
                f"{base['wall_s'] / taken['wall_s']:5.1f} times"
                f" less wall, {base['cpu_s'] / taken['cpu_s']:5.1f} times less CPU"
            )
    hour = results["hour"]
    print(
        f"a new hour of {hour['records']:,} records: {hour['inside_ms']:.0f} ms inside the process (the first one "
        f"{hour['first_ms']:.0f} ms), {hour['with_start_s']:.2f} s with its start"
    )


if __name__ == "__main__":
    main()
