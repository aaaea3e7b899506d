"""The store of captured predictions: what stands in the state folder, and how to read it.

Runs in the monitoring container, where the state folder is /opt/ml/processing/state, kept in S3 between two runs.
`monitoring.store.update` adds new captures. Layout, below a folder for each list of classes, since the probabilities
of models with other classes mean something else:

- ``captured/classes=<digest>/classes.json``
- ``.../hours/endpoint=<name>/variant=<name>/day=yyyy-mm-dd/hh.parquet``, see `monitoring.store.hours`: partitioned as
  Hive does it, so that Athena and DuckDB ask it directly; malformed lines whose hour nobody knows belong to
  ``_unknown.parquet``; ``_hh.images.parquet``, see `monitoring.store.image_statistics`; of a day that is over
  ``day.parquet`` in place of its hours, see `monitoring.store.compact`
- ``.../files/<folder of capture files>/files.json``: what was read, see `Ledger`

Every file is put in place by a rename, an hour before the ledger of the files it was read from. A job killed at any
point leaves a store that can be read, and the next one reads again what the ledgers do not have.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]  # no types are published

from monitoring.captures import quarantine
from monitoring.captures.files import tail_digest
from monitoring.captures.folders import CaptureFile, Folder
from monitoring.captures.line import Classes
from monitoring.captures.quarantine import QuarantinedLine
from monitoring.store import days
from monitoring.store import hours as store_hours
from monitoring.store.aggregates import Aggregate, Thresholds

UNKNOWN_HOUR = "_unknown"
CAPTURED = "captured"
"""The folder of all that is kept; what earlier layouts left beside it is not looked at."""


class StoreError(Exception):
    """The state folder cannot be used."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A capture file that was read. ``hours``: where its lines went, other than its folder's own (None: unknown)."""

    size: int
    mtime_ns: int
    digest: int
    """`capture_files.tail_digest`, since a file that was downloaded again has another time but the same content."""
    hours: list[int | None]


Ledger = dict[str, Entry]
"""The files of one folder that were read, by name."""
_decode_ledger = msgspec.json.Decoder(Ledger).decode


@dataclass(frozen=True, order=True)
class Variant:
    """Whose predictions these are. A shadow variant has a folder of its own and never mixes with another's."""

    endpoint: str
    name: str


@dataclass(frozen=True)
class Store:
    """The store in a state folder, for one list of classes."""

    state: Path
    classes: Classes

    @functools.cached_property
    def root(self) -> Path:
        """The folder of a store of these classes."""
        named = json.dumps([self.classes.count, *self.classes.labels])
        return self.state / CAPTURED / f"classes={hashlib.sha256(named.encode()).hexdigest()[:12]}"

    def prepare(self) -> None:
        """Make the folder, and clear away what a killed job was writing. StoreError when it is not to be used."""
        described = self.root / "classes.json"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if self._writing.exists():  # to look for what it left takes the longer, the more hours are kept
                store_hours.remove_partial(self.root)
            if not described.exists():
                partial = described.with_suffix(".partial")
                partial.write_text(json.dumps({"count": self.classes.count, "labels": self.classes.labels}) + "\n")
                partial.replace(described)
        except OSError as error:
            raise StoreError(f"expected a folder for the state at {self.state}: {error}") from error

    @property
    def _writing(self) -> Path:
        """Is there while a job writes, and after one that was killed."""
        return self.root / "_writing"

    @contextmanager
    def written(self) -> Iterator[None]:
        """While the block runs, hours are written; a block that is not left in peace has `prepare` clear up."""
        self._writing.touch()
        yield
        self._writing.unlink(missing_ok=True)

    def variants(self, endpoint: str | None = None) -> list[Variant]:
        """The variants that have captured predictions, of all endpoints or of one."""
        found = sorted(path for path in (self.root / "hours").glob("endpoint=*/variant=*") if path.is_dir())
        named = [Variant(*(part.name.partition("=")[2] for part in (path.parent, path))) for path in found]
        return [variant for variant in named if endpoint in (None, variant.endpoint)]

    def hours(self, variant: Variant, first: int, last: int) -> Iterator[tuple[int, Path]]:
        """The hours from ``first`` to ``last``, both included and counted from 1970, that have captured lines.

        With the path by which an hour is read; its rows may stand in its day's file, see `monitoring.store.days`.
        """
        folder = self.variant_folder(variant)
        from_day, to_day = (store_hours.hour_file(folder, hour).parent for hour in (first, last))
        for day in sorted(each for each in folder.glob("day=*") if from_day <= each <= to_day):
            for path in days.hour_paths(day):
                hour = store_hours.stored_hour(path.relative_to(folder).as_posix())
                if hour is not None and first <= hour <= last:
                    yield hour, path

    def unknown_hour(self, variant: Variant) -> Path:
        """Where the malformed lines whose hour nobody knows belong; there may be no such file."""
        return self.hour_path(variant, None)

    def aggregates(self, variant: Variant, first: int, last: int, thresholds: Thresholds) -> dict[int, Aggregate]:
        """What is kept of each hour from ``first`` to ``last``."""
        passing = thresholds.by_index(self.classes.labels, self.classes.count)
        return {hour: store_hours.read_aggregate(path, passing) for hour, path in self.hours(variant, first, last)}

    def rows(self, path: Path) -> pa.Table:
        """The predictions of an hour, see `monitoring.store.hours`."""
        return store_hours.read_rows(path)

    def quarantined(self, path: Path) -> list[QuarantinedLine]:
        """The malformed lines of an hour."""
        return quarantine.read(store_hours.quarantine_file(path))

    def variant_folder(self, variant: Variant) -> Path:
        """The folder of one variant's hours."""
        return self.root / "hours" / f"endpoint={variant.endpoint}" / f"variant={variant.name}"

    def hour_path(self, variant: Variant, hour: int | None) -> Path:
        """The parquet file of an hour, in whole hours since 1970; None for lines that do not say theirs."""
        folder = self.variant_folder(variant)
        return folder / f"{UNKNOWN_HOUR}.parquet" if hour is None else store_hours.hour_file(folder, hour)

    def ledger_path(self, folder: Folder) -> Path:
        """The file that says what was read of a capture folder."""
        return self.root / "files" / folder.path / "files.json"

    def ledger(self, folder: Folder) -> Ledger:
        """What was read of a folder; a damaged ledger counts as none, and its files are read again."""
        try:
            return _decode_ledger(self.ledger_path(folder).read_bytes())
        except (FileNotFoundError, msgspec.MsgspecError):
            return {}

    def write_ledger(self, folder: Folder, ledger: Ledger) -> None:
        """Replace what is known of a capture folder, at once."""
        path = self.ledger_path(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(msgspec.json.encode(ledger))
        partial.replace(path)


def is_unchanged(entry: Entry, file: CaptureFile, path: str) -> bool:
    """Whether the file is the one that was read."""
    if entry.size != file.size:
        return False
    return entry.mtime_ns == file.mtime_ns or entry.digest == tail_digest(Path(path), file.size)
