"""Read captured endpoint traffic of a time window into one table.

Runs in the monitoring container. Reads ``<endpoint>/<variant>/yyyy/mm/dd/hh/*.jsonl`` below a folder; the upper
levels may be missing when the folder is already an endpoint's or a variant's own. Nothing is dropped silently: a
malformed line is kept with its file, line number and reason, and duplicates and lines of other windows are counted.
Images stay on disk until asked for.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from monitoring.capture_line import (
    MalformedLineError,
    inference_time,
    input_bytes,
    parse_document,
    parse_prediction,
)

# A file is named after the moment it was opened or flushed, not after each record in it: a record may sit in the
# folder of an hour before its own (a buffer opened earlier) and, more often, of a later one (delivery takes minutes).
EARLY = timedelta(hours=1)
LATE = timedelta(hours=2)
HOUR = timedelta(hours=1)
UNKNOWN = "unknown"

_HOUR_FOLDER = re.compile(r"(?:^|/)(20\d\d)/(\d\d)/(\d\d)/(\d\d)$")


class CaptureError(Exception):
    """The folder of captures cannot be read, or the window is empty by construction."""


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


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A malformed line: where it stands, why it cannot be used, and at which byte it starts."""

    file: str
    line: int
    reason: str
    offset: int


@dataclass(frozen=True)
class Captures:
    """The captured traffic of one window.

    ``frame`` has one row per prediction, by time: ``event_id``, ``inference_id`` (None where none was sent), ``time``
    (UTC), ``endpoint``, ``variant``, ``probabilities`` (tuple of floats), ``predicted`` (class index), ``confidence``
    (its probability), and ``file`` (index into ``files``) and ``offset`` (byte), from which the image is read.
    """

    folder: Path
    frame: pd.DataFrame
    files: tuple[str, ...]
    quarantined: tuple[Quarantined, ...]
    duplicates: int
    outside_window: int

    def image(self, row: int) -> bytes | None:
        """The captured request of ``frame``'s row at this position, or None where the input was not captured."""
        place = self.frame.iloc[row]
        return input_bytes(parse_document(self._line(self.files[int(place["file"])], int(place["offset"]))))

    def write_quarantine(self, path: Path) -> None:
        """Write every malformed line, whole, as JSON lines with ``file``, ``line``, ``reason`` and ``text``."""
        with path.open("w", encoding="utf-8") as out:
            for bad in self.quarantined:
                text = self._line(bad.file, bad.offset).rstrip(b"\r\n").decode("utf-8", "backslashreplace")
                out.write(
                    json.dumps({"file": bad.file, "line": bad.line, "reason": bad.reason, "text": text}) + "\n",
                )

    def _line(self, file: str, offset: int) -> bytes:
        with (self.folder / file).open("rb") as source:
            source.seek(offset)
            return source.readline()


def read_captures(folder: Path, window: Window, class_count: int, endpoint: str | None = None) -> Captures:
    """Read the predictions in the window; with ``endpoint``, only those below a folder of that name.

    A malformed line counts for this window when its own time says so or, where that cannot be read, when its hour
    folder overlaps the window; so successive windows of whole hours count it once. Raises CaptureError.
    """
    if not folder.is_dir():
        raise CaptureError(f"expected a folder of captured traffic at {folder}, found none")
    reader = _Reader(window, class_count)
    for file, hour in _files(folder, window):
        file_endpoint, variant = _origin(file)
        if endpoint is None or file_endpoint in (endpoint, UNKNOWN):
            reader.read(folder, file, hour, (file_endpoint, variant))
    return reader.captures(folder)


def _files(folder: Path, window: Window) -> Iterator[tuple[str, datetime | None]]:
    """Paths relative to the folder of the files that may hold records of the window, with their folder's hour."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        relative = Path(parent).relative_to(folder).as_posix()
        hour = _hour(relative)
        if hour is not None and not (window.start - EARLY < hour + HOUR and hour < window.end + LATE):
            continue
        for name in sorted(names):
            if name.endswith(".jsonl"):
                yield (Path(relative) / name).as_posix(), hour


def _hour(relative: str) -> datetime | None:
    match = _HOUR_FOLDER.search(relative)
    if match is None:
        return None
    try:
        return datetime.strptime("/".join(match.groups()), "%Y/%m/%d/%H").replace(tzinfo=UTC)
    except ValueError:
        return None


def _origin(file: str) -> tuple[str, str]:
    """Endpoint and variant, as far as the path names them."""
    above = [os.fsencode(part).decode("utf-8", "replace") for part in Path(file).parts[:-5]]
    return (above[-2] if len(above) > 1 else UNKNOWN), (above[-1] if above else UNKNOWN)


@dataclass
class _Reader:
    """Collects columns rather than rows: a million of small dictionaries would cost a gigabyte."""

    window: Window
    class_count: int
    files: list[str] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    duplicates: int = 0
    outside_window: int = 0
    places: list[tuple[int, int]] = field(default_factory=list)
    origins: list[tuple[str, str]] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)
    inference_ids: list[str | None] = field(default_factory=list)
    probabilities: list[tuple[float, ...]] = field(default_factory=list)
    event_ids: dict[str, None] = field(default_factory=dict)

    def read(self, folder: Path, file: str, hour: datetime | None, origin: tuple[str, str]) -> None:
        self.files.append(file)
        offset = 0
        with (folder / file).open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    self._line(line, Quarantined(file, number, "", offset), hour, origin)
                offset += len(line)

    def _line(self, line: bytes, place: Quarantined, hour: datetime | None, origin: tuple[str, str]) -> None:
        time = None
        try:
            document = parse_document(line)
            time = inference_time(document)
            if time not in self.window:
                self.outside_window += 1
                return
            prediction = parse_prediction(document, self.class_count)
        except MalformedLineError as error:
            if time is None and hour is not None and not self._overlaps(hour):
                self.outside_window += 1
            else:
                self.quarantined.append(Quarantined(place.file, place.line, str(error), place.offset))
            return
        if prediction.event_id in self.event_ids:
            self.duplicates += 1
            return
        self.event_ids[prediction.event_id] = None
        self.inference_ids.append(prediction.inference_id)
        self.probabilities.append(prediction.probabilities)
        self.times.append(time)
        self.origins.append(origin)
        self.places.append((len(self.files) - 1, place.offset))

    def _overlaps(self, hour: datetime) -> bool:
        return self.window.start < hour + HOUR and hour < self.window.end

    def captures(self, folder: Path) -> Captures:
        scores = np.array(self.probabilities, dtype=np.float64).reshape(-1, self.class_count)
        places = np.array(self.places, dtype=np.int64).reshape(-1, 2)
        times = np.array([time.replace(tzinfo=None) for time in self.times], dtype="datetime64[us]")
        frame = pd.DataFrame(
            {
                "event_id": pd.Series(list(self.event_ids), dtype=object),
                "inference_id": pd.Series(self.inference_ids, dtype=object),
                "time": pd.DatetimeIndex(times).tz_localize("UTC"),
                "endpoint": pd.Categorical([origin[0] for origin in self.origins]),
                "variant": pd.Categorical([origin[1] for origin in self.origins]),
                "probabilities": pd.Series(self.probabilities, dtype=object),
                "predicted": scores.argmax(axis=1) if len(scores) else np.empty(0, dtype=np.int64),
                "confidence": scores.max(axis=1, initial=0.0),
                "file": places[:, 0],
                "offset": places[:, 1],
            }
        )
        return Captures(
            folder=folder,
            frame=frame.sort_values("time", kind="stable", ignore_index=True),
            files=tuple(self.files),
            quarantined=tuple(self.quarantined),
            duplicates=self.duplicates,
            outside_window=self.outside_window,
        )
