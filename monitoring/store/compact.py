"""Puts the hours' files of a day into one: ``python -m monitoring.store.compact --state ... --before 2026-03-01``.

Runs in the monitoring container, after a report, and by hand. Of a day whose hours have one file each it makes the file
that `monitoring.store.days` describes, puts it in place by a rename, and only then removes the hours' files, those that
changed meanwhile excepted. Killed at any point, it leaves a store that says the same, and goes on the next time. A line
that comes late for such a day gives its hour a file again, until the next time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]  # no types are published
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from monitoring.store import days
from monitoring.store.days import DAY_FILE, DAY_KEY, HOUR_FILES, DayMetadata, HourPart, KeptHour
from monitoring.store.hours import FORMAT
from monitoring.store.store import CAPTURED


def compact(state: Path, before: date) -> int:
    """Compact the days of a state folder that lie before one; the number of files that are gone."""
    found = (state / CAPTURED).glob("classes=*/hours/endpoint=*/variant=*/day=*")
    return sum(compact_day(folder) for folder in sorted(found) if folder.name < f"day={before}")


def compact_day(folder: Path) -> int:
    """Put the hours of a day into one file; the number of files that are gone."""
    seen = {path: _state(path) for path in sorted(folder.glob(HOUR_FILES))}
    if len(seen) + (folder / DAY_FILE).exists() < 2:
        return 0
    with ExitStack() as stack:
        parts = {path.stem: stack.enter_context(days.opened(path)) for path in days.hour_paths(folder)}
        schemas = [part.file.schema_arrow.remove_metadata() for part in parts.values()]
        if any(schema != schemas[0] for schema in schemas):  # of another version: Parquet takes one for all
            return 0
        _write(folder / DAY_FILE, schemas[0], parts)
    return sum(_remove(path, state) for path, state in seen.items())


def _write(target: Path, schema: pa.Schema, parts: dict[str, HourPart]) -> None:
    kept = [KeptHour(name, _count(part), part.said.decode()) for name, part in parts.items()]
    described = schema.with_metadata({DAY_KEY: msgspec.json.encode(DayMetadata(kept))})
    partial = target.with_suffix(".partial")
    with pa.OSFile(str(partial), "wb") as file, pq.ParquetWriter(file, described, **FORMAT) as writer:
        for rows in _all_rows(parts):
            writer.write_table(rows, row_group_size=rows.num_rows)
    partial.replace(target)


def _all_rows(parts: dict[str, HourPart]) -> Iterator[pa.Table]:
    """One hour after the other, those without predictions left out."""
    for part in parts.values():
        rows = part.rows()
        if rows.num_rows:
            yield rows.replace_schema_metadata(None)


def _count(part: HourPart) -> int:
    said = part.file.metadata
    groups = range(said.num_row_groups) if part.groups is None else part.groups
    return sum(said.row_group(group).num_rows for group in groups)


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _remove(path: Path, seen: tuple[int, int, int] | None) -> bool:
    """Remove an hour's file, unless it is another one by now."""
    if seen is None or _state(path) != seen:
        return False
    path.unlink()
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Compact; 0, or 1 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m monitoring.store.compact", description="Merge hours' small files.")
    parser.add_argument("--state", type=Path, default=Path("/opt/ml/processing/state"), help="folder of the store")
    today = datetime.now(UTC).date()
    parser.add_argument("--before", type=date.fromisoformat, default=today, help="first day to leave (default: today)")
    given = parser.parse_args(argv)
    try:
        print(f"{compact(given.state, given.before):,} files are part of their days' files now")
    except OSError as error:
        print(f"compact: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
