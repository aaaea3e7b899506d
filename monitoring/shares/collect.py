"""Reads one instance's share of capture folders: ``python -m monitoring.shares.collect --hours ...``.

Runs in a processing container, of which there may be many. Reads a folder of tickets, each a file that names one folder
of captures (``endpoint/variant/yyyy/mm/dd/hh``): they are the job's input ``hours``, divided among the instances
(ShardedByS3Key), so that no hour's folder is read twice. Copies from S3 one folder of captures at a time, and leaves
what it found as `monitoring.shares.part` describes. The state is read for what is known already, and never written.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import msgspec

from monitoring.captures.folders import SUFFIXES, Folder
from monitoring.captures.line import Classes
from monitoring.job_inputs.places import Found, Prefix
from monitoring.shares.part import DONE_FILE, DoneNote
from monitoring.store.aggregates import Thresholds
from monitoring.store.store import Ledger, Store, StoreError
from monitoring.store.update import Update, update
from reporting.job import MESSAGE_FILE, JobError, run_job

PROCESSES = 2


class ResourceConfig(TypedDict):
    """``/opt/ml/config/resourceconfig.json``: which instance this is, and of which."""

    current_host: str
    hosts: list[str]


def main(argv: Sequence[str] | None = None) -> int:
    """Read the share; the exit status."""
    given = _parser().parse_args(argv)

    def work() -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="share-") as scratch:
                print(collect(given, Path(scratch)))
        except (StoreError, OSError) as error:
            raise JobError(str(error)) from error

    return run_job("collect", work, given.message_file)


def collect(given: argparse.Namespace, scratch: Path) -> str:
    """What was read, in a sentence."""
    config: ResourceConfig = json.loads(given.resource_config.read_text(encoding="utf-8"))
    captures, state = Prefix(given.captures), Prefix(given.state)
    store = Store(scratch / "state", Classes.of(given.classes.split(",")))
    store.prepare()
    thresholds = Thresholds.of_document(json.loads(given.threshold))
    done = Update()
    for folder in tickets(given.hours):
        _bring_ledger(state, store, folder)
        _add(done, _read(captures, store, thresholds, folder, scratch / "captures"))
    part = Prefix(f"{given.parts.rstrip('/')}/{config['current_host']}")
    names = [path.relative_to(store.state).as_posix() for path in store.state.rglob("*") if path.is_file()]
    part.put(sorted(names), store.state)
    note = DoneNote(config["hosts"], done.files, done.lines, done.malformed)
    part.write(DONE_FILE, msgspec.json.encode(note), "application/json")
    return (
        f"{config['current_host']} read {done.lines:,} lines of {len(done.files):,} files, {done.malformed:,} malformed"
    )


def tickets(hours: Path) -> list[str]:
    """The folders of captures that the files in a folder name."""
    return sorted(path.read_text(encoding="utf-8").strip() for path in hours.rglob("*") if path.is_file())


def _bring_ledger(state: Prefix, store: Store, folder: str) -> None:
    path = store.ledger_path(_folder(folder))
    data = state.read(path.relative_to(store.state).as_posix())
    if data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _read(captures: Prefix, store: Store, thresholds: Thresholds, folder: str, target: Path) -> Update:
    """One folder of captures, whose copies are removed again: a disk holds hours, not months."""
    ledger = store.ledger(_folder(folder))
    new = [
        Found(f"{folder}/{found.name}", found.size, found.modified_ns)
        for found in Prefix(f"{captures.uri}/{folder}").objects()
        if found.name.endswith(SUFFIXES) and _is_new(ledger, found)
    ]
    target.mkdir(parents=True, exist_ok=True)
    captures.fetch(new, target)
    done = update(store, target, thresholds, min(PROCESSES, os.cpu_count() or 1))
    shutil.rmtree(target)
    return done


def _is_new(ledger: Ledger, found: Found) -> bool:
    entry = ledger.get(found.name)
    return entry is None or entry.size != found.size


def _folder(path: str) -> Folder:
    return Folder(path, None, "", "", ())


def _add(whole: Update, part: Update) -> None:
    whole.files += part.files
    whole.lines += part.lines
    whole.malformed += part.malformed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m monitoring.shares.collect", description="Read a share of captures."
    )
    job = Path("/opt/ml/processing")
    parser.add_argument("--hours", type=Path, default=job / "input/hours", help="folder of this instance's tickets")
    parser.add_argument("--captures", required=True, help="s3:// of the captures")
    parser.add_argument("--state", required=True, help="s3:// of what is kept between two runs")
    parser.add_argument("--parts", required=True, help="s3:// for what each instance leaves")
    parser.add_argument("--classes", required=True, help="labels in the order of the probabilities, a,b")
    parser.add_argument("--threshold", default='{"default": 0.93}', help="the document of the threshold parameter")
    parser.add_argument("--resource-config", type=Path, default=Path("/opt/ml/config/resourceconfig.json"))
    parser.add_argument("--message-file", type=Path, default=MESSAGE_FILE, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
