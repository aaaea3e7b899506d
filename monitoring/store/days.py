"""An hour where it stands: in a file of its own, or in that of its day.

Runs in the monitoring container. ``<variant's folder>/day=yyyy-mm-dd/day.parquet``, which `monitoring.store.compact`
writes, has the rows of all hours, one hour after the other in row groups of their own, and in its metadata what the
hours' files said of themselves. What it says of an hour that has a file of its own does not count. So a day's file
comes with one rename, and whoever reads while the hours' files go, or after a crash, finds each hour once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]  # no types are published
import pyarrow.parquet as pq  # type: ignore[import-untyped]

DAY_FILE = "day.parquet"
DAY_KEY, HOUR_KEY = b"scones.day", b"scones.hour"
HOUR_FILES = "[0-9][0-9].parquet"


class KeptHour(msgspec.Struct, frozen=True):
    """An hour in a day's file: its name such as "07", the number of its rows, and what its own file said of it."""

    name: str
    rows: int
    said: str


class DayMetadata(msgspec.Struct, frozen=True):
    """What the file of a day says of its hours, in the order of their rows."""

    hours: list[KeptHour]


@dataclass(frozen=True)
class HourPart:
    """An hour in an open file: its row groups (None: all), and what the file says of it."""

    file: pq.ParquetFile
    groups: list[int] | None
    said: bytes

    def rows(self, columns: list[str] | None = None) -> pa.Table:
        """Its predictions."""
        if self.groups is None:
            return self.file.read(columns, use_threads=False)
        return self.file.read_row_groups(self.groups, columns, use_threads=False)


@contextmanager
def opened(hour_path: Path) -> Iterator[HourPart]:
    """Open an hour. Raises FileNotFoundError where neither its own file nor that of its day has it."""
    # In this order: the day's file is there before the hour's goes. `pyarrow.parquet.read_table` would import pandas.
    try:
        file = pq.ParquetFile(hour_path)
    except FileNotFoundError:
        with pq.ParquetFile(hour_path.with_name(DAY_FILE)) as day:
            yield _part(day, hour_path)
        return
    with file:
        yield HourPart(file, None, (file.metadata.metadata or {}).get(HOUR_KEY, b""))


def is_kept(hour_path: Path) -> bool:
    """Whether there is such an hour."""
    return hour_path.exists() or hour_path.stem in _kept(hour_path.with_name(DAY_FILE))


def hour_paths(day_folder: Path) -> list[Path]:
    """The hours of a day, each as the path that its own file has or had."""
    names = {path.stem for path in day_folder.glob(HOUR_FILES)}  # first these, see `opened`
    return [day_folder / f"{name}.parquet" for name in sorted(names | _kept(day_folder / DAY_FILE))]


def _kept(day_path: Path) -> set[str]:
    try:
        with pq.ParquetFile(day_path) as day:
            return {hour.name for hour in _metadata(day).hours}
    except FileNotFoundError:
        return set()


def _metadata(day: pq.ParquetFile) -> DayMetadata:
    return msgspec.json.decode(day.metadata.metadata[DAY_KEY], type=DayMetadata)


def _part(day: pq.ParquetFile, hour_path: Path) -> HourPart:
    """Where an hour stands in its day. Of many rows pyarrow makes several groups."""
    start, group = 0, 0
    for hour in _metadata(day).hours:
        groups, end = [], start + hour.rows
        while start < end:
            groups.append(group)
            start += day.metadata.row_group(group).num_rows
            group += 1
        if hour.name == hour_path.stem:
            return HourPart(day, groups, hour.said.encode())
    raise FileNotFoundError(f"expected the hour {hour_path.stem} in {hour_path.with_name(DAY_FILE)}")
