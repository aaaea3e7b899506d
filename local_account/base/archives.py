"""Unpack and pack ``.tar.gz`` archives of jobs and models; nothing is written outside the folder it is meant for.

Runs in the server process.
"""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path, PurePosixPath

MAX_BYTES = 20 * 1024**3
MAX_MEMBERS = 200_000
_COMPRESS_LEVEL = 3  # models hardly compress: time counts more than size


class ArchiveError(Exception):
    """An archive that is damaged, too large, or would write outside its folder."""


def extract_tar(archive: Path, folder: Path) -> None:
    """Extract a tar archive (plain or compressed) into ``folder``; raises ArchiveError and names the file."""
    folder.mkdir(parents=True, exist_ok=True)
    total_bytes = members = 0
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                members += 1
                total_bytes += member.size
                if total_bytes > MAX_BYTES or members > MAX_MEMBERS:
                    limit = f"{MAX_BYTES} bytes in {MAX_MEMBERS} files"
                    raise ArchiveError(f"{archive.name} holds more than the limit of {limit}")
                _check_links(member, folder)
                tar.extract(member, folder, filter="data")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ArchiveError(f"{archive.name} cannot be extracted: {error}") from error


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


def pack_tar(folder: Path, archive: Path) -> None:
    """Write the content of ``folder`` as ``archive`` (.tar.gz), paths relative to the folder."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz", compresslevel=_COMPRESS_LEVEL) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name)
