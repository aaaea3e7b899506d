"""Add new captures to the store: ``python -m monitoring.store.update --captures ... --state ... --classes a,b``.

Runs in the monitoring container, alone or as the first step of `monitoring.report`. Reads the capture files that the
store has not read yet or that have changed, and writes the hours that they touch, see `monitoring.store.store`. What a
folder no longer has (S3 lifecycle, or only the last hours were downloaded) stays in the store. Many bytes are shared
among processes, which take one stretch of hours after the other.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # no types are published

from monitoring.captures import quarantine
from monitoring.captures.columns import Columns, Malformed
from monitoring.captures.files import Reader, printable
from monitoring.captures.folders import CaptureFile, Folder, folders, shared
from monitoring.captures.line import Classes
from monitoring.captures.quarantine import QuarantinedLine
from monitoring.captures.times import HOUR_US
from monitoring.store import arrays as store_arrays
from monitoring.store import hours as store_hours
from monitoring.store.aggregates import Thresholds
from monitoring.store.store import Entry, Ledger, Store, StoreError, Variant, is_unchanged

# A round ends after the folder in which it comes to so many records, so that few hours are written twice; or within a
# folder when the columns take 15 MB.
ROUND_RECORDS = 10_000
MAX_ROUND_RECORDS = 30_000
ROUND_FILES = 20_000
# Processes take so many bytes after each other, so that one which is held up does not hold up all. Of fewer, starting a
# second one takes longer than what it saves.
BYTES_PER_PART = 48 << 20

Hour = tuple[Variant, int | None]


@dataclass
class Piece:
    """What goes into one hour, in place of all that came from ``read_files`` before."""

    rows: list[pa.Table] = field(default_factory=list)
    malformed: list[QuarantinedLine] = field(default_factory=list)
    read_files: set[str] = field(default_factory=set)


Pieces = dict[Hour, Piece]
Elsewhere = dict[int, set[int | None]]
"""The hours where a file's lines went, other than its folder's own, by index of the file."""


@dataclass
class Update:
    """What an update did. ``files`` were read, the others were known; ``left`` is another process's to write."""

    files: list[str] = field(default_factory=list)
    known_files: int = 0
    lines: int = 0
    malformed: int = 0
    hours: int = 0
    left: list[tuple[Hour, Piece]] = field(default_factory=list)
    left_ledgers: list[tuple[Folder, Ledger]] = field(default_factory=list)


@dataclass(frozen=True)
class Task:
    """The folders that one process reads, and the hours that it may write (None: all)."""

    store: Store
    captures: Path
    thresholds: Thresholds
    folders: list[Folder]
    hours: set[Hour] | None = None


def update(
    store: Store,
    captures: Path,
    thresholds: Thresholds,
    processes: int = 1,
    wanted: Callable[[Folder], bool] = lambda _: True,
) -> Update:
    """Bring the store up to date with the capture files below a folder. Raises StoreError."""
    if not captures.is_dir():
        raise StoreError(f"expected a folder of captured traffic at {captures}, found none")
    store.prepare()
    found = [folder for folder in folders(captures) if wanted(folder)]
    parts = shared(found, 1 + sum(folder.size for folder in found) // BYTES_PER_PART) if processes > 1 else []
    with store.written():
        if len(parts) < 2:
            return ingest(Task(store, captures, thresholds, found))
        return _ingest_together(Task(store, captures, thresholds, found), parts, processes)


def _ingest_together(whole: Task, parts: list[list[Folder]], processes: int) -> Update:
    """Each part of the folders in one of several processes."""
    tasks = [
        dataclasses.replace(whole, folders=part, hours={(_variant(folder), folder.hour) for folder in part})
        for part in parts
    ]
    # Here, since an hourly job needs neither. Forked, since an interpreter takes as long to start as 50,000 records.
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(min(processes, len(tasks)), multiprocessing.get_context("fork")) as pool:
        return _together(whole.store, list(pool.map(ingest, tasks)), whole.thresholds)


def ingest(task: Task) -> Update:
    """Read what is new in a task's folders, in rounds of a bounded number of records."""
    result = Update()
    reader = Reader(task.captures, task.store.classes)
    current = _Round(task, result, reader)
    for folder in task.folders:
        ledger = task.store.ledger(folder)
        for file in folder.files:
            path = folder.file_path(file)
            entry = ledger.get(file.name)
            if entry is not None and is_unchanged(entry, file, f"{task.captures}/{path}"):
                result.known_files += 1
                continue
            current.read(folder, ledger, file, path)
            if current.is_full(MAX_ROUND_RECORDS):
                current.write()
                current = _Round(task, result, reader)
        if current.is_full(ROUND_RECORDS):
            current.write()
            current = _Round(task, result, reader)
    current.write()
    return result


class _ReadFile(msgspec.Struct):
    folder: Folder
    file: CaptureFile
    size: int
    digest: int
    before: Entry | None


class _Round:
    """Files that are read together and then written."""

    def __init__(self, task: Task, result: Update, reader: Reader) -> None:
        self.task, self.result, self.reader = task, result, reader
        reader.begin()
        self.files: list[_ReadFile] = []
        self.ledgers: dict[str, tuple[Folder, Ledger]] = {}

    def is_full(self, limit: int) -> bool:
        return self.reader.columns.records >= limit or len(self.files) >= ROUND_FILES

    def read(self, folder: Folder, ledger: Ledger, file: CaptureFile, path: str) -> None:
        status = self.reader.read(path)
        if status is not None:
            self.files.append(_ReadFile(folder, file, *status, ledger.get(file.name)))
            self.ledgers[folder.path] = (folder, ledger)

    def write(self) -> None:
        """Write the hours that the round touches, then the ledgers of its folders."""
        if not self.files:
            return
        self.reader.flush()
        columns, names = self.reader.columns, [printable(path) for path in self.reader.files]
        pieces: Pieces = defaultdict(Piece)
        elsewhere: Elsewhere = defaultdict(set)
        self._add_rows(columns, names, pieces, elsewhere)
        self._add_malformed(columns.malformed, names, pieces, elsewhere)
        for read in self.files:
            if read.before is not None:
                for hour in (read.folder.hour, *read.before.hours):
                    pieces[_variant(read.folder), hour].rows += []
        self._write_hours(pieces, set(names))
        self._write_ledgers(elsewhere)
        self.result.files += names
        self.result.lines += columns.lines
        self.result.malformed += len(columns.malformed)

    def _add_rows(self, columns: Columns, names: list[str], pieces: Pieces, elsewhere: Elsewhere) -> None:
        if not columns.records:
            return
        rows = store_hours.table(columns, names, self.task.store.classes.count)
        own_variant = {path: _variant(folder) for path, (folder, _) in self.ledgers.items()}
        variants = sorted(set(own_variant.values()))
        number = {variant: at for at, variant in enumerate(variants)}
        files = columns.files
        hours = columns.times_us // HOUR_US
        own = np.array([-1 if read.folder.hour is None else read.folder.hour for read in self.files])
        away = np.flatnonzero(hours != own[files])
        for file, hour in set(zip(files[away].tolist(), hours[away].tolist(), strict=True)):
            elsewhere[file].add(hour)
        # Hours since 1970 are below 2 ** 24 until the year 3883.
        keys = (np.array([number[own_variant[read.folder.path]] for read in self.files])[files] << 24) + hours
        for key in np.unique(keys).tolist():
            at = np.flatnonzero(keys == key)
            whole = at[-1] - at[0] + 1 == len(at)
            part = rows.slice(at[0], len(at)) if whole else rows.take(store_arrays.numbers(at, pa.int64()))
            pieces[variants[key >> 24], key & 0xFFFFFF].rows.append(part)

    def _add_malformed(
        self, malformed: list[Malformed], names: list[str], pieces: Pieces, elsewhere: Elsewhere
    ) -> None:
        by_place: dict[tuple[int, int | None], list[QuarantinedLine]] = defaultdict(list)
        for bad in sorted(malformed, key=lambda bad: (bad.file, bad.line)):
            hour = self.files[bad.file].folder.hour if bad.time_us is None else bad.time_us // HOUR_US
            place = names[bad.file], bad.line, bad.offset
            row = QuarantinedLine(*place, bad.kind, bad.reason, bad.text, bad.time_us, 1, bad.inference_id, bad.package)
            by_place[bad.file, hour].append(row)
        for (file, hour), rows in by_place.items():
            folder = self.files[file].folder
            pieces[_variant(folder), hour].malformed += quarantine.limited(rows)
            if hour != folder.hour:
                elsewhere[file].add(hour)

    def _write_hours(self, pieces: Pieces, names: set[str]) -> None:
        task = self.task
        for hour, piece in pieces.items():
            piece.read_files = names
            if task.hours is None or hour in task.hours:
                write_piece(task.store, hour, piece, task.thresholds)
                self.result.hours += 1
            else:
                self.result.left.append((hour, piece))

    def _write_ledgers(self, elsewhere: Elsewhere) -> None:
        for number, read in enumerate(self.files):
            away = elsewhere.get(number, ())
            hours = sorted(away, key=lambda hour: -1 if hour is None else hour) if away else []
            entry = Entry(read.size, read.file.mtime_ns, read.digest, hours)
            self.ledgers[read.folder.path][1][read.file.name] = entry
        # Nothing is noted as read that another process has yet to write.
        self.result.left_ledgers += self.ledgers.values()
        if not self.result.left:
            for folder, ledger in self.result.left_ledgers:
                self.task.store.write_ledger(folder, ledger)
            self.result.left_ledgers = []


def write_piece(store: Store, hour: Hour, piece: Piece, thresholds: Thresholds) -> None:
    """Put a piece into its hour."""
    passing = thresholds.by_index(store.classes.labels, store.classes.count)
    store_hours.write_hour(store.hour_path(*hour), piece.rows, piece.malformed, piece.read_files, passing)


def _together(store: Store, updates: list[Update], thresholds: Thresholds) -> Update:
    """Write what the processes left for each other, and add up what they did."""
    result = Update()
    for update_ in updates:
        for hour, piece in update_.left:
            write_piece(store, hour, piece, thresholds)
        for folder, ledger in update_.left_ledgers:
            store.write_ledger(folder, ledger)
        result.files += update_.files
        result.known_files += update_.known_files
        result.lines += update_.lines
        result.malformed += update_.malformed
        result.hours += update_.hours
    return result


def _variant(folder: Folder) -> Variant:
    return Variant(folder.endpoint, folder.variant)


def main(argv: Sequence[str] | None = None) -> int:
    """Update the store; 0, or 1 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m monitoring.store.update", description="Add captures to the store.")
    job = Path("/opt/ml/processing")
    parser.add_argument("--captures", type=Path, default=job / "input/captures", help="folder of capture files")
    parser.add_argument("--state", type=Path, default=job / "state", help="folder of the store")
    parser.add_argument("--classes", required=True, help="labels in the order of the probabilities, a,b")
    parser.add_argument("--thresholds", default='{"default": 0.93}', help="the document of the threshold parameter")
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="processes for many captures (default: 1)"
    )
    arguments = parser.parse_args(argv)
    store = Store(arguments.state, Classes.of([label.strip() for label in arguments.classes.split(",")]))
    try:
        thresholds = Thresholds.of_document(json.loads(arguments.thresholds))
        done = update(store, arguments.captures, thresholds, arguments.processes)
    except (StoreError, OSError, ValueError) as error:
        print(f"store: {error}", file=sys.stderr)
        return 1
    said = {"files": len(done.files), "known_files": done.known_files, "lines": done.lines, "malformed": done.malformed}
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
