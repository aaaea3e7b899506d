"""Puts what all instances read into the state: ``python -m monitoring.shares.merge --parts ... --state ...``.

Runs in one processing container, after `monitoring.shares.collect` has ended on all instances. An hour that one of them
alone read and the state does not have is copied within S3, unseen; the others are merged, row by row, and their
aggregates with them. Hours come before the ledgers that say what was read, so that a job killed in between is run again
with the same result. Where an instance left no whole part, nothing is written.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from monitoring.captures import quarantine
from monitoring.captures.line import Classes
from monitoring.job_inputs.mending import DAMAGED
from monitoring.job_inputs.places import Found, Prefix
from monitoring.shares.part import DONE_FILE, notes
from monitoring.store import days
from monitoring.store import hours as store_hours
from monitoring.store.aggregates import Floats, Thresholds
from monitoring.store.days import DAY_FILE
from monitoring.store.store import CAPTURED, Store, StoreError
from reporting.job import MESSAGE_FILE, JobError, run_job

_LEDGER = "/files.json"
_CLASSES = "/classes.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Merge; the exit status."""
    given = _parser().parse_args(argv)

    def work() -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="merge-") as scratch:
                print(merge(given, Path(scratch)))
        except (StoreError, OSError) as error:
            raise JobError(str(error)) from error

    return run_job("merge", work, given.message_file)


@dataclass(frozen=True)
class _Merging:
    """Between where and where, and with what is merged."""

    parts: Prefix
    state: Prefix
    scratch: Path
    read: frozenset[str]
    """Capture files whose rows replace what came of them before."""
    thresholds: Floats
    days: frozenset[str]
    """Files of compacted days in the state."""


def merge(given: argparse.Namespace, scratch: Path) -> str:
    """What was merged, in a sentence."""
    parts, state = Prefix(given.parts), Prefix(given.state)
    found = notes(parts)
    store = Store(scratch / "state", Classes.of(given.classes.split(",")))
    passing = Thresholds.of_document(json.loads(given.threshold)).by_index(store.classes.labels, store.classes.count)
    read = frozenset(name for note in found.values() for name in note.read)
    days_files = frozenset(each.name for each in state.objects(f"{CAPTURED}/") if each.name.endswith(f"/{DAY_FILE}"))
    merging = _Merging(parts, state, scratch, read, passing, days_files)
    hosts = _hosts_by_name(parts)
    hours = [name for name in hosts if name.endswith(".parquet")]
    for name in hours:
        try:
            _merge_hour(merging, name, hosts)
        except DAMAGED as error:
            raise JobError(
                f"{state.uri}/{name}, or what an instance left of it, is damaged ({type(error).__name__}): have a "
                "report about that hour written, which builds it again, and collect again; no file counts as read"
            ) from error
    for name in sorted(hosts, key=lambda each: (each.endswith(_LEDGER), each)):
        if name.endswith((_LEDGER, _CLASSES)):
            state.copy(parts, f"{hosts[name][0]}/{name}", name)
    lines = sum(note.lines for note in found.values())
    return f"{lines:,} lines of {len(read):,} files, read by {len(found)} instances, are in {len(hours)} hours"


def _hosts_by_name(parts: Prefix) -> dict[str, list[str]]:
    """Which instances left a file of a name."""
    hosts: dict[str, list[str]] = defaultdict(list)
    for found in parts.objects():
        host, _, name = found.name.partition("/")
        if name != DONE_FILE:
            hosts[name].append(host)
    return dict(hosts)


def _merge_hour(merging: _Merging, name: str, hosts: Mapping[str, list[str]]) -> None:
    beside = store_hours.quarantine_file(Path(name)).as_posix()
    target = merging.scratch / "merged" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    known = _bring_known(merging, name, target)
    if not known and len(hosts[name]) == 1:
        for each in (name, beside):
            if each in hosts:
                merging.state.copy(merging.parts, f"{hosts[each][0]}/{each}", each)
        return
    if known:
        store_hours.quarantine_file(target).write_bytes(merging.state.read(beside) or b"")
    _add_parts(merging, target, name, beside, hosts)
    merging.state.put([beside, name], merging.scratch / "merged")
    for path in (target, store_hours.quarantine_file(target)):
        path.unlink(missing_ok=True)


def _bring_known(merging: _Merging, name: str, target: Path) -> bool:
    """Copy what the state has of an hour, in a file of its own or of its day; whether it has anything."""
    if data := merging.state.read(name):
        target.write_bytes(data)
        return True
    day = target.with_name(DAY_FILE)
    day_name = day.relative_to(merging.scratch / "merged").as_posix()
    if day_name in merging.days and not day.exists():
        merging.state.fetch([Found(day_name, 0, 0)], merging.scratch / "merged")
    return days.is_kept(target)


def _add_parts(merging: _Merging, target: Path, name: str, beside: str, hosts: Mapping[str, list[str]]) -> None:
    folder = merging.scratch / "parts"
    wanted = [f"{host}/{each}" for each in (name, beside) for host in hosts.get(each, [])]
    merging.parts.fetch([Found(each, 0, 0) for each in wanted], folder)
    paths = [folder / host / name for host in hosts[name]]
    rows = [store_hours.read_rows(path).drop_columns(["duplicate"]) for path in paths]
    malformed = [row for path in paths for row in quarantine.read(store_hours.quarantine_file(path))]
    store_hours.write_hour(target, rows, malformed, merging.read, merging.thresholds)
    for each in wanted:
        (folder / each).unlink()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m monitoring.shares.merge", description="Merge what instances read.")
    parser.add_argument("--parts", required=True, help="s3:// of what each instance left")
    parser.add_argument("--state", required=True, help="s3:// of what is kept between two runs")
    parser.add_argument("--classes", required=True, help="labels in the order of the probabilities, a,b")
    parser.add_argument("--threshold", default='{"default": 0.93}', help="the document of the threshold parameter")
    parser.add_argument("--message-file", type=Path, default=MESSAGE_FILE, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
