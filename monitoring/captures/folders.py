"""Find capture files.

Runs in the monitoring container. Reads the names ``<endpoint>/<variant>/yyyy/mm/dd/hh/*.jsonl`` (or ``.jsonl.gz``)
below a folder; the upper levels may be missing when the folder is already an endpoint's or a variant's own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from monitoring.captures.times import HOUR_US, microseconds

UNKNOWN = "unknown"
SUFFIXES = (".jsonl", ".jsonl.gz")
_HOUR_FOLDER = re.compile(r"(?:^|/)(20\d\d)/(\d\d)/(\d\d)/(\d\d)$")


class CaptureFile(msgspec.Struct, frozen=True, gc=False):
    """A file as the folder lists it."""

    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of capture files: its path below the captures' root, its hour if it is an hour's, and whose it is."""

    path: str
    hour: int | None
    """Hours since 1970."""
    endpoint: str
    variant: str
    files: tuple[CaptureFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    def file_path(self, file: CaptureFile) -> str:
        """The path of one of its files, below the captures."""
        return f"{self.path}/{file.name}" if self.path != "." else file.name


def folders(root: Path) -> Iterator[Folder]:
    """Every folder with capture files, in the order of their paths, so each variant's by time. Raises OSError."""
    return _folders(str(root), "")


def _folders(root: str, path: str) -> Iterator[Folder]:
    below, files = [], []
    with os.scandir(f"{root}/{path}") as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.name)
            elif entry.name.endswith(SUFFIXES) and entry.is_file():
                status = entry.stat()
                files.append(CaptureFile(entry.name, status.st_size, status.st_mtime_ns))
    if files:
        endpoint, variant = _origin(path)
        yield Folder(path or ".", hour_of(path), endpoint, variant, tuple(sorted(files, key=lambda file: file.name)))
    for name in sorted(below):
        yield from _folders(root, f"{path}/{name}" if path else name)


def hour_of(path: str) -> int | None:
    """Hours since 1970 of an hour's folder."""
    match = _HOUR_FOLDER.search(path)
    if match is None:
        return None
    try:
        year, month, day, hour = map(int, match.groups())
        return microseconds(datetime(year, month, day, hour, tzinfo=UTC)) // HOUR_US
    except ValueError:
        return None


def _origin(path: str) -> tuple[str, str]:
    """Endpoint and variant, as far as the path names them."""
    above = [os.fsencode(part).decode("utf-8", "replace") for part in Path(path).parts[:-4]]
    return (above[-2] if len(above) > 1 else UNKNOWN), (above[-1] if above else UNKNOWN)


def shared(found: list[Folder], count: int) -> list[list[Folder]]:
    """The folders in so many stretches of about the same number of bytes."""
    whole = sum(folder.size for folder in found)
    parts: list[list[Folder]] = [[] for _ in range(max(1, count))]
    before = 0
    for folder in found:
        parts[min(len(parts) - 1, before * len(parts) // max(1, whole))].append(folder)
        before += folder.size
    return [part for part in parts if part] or [[]]
