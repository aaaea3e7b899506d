"""What one instance leaves for the one that merges: hours, ledgers, and last of all a note that it has ended.

Runs in processing containers. Layout, below the prefix of a run: ``<host>/captured/classes=.../`` as in the state,
with nothing but what this instance read; ``<host>/done.json``, see `DoneNote`. An instance that died has no note.
"""

from __future__ import annotations

import msgspec

from monitoring.job_inputs.places import Prefix
from reporting.documents.json import DocumentError, from_bytes
from reporting.job import JobError

DONE_FILE = "done.json"


class DoneNote(msgspec.Struct, frozen=True):
    """``hosts``: all of the job. ``read``: the capture files that this one read, which replace what came of them."""

    hosts: list[str]
    read: list[str]
    lines: int
    malformed: int


def notes(parts: Prefix) -> dict[str, DoneNote]:
    """The notes by host. Raises JobError, which names the hosts that left none, or when there is none at all."""
    found: dict[str, DoneNote] = {}
    for host in parts.folders():
        data = parts.read(f"{host}/{DONE_FILE}")
        if data is not None:
            found[host] = _note(host, data)
    wanted = sorted({name for note in found.values() for name in note.hosts})
    missing = [host for host in wanted if host not in found]
    if missing or not found:
        who = f"instance {', '.join(missing)}" if missing else "nobody"
        raise JobError(
            f"{who} left {'no' if missing else 'a'} whole part below {parts.uri}"
            f"{' (' + str(len(found)) + ' did)' if found else ''}: nothing was merged, run it again"
        )
    return found


def _note(host: str, data: bytes) -> DoneNote:
    try:
        return from_bytes(data, DoneNote)
    except DocumentError as error:
        raise JobError(f"instance {host} left a note that cannot be read ({error}): nothing was merged") from error
