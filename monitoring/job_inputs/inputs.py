"""The job's captures, state and labels as folders: those it was given, or copies of what it needs of them in S3.

Runs in the monitoring container. Of captures, the files are copied that the state does not know yet, and later those
whose images are shown; of the state, the hours that are looked at. What changed in the state goes back at the end,
hours before the ledgers that say what was read, so that a job killed in between reads again rather than skips.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

from monitoring.captures.folders import SUFFIXES, Folder, hour_of
from monitoring.captures.times import HOUR_US, microseconds, moment
from monitoring.job_inputs.compaction import compact_days, ripe_days
from monitoring.job_inputs.mending import FarHours
from monitoring.job_inputs.places import Found, Place, Prefix
from monitoring.store.hours import stored_hours
from monitoring.store.store import CAPTURED, Ledger, Store
from monitoring.store.window_table import EARLY, HOUR, LATE, Window
from reporting.job import JobError

_LEDGER = "/files.json"
EARLIER = "classes-"
"""The folders of the layout before 2026-12 begin so."""


class CaptureFiles:
    """The capture files, below ``folder``."""

    def __init__(self, place: Place, scratch: Path) -> None:
        self.place = place
        self.folder = scratch / "captures" if isinstance(place, Prefix) else place
        self._known: dict[str, Found] = {}

    def bring(self, store: Store, endpoint: str | None, span: Window) -> None:
        """Copy what may hold records of a time span and is not in the store."""
        if not isinstance(self.place, Prefix):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        ledgers: dict[str, Ledger] = {}
        new = []
        for found in self._listed(self.place, endpoint, span):
            path, _, name = found.name.rpartition("/")
            if path not in ledgers:
                ledgers[path] = store.ledger(Folder(path, None, "", "", ()))
            entry = ledgers[path].get(name)
            self._known[found.name] = found
            if entry is None or entry.size != found.size:
                new.append(found)
        self.place.fetch(new, self.folder)

    def ensure(self, names: Iterable[str]) -> None:
        """Copy files whose images are wanted; one that is gone is not."""
        if isinstance(self.place, Prefix):
            missing = {name for name in names if name in self._known and not (self.folder / name).exists()}
            self.place.fetch([self._known[name] for name in sorted(missing)], self.folder)

    def _listed(self, place: Prefix, endpoint: str | None, span: Window) -> Iterable[Found]:
        endpoints = [endpoint] if endpoint else place.folders()
        for name in endpoints:
            for variant in place.folders(f"{name}/"):
                for day in _days(span):
                    for found in place.objects(f"{name}/{variant}/{day}/"):
                        hour = hour_of(found.name.rpartition("/")[0])
                        if found.name.endswith(SUFFIXES) and hour is not None and _may_be_in(span, hour):
                            yield found


class StateFiles:
    """The state, below ``folder``."""

    def __init__(self, place: Place, scratch: Path) -> None:
        self.place = place
        self.folder = scratch / "state" if isinstance(place, Prefix) else place
        self._before: dict[str, tuple[int, int]] = {}
        self._there: set[str] = set()
        self._days: list[str] = []

    def load(self, spans: Sequence[Window]) -> None:
        """Copy what is known of time spans."""
        if isinstance(self.place, Prefix):
            self.folder.mkdir(parents=True, exist_ok=True)
            listed = self._fetch(self.place, spans)
            self._there = {found.name for found in listed}
            self._before = self._files()
            self._days = ripe_days([found.name for found in listed], max(span.end for span in spans))

    def _fetch(self, place: Prefix, spans: Sequence[Window]) -> list[Found]:
        """Copy what is known of the spans; all that there is."""
        listed = list(place.objects(f"{CAPTURED}/"))
        try:
            place.fetch([found for found in listed if _is_of(spans, found.name)], self.folder)
        except JobError:
            if listed == (now := list(place.objects(f"{CAPTURED}/"))):
                raise
            # Another job has put a day together meanwhile.
            listed = now
            place.fetch([found for found in listed if _is_of(spans, found.name)], self.folder)
        return listed

    def of_earlier_versions(self) -> list[str]:
        """Names of the folders that an earlier layout of the state left, whose hours nobody reads any more."""
        if isinstance(self.place, Prefix):
            names = self.place.folders()
        else:
            names = [path.name for path in self.place.iterdir() if path.is_dir()] if self.place.is_dir() else []
        return sorted(name for name in names if name.startswith(EARLIER))

    def save(self) -> None:
        """Copy back what has changed, and compact some days."""
        if isinstance(self.place, Prefix):
            FarHours(self.place, self._there - self._before.keys()).join(self.folder)
            now = self._files()
            changed = {name for name in {*now, *self._before} if now.get(name) != self._before.get(name)}
            ledgers = {name for name in changed if name.endswith(_LEDGER)}
            self.place.put(sorted(changed - ledgers), self.folder)
            self.place.put(sorted(ledgers), self.folder)
            compact_days(self.place, self._days)

    def _files(self) -> dict[str, tuple[int, int]]:
        found = {}
        for path in self.folder.rglob("*"):
            if path.is_file():
                status = path.stat()
                found[path.relative_to(self.folder).as_posix()] = (status.st_size, status.st_mtime_ns)
        return found


def labels_folder(place: Place, scratch: Path, span: Window) -> Path:
    """Ground truth from the start of a time span on, since labels come later than what they are about."""
    if not isinstance(place, Prefix):
        return place
    folder = scratch / "ground-truth"
    folder.mkdir(parents=True, exist_ok=True)
    place.fetch(place.objects(after=f"{span.start:%Y/%m/%d/%H}"), folder)
    return folder


def _days(span: Window) -> list[str]:
    first, last = (span.start - EARLY).date(), (span.end + LATE).date()
    return [f"{first + timedelta(days=number):%Y/%m/%d}" for number in range((last - first).days + 1)]


def _may_be_in(span: Window, hour: int) -> bool:
    at = moment(hour * HOUR_US)
    return span.start - EARLY < at + HOUR and at < span.end + LATE


def _is_of(spans: Sequence[Window], name: str) -> bool:
    """Whether a file of the state may be needed: all that belongs to no hour, and the hours of the spans."""
    if name.endswith(_LEDGER):
        hour = hour_of(name.removesuffix(_LEDGER))
        hours = None if hour is None else (hour, hour)
    else:
        hours = stored_hours(name)
    return hours is None or any(
        microseconds(span.start - 2 * EARLY) // HOUR_US <= hours[1]
        and hours[0] <= microseconds(span.end + LATE) // HOUR_US
        for span in spans
    )
