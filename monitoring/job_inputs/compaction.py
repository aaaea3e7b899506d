"""Compacts days of a state in S3: the hours' files become one, see `monitoring.store.compact`.

Runs in the monitoring container, at the end of a report. The day's file is put before the hours' files go, and of these
none that changed meanwhile. A job killed in between leaves both, which the next one sees.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from monitoring.job_inputs.mending import DAMAGED
from monitoring.job_inputs.places import Prefix
from monitoring.store.compact import compact_day
from monitoring.store.days import DAY_FILE
from monitoring.store.hours import stored_hours
from reporting.job import JobError

RIPE = timedelta(days=2)
"""After a day's end hardly anything comes for it."""
MOST_DAYS = 7
"""As many in one report, so that it takes no longer after a month without any."""


def ripe_days(names: Iterable[str], now: datetime) -> list[str]:
    """The folders of days that ended long enough ago and have files to merge, the newest first; not too many."""
    found = Counter(name.rpartition("/")[0] for name in names if _is_rows(name))
    last = f"day={now - RIPE:%Y-%m-%d}"
    ripe = [folder for folder, count in found.items() if count > 1 and folder.rpartition("/")[2] < last]
    return sorted(ripe, key=lambda folder: (folder.rpartition("/")[2], folder), reverse=True)[:MOST_DAYS]


def compact_days(state: Prefix, folders: Sequence[str]) -> None:
    """Compact days, each for itself. What speaks against it is said in one line, and the report stands."""
    for folder in folders:
        try:
            with tempfile.TemporaryDirectory(prefix="compact-") as scratch:
                _compact(state, folder, Path(scratch))
        except (JobError, *DAMAGED) as error:
            print(f"{folder} was not compacted: {' '.join(str(error).split())}", file=sys.stderr)


def _compact(state: Prefix, folder: str, scratch: Path) -> None:
    seen = [found for found in state.objects(f"{folder}/") if _is_rows(found.name)]
    state.fetch(seen, scratch)
    if not compact_day(scratch / folder):
        return
    state.put([f"{folder}/{DAY_FILE}"], scratch)
    now = set(state.objects(f"{folder}/"))
    state.remove([found.name for found in seen if found in now and not found.name.endswith(DAY_FILE)])


def _is_rows(name: str) -> bool:
    """Whether a file of the state holds predictions of a day's hours."""
    file = name.rpartition("/")[2]
    return stored_hours(name) is not None and file.endswith(".parquet") and not file.startswith("_")
