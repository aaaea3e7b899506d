"""Capture files whose predictions name a time far from the hour of their folder: some instance has a wrong clock.

Runs in the monitoring container. Reads the ledgers of what was read, so that each report says it, not only the one that
read the files. What lies in another hour of the window is counted with its predictions; here is what is in no window.
"""

from __future__ import annotations

from monitoring.captures.folders import Folder, hour_of
from monitoring.captures.times import HOUR_US
from monitoring.store.store import Store
from monitoring.store.window_table import EARLY, LATE, Window
from reporting.wording import count

_EARLY, _LATE = (int(span.total_seconds()) * 1_000_000 // HOUR_US for span in (EARLY, LATE))


def far_files(store: Store, endpoint: str | None, window: Window) -> list[str]:
    """Capture files in the window's folders that hold predictions of hours far outside of it, by name."""
    first, last = window.hours
    root, found = store.root / "files", []
    for path in sorted((root / endpoint if endpoint else root).rglob("files.json")):
        named = path.parent.relative_to(root).as_posix()
        hour = hour_of(named)
        if hour is not None and first <= hour <= last:
            ledger = store.ledger(Folder(named, hour, "", "", ()))
            found += [f"{named}/{name}" for name, entry in ledger.items() if _is_far(entry.hours, first, last)]
    return found


def _is_far(hours: list[int | None], first: int, last: int) -> bool:
    return any(hour is not None and not first - _LATE <= hour <= last + _EARLY for hour in hours)


def clock_notes(store: Store, endpoint: str | None, window: Window) -> list[str]:
    """In one sentence, or nothing."""
    far = far_files(store, endpoint, window)
    if not far:
        return []
    files = count(len(far), "file")
    return [f"{files} whose predictions name an hour far from this window, since a clock is wrong, as in {far[0]}"]
