"""Read a tar archive somebody else made: plain files and folders only, inside the destination, within a size cap.

Runs in processing containers; used for the CIFAR-100 archive and for the model archive. tarfile's own filter is not
enough: links can lead it outside in Python 3.11 (CVE-2025-4517) and a header may ask for any amount of memory, so links
are refused altogether and every byte passes through `TarStream`.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from isal import isal_zlib
from isal.igzip_lib import IsalError

from reporting.job import JobError

MAX_BYTES = 1024**3  # unpacked; CIFAR-100 has 0.18 GB, a model archive some MB
MAX_MEMBERS = 10_000
MAX_READ = 1 << 20  # bytes in one go, which is also the longest header
CHUNK = 1 << 18
MAX_NAME = 100
GZIP_WINDOW = 31  # zlib's wbits: a gzip header and checksum around the largest window


class ArchiveRefusedError(JobError):
    """The archive holds something that is not read on purpose."""


class TarStream:
    """The tar inside an archive, inflated while it is read forwards, and the SHA-256 of the archive's own bytes."""

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self._file = file
        self._inflater = isal_zlib.decompressobj(wbits=GZIP_WINDOW) if file.read(2) == b"\x1f\x8b" else None
        file.seek(0)
        self._digest = hashlib.sha256()
        self._ready = memoryview(b"")
        self._at = 0
        self._max_bytes = max_bytes
        self._header_left = MAX_READ

    def next_member(self) -> None:
        """What is read from now on is another member's header, until its content comes in ``pieces``."""
        self._header_left = MAX_READ

    def tell(self) -> int:
        """The position in bytes."""
        return self._at

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, fewer only at the end. Raises ArchiveRefusedError when the caps are passed."""
        if not 0 <= size <= self._header_left:
            raise ArchiveRefusedError("it holds a header of more than 1 MiB: refused")
        self._header_left -= size
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[memoryview]:
        """The next ``size`` bytes, fewer only at the end, as they come and without a copy; ArchiveRefusedError."""
        while size:
            if not self._ready and not self._inflate_more():
                return
            piece, self._ready = self._ready[:size], self._ready[size:]
            size -= len(piece)
            self._at += len(piece)
            if self._at > self._max_bytes:
                raise ArchiveRefusedError(f"it unpacks to more than {self._max_bytes:,} bytes: refused")
            yield piece

    def seek(self, position: int) -> int:
        """Move forward to a position in bytes. Raises ArchiveRefusedError for one that was passed already."""
        if position < self._at:
            raise ArchiveRefusedError("it points backwards: refused")
        for _ in self.pieces(position - self._at):
            pass
        return self._at

    def finish(self) -> str:
        """Read what is left, so that the checksum is compared; the archive's SHA-256."""
        for _ in self.pieces(self._max_bytes + 1):
            pass
        return self._digest.hexdigest()

    def _inflate_more(self) -> bool:
        self._ready = memoryview(self._more())
        return bool(self._ready)

    def _more(self) -> bytes:
        if self._inflater is None:
            return self._raw()
        while True:
            packed = self._inflater.unconsumed_tail or self._inflater.unused_data or self._raw()
            if self._inflater.eof:
                if not packed.strip(b"\0"):
                    return b""
                self._inflater = isal_zlib.decompressobj(wbits=GZIP_WINDOW)  # gzip files may follow one another
            elif not packed:
                raise EOFError("it ends in the middle")
            if plain := self._inflater.decompress(packed, MAX_READ):
                return plain

    def _raw(self) -> bytes:
        chunk = self._file.read(CHUNK)
        self._digest.update(chunk)
        return chunk


def extract_archive(archive: Path, destination: Path, max_bytes: int = MAX_BYTES) -> None:
    """Unpack ``archive`` into ``destination``. Raises JobError when it is truncated, no archive, or not harmless."""
    with _opened(archive, max_bytes) as (tar, stream):
        for member in _checked(tar, stream):
            target = destination / member.name
            if not target.resolve().is_relative_to(destination.resolve()):
                raise ArchiveRefusedError(f"it holds {member.name[:MAX_NAME]!r}, which lies outside: refused")
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                for chunk in _content(stream, member):
                    file.write(chunk)


def read_members(archive: Path, wanted: set[str], max_bytes: int = MAX_BYTES) -> tuple[dict[str, bytearray], str]:
    """The files with these names at the top of the archive or one folder below, and the archive's SHA-256.

    Nothing is written to disk. Raises JobError.
    """
    found: dict[str, bytearray] = {}
    with _opened(archive, max_bytes) as (tar, stream):
        for member in _checked(tar, stream):
            path = PurePosixPath(member.name)
            if member.isfile() and path.name in wanted and len(path.parts) <= 2:
                if path.name in found:
                    raise ArchiveRefusedError(f"it holds {path.name} twice: refused")
                content = found[path.name] = bytearray()
                for chunk in _content(stream, member):
                    content += chunk
        return found, stream.finish()


@contextmanager
def _opened(archive: Path, max_bytes: int) -> Iterator[tuple[tarfile.TarFile, TarStream]]:
    try:
        with archive.open("rb") as file:
            stream = TarStream(file, max_bytes)
            # tarfile only reads, tells and seeks; its annotation asks for more of a file
            with tarfile.open(fileobj=stream, mode="r:") as tar:  # type: ignore[call-overload]
                yield tar, stream
    except ArchiveRefusedError as error:
        raise JobError(f"{archive}: {error}") from error
    # tarfile meets a damaged header with any of these
    except (tarfile.TarError, EOFError, OSError, IsalError, ValueError, LookupError, RecursionError) as error:  # type: ignore[misc]  # its stub calls the error a plain object
        size = archive.stat().st_size if archive.exists() else 0
        raise JobError(
            f"{archive} ({size:,} bytes) is truncated or not a tar archive: {error}; fetch it again"
        ) from error


def _checked(tar: tarfile.TarFile, stream: TarStream) -> Iterator[tarfile.TarInfo]:
    for number, member in enumerate(tar, start=1):
        plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
        parts = PurePosixPath(member.name).parts
        if (
            member.size < 0
            or not (plain or member.isdir())
            or member.name.startswith("/")
            or ".." in parts
            or "\0" in member.name
        ):
            raise ArchiveRefusedError(
                f"it holds {member.name[:MAX_NAME]!r}, which is a link, a device or outside the archive: refused"
            )
        if number > MAX_MEMBERS:
            raise ArchiveRefusedError(f"it holds more than {MAX_MEMBERS:,} files: refused")
        yield member
        stream.next_member()


def _content(stream: TarStream, member: tarfile.TarInfo) -> Iterator[memoryview]:
    stream.seek(member.offset_data)
    yield from stream.pieces(member.size)
    if stream.tell() < member.offset_data + member.size:
        raise EOFError(f"{member.name[:MAX_NAME]} ends in the middle")
