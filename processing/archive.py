"""Unpack a tar archive somebody else made: plain files and folders only, inside the destination, within a size cap.

Runs in processing containers; used for the CIFAR-100 archive and for the model archive.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from pathlib import Path

from processing.job import JobError

MAX_BYTES = 2 * 1024**3  # unpacked; CIFAR-100 has 0.18 GB, the model archive a few MB
MAX_MEMBERS = 10_000


def extract_archive(archive: Path, destination: Path, max_bytes: int = MAX_BYTES) -> None:
    """Unpack ``archive`` into ``destination``. Raises JobError when it is truncated, no archive, or not harmless."""
    try:
        with tarfile.open(archive, "r:*") as tar:
            total = 0
            for number, member in enumerate(tar, start=1):
                total += member.size
                _check_member(archive, member, destination)
                if total > max_bytes or number > MAX_MEMBERS:
                    raise JobError(
                        f"{archive} unpacks to more than {max_bytes:,} bytes or {MAX_MEMBERS:,} files: refused"
                    )
                tar.extract(member, destination, filter="data")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        size = archive.stat().st_size if archive.exists() else 0
        raise JobError(
            f"{archive} ({size:,} bytes) is truncated or not a tar archive: {error}; fetch it again"
        ) from error


def _check_member(archive: Path, member: tarfile.TarInfo, destination: Path) -> None:
    target = (destination / member.name).resolve()
    inside = target == destination.resolve() or destination.resolve() in target.parents
    if not inside or Path(member.name).is_absolute() or not (member.isfile() or member.isdir()):
        raise JobError(f"{archive} holds {member.name!r}, which is a link, a device or outside the archive: refused")


def sha256_file(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
