"""The captured traffic of a time window as one table.

Runs in the monitoring container. Reads the store of captured predictions (`monitoring.store.store`) and, for the
images, the capture files themselves. Nothing is dropped silently: a malformed line is kept with its file, line number
and reason, and duplicates and lines of other windows are counted. Images stay on disk until asked for.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]  # no types are published

from monitoring.captures import quarantine
from monitoring.captures.files import line_at
from monitoring.captures.folders import UNKNOWN, Folder
from monitoring.captures.line import Classes, MalformedLineError, input_bytes, parse_document
from monitoring.captures.quarantine import SMOKE_TEST, QuarantinedLine
from monitoring.captures.times import HOUR_US, MICROSECOND, microseconds, moment
from monitoring.store import arrays as store_arrays
from monitoring.store.aggregates import Thresholds
from monitoring.store.hours import empty_rows
from monitoring.store.store import Store, StoreError, Variant
from monitoring.store.update import Update, update

# A file is named after the moment it was opened or flushed, not after each record in it: a record may sit in the
# folder of an hour before its own (a buffer opened earlier) and, more often, of a later one (delivery takes minutes).
EARLY = timedelta(hours=1)
LATE = timedelta(hours=2)
HOUR = timedelta(hours=1)
# A challenger answers copies of the traffic.
SHADOW = "Shadow"
# What a model with other classes answers.
_OF_OTHER_CLASSES = frozenset({"class count", "unknown class"})

CaptureError = StoreError


@dataclass(frozen=True)
class Window:
    """The times ``start <= t < end``, both in UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise CaptureError(f"the window's start must lie before its end, got {self.start} to {self.end}")
        if self.start.year < 1970 or self.end.year > 2200:
            raise CaptureError(f"the window must lie between 1970 and 2200, got {self.start} to {self.end}")

    def __contains__(self, time: datetime) -> bool:
        return self.start <= time < self.end

    @property
    def hours(self) -> tuple[int, int]:
        """The first and the last hour that it touches, counted from 1970."""
        return microseconds(self.start) // HOUR_US, microseconds(self.end - MICROSECOND) // HOUR_US

    def may_be_in(self, folder: Folder) -> bool:
        """Whether a folder of capture files may hold records of the window."""
        if folder.hour is None:
            return True
        hour = moment(folder.hour * HOUR_US)
        return self.start - EARLY < hour + HOUR and hour < self.end + LATE


@dataclass(frozen=True)
class Live:
    """The version whose answers are looked at; its model package and when it began to serve, where these are known."""

    package: str = ""
    deployed_at: datetime | None = None

    def answered(self, package: str | None) -> bool:
        """Whether an answer that names a model package may be its own. A verbose answer may name something else."""
        return not (self.package and package and package.startswith("arn:") and package != self.package)

    def counts(self, row: QuarantinedLine) -> bool:
        """Whether a malformed line is one; another version's answer is well-formed with the classes of that version."""
        if row.kind not in _OF_OTHER_CLASSES:
            return True
        if row.package and self.package:
            return self.answered(row.package)
        return self.deployed_at is None or row.time_us is None or moment(row.time_us) >= self.deployed_at


@dataclass(frozen=True)
class LeftOut:
    """Lines of the window that are no traffic of the version's."""

    smoke_tests: int = 0
    """With what a deployment tests the endpoint."""
    shadow: int = 0
    """Copies that a challenger answered."""
    other_versions: int = 0
    """Answers of versions with other classes."""


@dataclass(frozen=True)
class Captures:
    """The captured traffic of one window.

    ``frame`` has one row per prediction, by time: ``event_id``, ``inference_id`` (None where none was sent), ``time``
    (UTC), ``endpoint``, ``variant``, ``probabilities`` (tuple of floats), ``predicted`` (class index), ``confidence``
    (its probability), ``model_version`` (None where the line does not name it), and ``file`` (index into ``files``) and
    ``offset`` (byte), from which the image is read.
    """

    folder: Path
    frame: pd.DataFrame
    files: tuple[str, ...]
    quarantined: tuple[QuarantinedLine, ...]
    duplicates: int
    outside_window: int
    left_out: LeftOut = LeftOut()

    @property
    def malformed(self) -> int:
        """How many lines cannot be used."""
        return _lines(list(self.quarantined))

    def image(self, row: int) -> bytes | None:
        """The captured request of ``frame``'s row at this position, or None where it was not captured or is gone."""
        place = self.frame.iloc[row]
        try:
            line = line_at(self.folder / self.files[int(place["file"])], int(place["offset"]))
            return input_bytes(parse_document(line))
        except (FileNotFoundError, MalformedLineError):
            return None

    def write_quarantine(self, path: Path) -> None:
        """Write every malformed line as JSON lines, see `monitoring.captures.quarantine`."""
        path.write_bytes(quarantine.encode(self.quarantined))


def read_captures(folder: Path, window: Window, class_count: int, endpoint: str | None = None) -> Captures:
    """Read the predictions in the window; with ``endpoint``, only those below a folder of that name.

    A malformed line counts for this window when its own time says so or, where that cannot be read, when its hour
    folder overlaps the window; so successive windows of whole hours count it once. Raises CaptureError.
    """
    with tempfile.TemporaryDirectory(prefix="captures-") as state:
        store = Store(Path(state), Classes(class_count))
        done = update(store, folder, Thresholds(0.0), wanted=_wanted(window, endpoint))
        return stored_captures(store, folder, window, endpoint, done=done)


def _wanted(window: Window, endpoint: str | None) -> Callable[[Folder], bool]:
    return lambda folder: window.may_be_in(folder) and (endpoint is None or folder.endpoint in (endpoint, UNKNOWN))


def stored_captures(
    store: Store,
    folder: Path,
    window: Window,
    endpoint: str | None = None,
    *,
    done: Update | None = None,
    live: Live | None = None,
) -> Captures:
    """The predictions in the window that the store has; ``folder`` is where the capture files of `image` are.

    ``done``: the update that came before; lines that it read and that belong to other windows are counted.
    """
    parts: list[tuple[Variant, pa.Table]] = []
    bad: list[QuarantinedLine] = []
    shadow = 0
    for variant in store.variants():
        if endpoint is not None and variant.endpoint not in (endpoint, UNKNOWN):
            continue
        for _, path in store.hours(variant, *window.hours):
            rows = store.rows(path)
            if variant.name == SHADOW:
                shadow += _inside(rows, window)
                continue
            parts.append((variant, rows))
            bad += _within(store.quarantined(path), window)
        if variant.name != SHADOW:
            bad += store.quarantined(store.unknown_hour(variant))
    frame, files, duplicates, tested = _frame(parts, window)
    malformed = [row for row in bad if not row.of_smoke_test and (live or Live()).counts(row)]
    tests = [row for row in bad if row.of_smoke_test]
    files = list(dict.fromkeys([*(done.files if done else ()), *files, *(row.file for row in malformed)]))
    frame["file"] = frame["file"].map({name: at for at, name in enumerate(files)}).astype(np.int64)
    in_window = len(frame) + duplicates + tested + shadow + _lines(bad)
    return Captures(
        folder=folder,
        frame=frame,
        files=tuple(files),
        quarantined=tuple(malformed),
        duplicates=duplicates,
        outside_window=max(0, done.lines - in_window) if done else 0,
        left_out=LeftOut(tested + _lines(tests), shadow, _lines(bad) - _lines(malformed) - _lines(tests)),
    )


def _lines(rows: list[QuarantinedLine]) -> int:
    return sum(row.lines for row in rows)


def _inside(rows: pa.Table, window: Window) -> int:
    times = store_arrays.column(rows, "time", np.int64)
    return int(((times >= microseconds(window.start)) & (times < microseconds(window.end))).sum())


def _within(rows: list[QuarantinedLine], window: Window) -> list[QuarantinedLine]:
    """The malformed lines of the window; one without a time of its own counts with its hour, which overlaps it."""
    return [row for row in rows if row.time_us is None or moment(row.time_us) in window]


def _frame(parts: list[tuple[Variant, pa.Table]], window: Window) -> tuple[pd.DataFrame, list[str], int, int]:
    """The window's predictions by time; their files; how many more are duplicates, and how many of smoke tests."""
    none = [(Variant(UNKNOWN, UNKNOWN), empty_rows(class_count=1))]
    whole = pd.concat([_hour_frame(*part) for part in parts or none], ignore_index=True)
    inside = whole[(whole["time"] >= window.start) & (whole["time"] < window.end)]
    of_tests = np.array([str(identity).startswith(SMOKE_TEST) for identity in inside["inference_id"]], dtype=bool)
    tested, inside = int(of_tests.sum()), inside[~of_tests]
    # A folder that was copied beside itself holds the same events, whose hours do not know of each other.
    unique = inside[~(inside["duplicate"] | inside["event_id"].duplicated())].drop(columns="duplicate")
    unique = unique.sort_values("time", kind="stable", ignore_index=True)
    for name in ("endpoint", "variant"):
        unique[name] = pd.Categorical(unique[name])
    return unique, list(unique["file"].unique()), len(inside) - len(unique), tested


def _hour_frame(variant: Variant, rows: pa.Table) -> pd.DataFrame:
    texts = {
        name: pd.Series(rows.column(name).to_pylist(), dtype=object)
        for name in ("event_id", "inference_id", "model_version", "file")
    }
    scores = [tuple(each) for each in rows.column("probabilities").to_pylist()]
    return pd.DataFrame(
        {
            "event_id": texts["event_id"],
            "inference_id": texts["inference_id"],
            "time": pd.DatetimeIndex(rows.column("time").to_numpy().astype("datetime64[us]")).tz_localize("UTC"),
            "endpoint": variant.endpoint,
            "variant": variant.name,
            "probabilities": pd.Series(scores, dtype=object),
            "predicted": rows.column("predicted").to_numpy().astype(np.int64),
            "confidence": rows.column("confidence").to_numpy(),
            "model_version": texts["model_version"],
            "file": texts["file"],
            "offset": rows.column("offset").to_numpy(),
            "duplicate": rows.column("duplicate").to_numpy(),
        }
    )
