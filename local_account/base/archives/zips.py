"""Unpack a zip that somebody else made: piece by piece, within limits, and every refusal says which file and why.

Runs in the server process. What Go's and Java's readers (AWS's own) do not read is refused here too: encryption, links
and other methods than deflate. A name that is there twice is refused because which of the two counts differs from one
reader to the next.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

MAX_PART_BYTES = 255  # the longest name of a file or folder that Linux and macOS take
MAX_DIRECTORY_BYTES = 64 * 2**20  # of the list of members, which is read into memory
_COPY_BYTES = 2**20
_ENCRYPTED = 0x1
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_MEMBER_MARK = b"PK\x01\x02"
_END = struct.Struct("<4s4H2LH")  # the end of the central directory, of the zip64 kind below
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LONGEST_END = _END.size + 2**16 + 20


class ZipError(Exception):
    """A zip that is not unpacked; the message is what follows its name: "holds ...", "is ..."."""


class ZipTooLargeError(ZipError):
    """A zip with more bytes than it may unpack to."""

    def __init__(self, total_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"holds {total_bytes:,} bytes unpacked, more than {limit_bytes:,}")
        self.total_bytes = total_bytes


@dataclass(frozen=True)
class ZipLimits:
    """What a zip may hold, unpacked."""

    total_bytes: int
    members: int


def extract_zip(file: IO[bytes], folder: Path, limits: ZipLimits) -> None:
    """Unpack into ``folder`` (made if missing, empty if there), with the files' permissions. Raises ZipError."""
    try:
        _check_directory(file, limits)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _check(members, limits)
            folder.mkdir(parents=True, exist_ok=True)
            for member in members:
                _extract(archive, member, folder)
    except ZipError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, struct.error) as error:
        raise ZipError(f"is not a zip that can be read: {error}") from error
    except OSError as error:
        raise ZipError(f"cannot be unpacked: {error.strerror or error}") from error


def _check_directory(file: IO[bytes], limits: ZipLimits) -> None:
    """Count the members before zipfile makes an object of half a kilobyte for each."""
    length = _directory_bytes(file)
    if length > MAX_DIRECTORY_BYTES:
        raise ZipError(f"has a list of members of {length:,} bytes, more than {MAX_DIRECTORY_BYTES:,}")
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - length - _LONGEST_END))
    count = file.read().count(_MEMBER_MARK)
    if count > limits.members:
        raise ZipError(f"holds {count:,} files, more than {limits.members:,}")
    file.seek(0)


def _directory_bytes(file: IO[bytes]) -> int:
    """The length of the central directory as the end of the file states it; 0 where there is no such end."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LONGEST_END - _END_64.size))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        return 0
    at_64 = tail.rfind(b"PK\x06\x06", 0, at)
    if at_64 >= 0 and len(tail) - at_64 >= _END_64.size:
        return int(_END_64.unpack_from(tail, at_64)[8])
    return int(_END.unpack_from(tail, at)[5])


def _check(members: list[zipfile.ZipInfo], limits: ZipLimits) -> None:
    total = sum(member.file_size for member in members)
    if total > limits.total_bytes:
        raise ZipTooLargeError(total, limits.total_bytes)
    files: set[PurePosixPath] = set()
    folders: set[PurePosixPath] = set()
    for member in members:
        path = _checked_path(member)
        folders.update(path.parents)
        if member.is_dir():
            folders.add(path)
        elif path in files:
            raise ZipError(f"holds {member.filename!r} twice")
        else:
            files.add(path)
    if both := files & folders:
        raise ZipError(f"holds {min(both).as_posix()!r} as a file and as a folder")


def _checked_path(member: zipfile.ZipInfo) -> PurePosixPath:
    name, path = member.filename, PurePosixPath(member.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
        raise ZipError(f"holds {name[:200]!r}, which leads out of its folder")
    if any(ord(character) < 32 for character in name):
        raise ZipError(f"holds {name[:200]!r}, a name with control characters")
    longest = max(path.parts, key=lambda part: len(part.encode()))
    if (length := len(longest.encode())) > MAX_PART_BYTES:
        raise ZipError(f"holds a name of {length} bytes ({longest[:60]!r}...), more than {MAX_PART_BYTES}")
    if member.flag_bits & _ENCRYPTED:
        raise ZipError(f"holds {name[:200]!r} encrypted: make it without a password")
    if member.compress_type not in _METHODS:
        raise ZipError(f"holds {name[:200]!r} compressed by method {member.compress_type}, expected deflate")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ZipError(f"holds the symbolic link {name[:200]!r}: send the file itself")
    return path


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / PurePosixPath(member.filename)
    try:
        if member.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        # "x": where the file system takes two names for one, the second is not written over the first.
        with target.open("xb") as out, archive.open(member) as content:
            shutil.copyfileobj(content, out, _COPY_BYTES)
        if permissions := (member.external_attr >> 16) & 0o777:
            target.chmod(permissions | stat.S_IRUSR | stat.S_IWUSR)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        reason = "a name that this file system takes for another one's (they differ in case or accents only)"
        raise ZipError(f"holds {member.filename[:200]!r}, {reason}") from error
    except OSError as error:
        raise ZipError(f"holds {member.filename[:200]!r}, which cannot be written: {error.strerror}") from error


def spelled_otherwise(path: Path) -> bool:
    """Whether another name is there already that this file system takes for this one."""
    return path.exists() and path.name not in os.listdir(path.parent)  # noqa: PTH208  # names alone


def file_name(name: str) -> str:
    """A resource's name as a file's, different also where the file system takes two cases for one."""
    return name if name == name.lower() else f"{name.lower()}.{hashlib.sha256(name.encode()).hexdigest()[:16]}"
