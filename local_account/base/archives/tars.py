"""Unpack and pack ``.tar.gz`` archives of jobs and models; nothing is written outside the folder it is meant for.

Runs in the server process.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

MAX_BYTES = 20 * 1024**3
MAX_MEMBERS = 200_000
MAX_HEADER_BYTES = 2**20  # of one member: tarfile reads long names and the like whole, of whatever size they say
_COMPRESS_LEVEL = 3  # models hardly compress: time counts more than size
_GZIP_MARK = b"\x1f\x8b"


class ArchiveError(Exception):
    """An archive that is damaged, too large, or would write outside its folder."""


def extract_tar(archive: Path, folder: Path) -> None:
    """Extract a tar archive (plain or gzip) into ``folder``; raises ArchiveError and names the file."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _opened(archive) as (tar, stream):
            for member in _members(archive.name, tar, stream):
                _check_links(member, folder)
                stream.left = None
                _extract(tar, member, folder)
    except (tarfile.TarError, EOFError, OSError, ValueError, LookupError, zlib.error) as error:
        raise ArchiveError(f"{archive.name} cannot be extracted: {error}") from error


class _Stream:
    """What tarfile reads from; ``left`` bytes until something is wrong, None for no such limit."""

    def __init__(self, file: gzip.GzipFile | IO[bytes]) -> None:
        self._file = file
        self.left: int | None = MAX_HEADER_BYTES
        self.tell, self.seek, self.close = file.tell, file.seek, file.close

    def read(self, size: int) -> bytes:
        if self.left is not None:
            if size > self.left:
                raise ArchiveError(f"a member has a header of more than {MAX_HEADER_BYTES:,} bytes")
            self.left -= size
        return self._file.read(size)


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[tarfile.TarFile, _Stream]]:
    with archive.open("rb") as raw:
        packed = raw.read(len(_GZIP_MARK)) == _GZIP_MARK
        raw.seek(0)
        with gzip.GzipFile(fileobj=raw) if packed else raw as file:
            stream = _Stream(file)
            # tarfile only reads, tells and seeks; its annotation asks for more of a file
            with tarfile.open(fileobj=stream, mode="r:") as tar:  # type: ignore[call-overload]
                yield tar, stream


def _members(name: str, tar: tarfile.TarFile, stream: _Stream) -> Iterator[tarfile.TarInfo]:
    """The members one after the other, none of them kept in memory."""
    total_bytes = number = 0
    kept: list[tarfile.TarInfo] = vars(tar)["members"]
    while (member := tar.next()) is not None:
        kept.clear()
        number += 1
        total_bytes += member.size + MAX_HEADER_BYTES - (stream.left or 0)
        if total_bytes > MAX_BYTES or number > MAX_MEMBERS:
            raise ArchiveError(f"{name} holds more than the limit of {MAX_BYTES} bytes in {MAX_MEMBERS} files")
        yield member
        stream.left = MAX_HEADER_BYTES


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    try:
        tar.extract(member, folder, filter="data")
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ArchiveError(f"{member.name[:200]!r} is there twice, as a file and as a folder") from error
    except OSError as error:
        raise ArchiveError(f"{member.name[:200]!r} cannot be written: {error.strerror or error}") from error


def _check_links(member: tarfile.TarInfo, folder: Path) -> None:
    """Let nothing be written or read through a link of the archive itself.

    tarfile's own filter follows such links to see where they end, and early releases of Python 3.11 can be misled by
    paths that grow too long for the system on the way (CVE-2025-4517).
    """
    names = [member.name] + ([member.linkname] if member.islnk() else [])
    for name in names:
        path = folder
        for part in PurePosixPath(name.lstrip("/")).parts:
            path = path / part
            if path.is_symlink() and not (member.issym() and path == folder / name):
                raise ArchiveError(f"{name[:200]!r} leads through the archive's symbolic link {part!r}")
    if member.islnk() and not (folder / member.linkname).exists():
        raise ArchiveError(f"{member.name[:200]!r} links to {member.linkname[:200]!r}, which is not there before it")


def pack_tar(members: Iterable[tuple[Path, str]], archive: Path) -> None:
    """Write ``members``, each where it lies and what it is called inside, as ``archive`` (.tar.gz)."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz", compresslevel=_COMPRESS_LEVEL) as tar:
        for path, name in members:
            tar.add(path, arcname=name, recursive=False)
