"""What a state in S3 needs that is not whole on this machine: damaged files replaced, hours of far clocks joined.

Runs in the monitoring container. A damaged hour is emptied and its capture files are forgotten, so that they are read
again where they are still there; all other hours stay. An hour that a wrong clock named is not among those that were
copied here: what was read of it joins what S3 has, instead of taking its place.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # no types are published
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from monitoring.captures import quarantine
from monitoring.captures.folders import Folder, hour_of
from monitoring.job_inputs.places import Prefix
from monitoring.store import days
from monitoring.store import hours as store_hours
from monitoring.store.aggregates import Floats
from monitoring.store.store import Store

DAMAGED = (pa.ArrowException, msgspec.MsgspecError, KeyError, OSError)
"""What reading a file of the state may raise that is not what was written."""
_LEDGER = "files.json"
_HOUR = re.compile(r"day=[0-9-]+/[0-9]{2}\.parquet$")
_DAY = f"/{days.DAY_FILE}"


def is_hour(name: str) -> bool:
    """Whether a file of the state holds an hour's predictions."""
    return _HOUR.search(name) is not None


def replace_damaged(store: Store, thresholds: Floats) -> list[str]:
    """Replace each file of the store that cannot be read by an empty one; their names."""
    damaged = [path for path in sorted(store.root.rglob("*.parquet")) if not _is_readable(path)]
    spans = [span for path in damaged if (span := store_hours.stored_hours(path.as_posix()))]
    _forget(store, {hour for first, last in spans for hour in range(first, last + 1)})
    for path in damaged:  # the file of a day before those of its hours, which may look into it
        path.unlink()
    for path in sorted(damaged, key=lambda each: not each.as_posix().endswith(_DAY)):
        _write_empty(store, path, thresholds)
    return [path.relative_to(store.root).as_posix() for path in damaged]


def _write_empty(store: Store, path: Path, thresholds: Floats) -> None:
    """Write a file of the same kind that says nothing; of an hour, what the file of its day has."""
    if is_hour(path.as_posix()):
        store_hours.quarantine_file(path).unlink(missing_ok=True)
        store_hours.write_hour(path, [], [], (), thresholds)
    elif path.as_posix().endswith(_DAY):
        said = {days.DAY_KEY: msgspec.json.encode(days.DayMetadata([]))}
        pq.write_table(store_hours.empty_rows(store.classes.count).replace_schema_metadata(said), path)
    else:
        pq.write_table(pa.table({"event_id": pa.array([], pa.string())}), path)


@dataclass(frozen=True)
class FarHours:
    """Hours that a place has and that were not copied here."""

    place: Prefix
    away: set[str]
    """Names of files."""

    def join(self, folder: Path) -> None:
        """Let each hour that was begun anew in the folder hold what the place has of it as well."""
        copies = folder.with_name(f"{folder.name}-far")
        for path in sorted(folder.rglob("*.parquet")):
            name = path.relative_to(folder).as_posix()
            there = [each for each in (name, f"{name.rpartition('/')[0]}{_DAY}") if each in self.away]
            if is_hour(name) and there and self._copied(there[0], copies):
                beside = store_hours.quarantine_file(Path(name)).as_posix()
                (copies / beside).write_bytes(self.place.read(beside) or b"")
                self._join(path, copies / name)
        shutil.rmtree(copies, ignore_errors=True)

    def _copied(self, name: str, copies: Path) -> bool:
        """Whether there is such a file, and it can be read."""
        data = self.place.read(name)
        (copies / name).parent.mkdir(parents=True, exist_ok=True)
        (copies / name).write_bytes(data or b"")
        return data is not None and _is_readable(copies / name)

    def _join(self, here: Path, there: Path) -> None:
        rows = store_hours.read_rows(here).drop_columns(["duplicate"])
        malformed = quarantine.read(store_hours.quarantine_file(here))
        read = {*rows.column("file").to_pylist(), *(row.file for row in malformed)}
        store_hours.write_hour(there, [rows], malformed, read, _thresholds(here))
        shutil.move(there, here)
        if store_hours.quarantine_file(there).exists():
            shutil.move(store_hours.quarantine_file(there), store_hours.quarantine_file(here))


def _is_readable(path: Path) -> bool:
    try:
        if is_hour(path.as_posix()):
            store_hours.read_rows(path).column("duplicate")
            store_hours.read_aggregate(path, _thresholds(path))
            quarantine.read(store_hours.quarantine_file(path))
            return True
        with pq.ParquetFile(path) as file:
            file.read(use_threads=False)
            if path.as_posix().endswith(_DAY):
                msgspec.json.decode(file.metadata.metadata[days.DAY_KEY], type=days.DayMetadata)
    except DAMAGED:
        return False
    return True


def _thresholds(path: Path) -> Floats:
    """Of each class, by which an hour's share below them was counted."""
    with days.opened(path) as hour:
        return np.array(msgspec.json.decode(hour.said, type=store_hours.HourMetadata).thresholds, np.float64)


def _forget(store: Store, hours: set[int]) -> None:
    """Have the capture files of these hours read again."""
    for path in (store.root / "files").rglob(_LEDGER):
        named = path.parent.relative_to(store.root / "files").as_posix()
        folder = Folder(named, hour_of(named), "", "", ())
        known = store.ledger(folder)
        kept = {name: entry for name, entry in known.items() if not hours & {folder.hour, *entry.hours}}
        if kept != known:
            store.write_ledger(folder, kept)
