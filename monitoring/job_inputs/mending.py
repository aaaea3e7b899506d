"""What a state in S3 needs that is not whole on this machine: damaged files replaced, hours of far clocks joined.

Runs in the monitoring container. A damaged hour is emptied and its capture files are forgotten, so that they are read
again where they are still there; all other hours stay. An hour that a wrong clock named is not among those that were
copied here: what was read of it joins what S3 has, instead of taking its place.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]  # no types are published
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from monitoring.captures import quarantine
from monitoring.captures.folders import Folder, hour_of
from monitoring.job_inputs.places import Found, Prefix
from monitoring.store import hours as store_hours
from monitoring.store.aggregates import Floats
from monitoring.store.store import Store

DAMAGED = (pa.ArrowException, msgspec.MsgspecError, KeyError, OSError)
"""What reading a file of the state may raise that is not what was written."""
_LEDGER = "files.json"
_HOUR = re.compile(r"day=[0-9-]+/[0-9]{2}\.parquet$")


def is_hour(name: str) -> bool:
    """Whether a file of the state holds an hour's predictions."""
    return _HOUR.search(name) is not None


def replace_damaged(store: Store, thresholds: Floats) -> list[str]:
    """Replace each file of the store that cannot be read by an empty one; their names."""
    damaged = [path for path in sorted(store.root.rglob("*.parquet")) if not _is_readable(path, thresholds)]
    hours = {hour for path in damaged if (hour := store_hours.stored_hour(path.as_posix())) is not None}
    _forget(store, hours)
    for path in damaged:
        path.unlink()
        if is_hour(path.as_posix()):
            store_hours.quarantine_file(path).unlink(missing_ok=True)
            store_hours.write_hour(path, [], [], (), thresholds)
        else:
            pq.write_table(pa.table({"event_id": pa.array([], pa.string())}), path)
    return [path.relative_to(store.root).as_posix() for path in damaged]


def join_far_hours(place: Prefix, names: Iterable[str], folder: Path, thresholds: Floats) -> None:
    """Let each hour in the folder hold what the place has of it as well."""
    copies = folder.with_name(f"{folder.name}-far")
    for name in names:
        beside = store_hours.quarantine_file(Path(name)).as_posix()
        (copies / name).parent.mkdir(parents=True, exist_ok=True)
        place.fetch([Found(name, 0, 0)], copies)
        (copies / beside).write_bytes(place.read(beside) or b"")
        if _is_readable(copies / name, thresholds):
            _join(folder / name, copies / name, thresholds)
    shutil.rmtree(copies, ignore_errors=True)


def _join(here: Path, there: Path, thresholds: Floats) -> None:
    rows = store_hours.read_rows(here).drop_columns(["duplicate"])
    malformed = quarantine.read(store_hours.quarantine_file(here))
    read = {*rows.column("file").to_pylist(), *(row.file for row in malformed)}
    store_hours.write_hour(there, [rows], malformed, read, thresholds)
    for made, target in ((there, here), *((store_hours.quarantine_file(each) for each in (there, here)),)):
        if made.exists():
            shutil.move(made, target)


def _is_readable(path: Path, thresholds: Floats) -> bool:
    try:
        rows = store_hours.read_rows(path)
        if is_hour(path.as_posix()):
            store_hours.read_aggregate(path, thresholds)
            quarantine.read(store_hours.quarantine_file(path))
            rows.column("duplicate")
    except DAMAGED:
        return False
    return True


def _forget(store: Store, hours: set[int]) -> None:
    """Have the capture files of these hours read again."""
    for path in (store.root / "files").rglob(_LEDGER):
        named = path.parent.relative_to(store.root / "files").as_posix()
        folder = Folder(named, hour_of(named), "", "", ())
        known = store.ledger(folder)
        kept = {name: entry for name, entry in known.items() if not hours & {folder.hour, *entry.hours}}
        if kept != known:
            store.write_ledger(folder, kept)
