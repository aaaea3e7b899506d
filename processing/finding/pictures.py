"""Labelled pictures as somebody has them: a name, a class, perhaps a split, and where the bytes are.

Runs in the filter job. What desktops, Hadoop and unpackers leave beside pictures is known by name and skipped.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from processing.dataset.bucket import read_object
from processing.finding.names import is_utf8, shown
from reporting.job import JobError

SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif"}
"""In small letters; cameras and Windows write them in capitals."""
LEFTOVERS = {
    *("thumbs.db", "desktop.ini", "ehthumbs.db", "picasa.ini", "icon\r", "license", "licence"),
    *("__macosx", "_success", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found"),
}
"""What desktops, disks and network storage leave, in small letters; some are folders with small copies of pictures."""
HADOOP_FOLDER = "_$folder$"
NO_TEXT = "names that are not UTF-8"
NO_SUFFIX = "files without a suffix"
MAX_FILE_BYTES = 256 * 2**20
NAMED = 5
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""How folders and columns call a split, in small letters."""


@dataclass(frozen=True)
class Slice:
    """The bytes of a picture inside a larger file, such as a tar file."""

    path: Path
    start: int
    size: int


@dataclass(frozen=True)
class Picture:
    """One picture; ``split`` is None where nobody has said, ``where`` a file, a part of one or an address in S3."""

    label: str
    split: str | None
    where: Path | Slice | str
    place: str
    """Its name in messages, and in ``dataset.json``."""

    def read(self) -> bytes:
        """The file's content. Raises JobError when it is not there or no picture could be so large."""
        if isinstance(self.where, str):
            return read_object(self.where, MAX_FILE_BYTES)
        part = self.where if isinstance(self.where, Slice) else Slice(self.where, 0, MAX_FILE_BYTES + 1)
        try:
            with open(part.path, "rb", opener=_without_waiting) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise JobError(f"{self.place} is no file that could be read, but a pipe or a device")
                file.seek(part.start)
                content = file.read(min(part.size, MAX_FILE_BYTES + 1))
        except OSError as error:
            raise JobError(f"{self.place} cannot be read: {error.strerror}") from error
        if len(content) > MAX_FILE_BYTES:
            raise JobError(f"{self.place} has more than {MAX_FILE_BYTES:,} bytes: no photograph is as large")
        return content


@dataclass
class FoundPictures:
    """What a source holds: its pictures, how it is laid out, what was skipped, by the reason, and the list if any."""

    layout: str
    pictures: list[Picture] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    listed: Path | None = None

    @property
    def classes(self) -> list[str]:
        """All there are, in the order of their names."""
        return sorted({picture.label for picture in self.pictures})


def _without_waiting(path: str, flags: int) -> int:
    """Open a file as `open` wants it; a pipe at once, also where nobody writes into it."""
    return os.open(path, flags | os.O_NONBLOCK)


def skip_reason(name: str) -> str | None:
    """Why a file or folder of this name holds no picture; None when it may be one."""
    small = name.lower()
    if not is_utf8(name):
        return NO_TEXT
    if small.endswith(HADOOP_FOLDER):
        return f"*{HADOOP_FOLDER}"
    if small in LEFTOVERS:
        return name.strip()
    if name.startswith("."):
        return name if small == ".ds_store" else ".*"
    return None


def file_reason(name: str) -> str | None:
    """Why a file is skipped, by its name alone; None for a picture."""
    suffix = PurePosixPath(name).suffix.lower()
    return skip_reason(name) or (None if suffix in SUFFIXES else f"*{shown(suffix)}" if suffix else NO_SUFFIX)


def some(names: list[str]) -> str:
    """The first few, and how many more there are."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
