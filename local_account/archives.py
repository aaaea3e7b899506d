"""Unpack and pack ``.tar.gz`` archives of jobs and models; nothing is written outside the folder it is meant for.

Runs in the server process.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from pathlib import Path

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
                tar.extract(member, folder, filter="data")
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ArchiveError(f"{archive.name} cannot be extracted: {error}") from error


def pack_tar(folder: Path, archive: Path) -> None:
    """Write the content of ``folder`` as ``archive`` (.tar.gz), paths relative to the folder."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz", compresslevel=_COMPRESS_LEVEL) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name)
