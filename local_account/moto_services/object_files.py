"""The bytes of S3's objects in files, one for each different content, named by its SHA-256.

Used in the server process; writes ``<state>/objects/<xx>/<sha256>``. Copies cost nothing. Contents that no object
refers to any more are removed at the next start, by ``collect_garbage``.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from local_account.base.snapshots import sync_folder

_PIECE_BYTES = 2**20
_DIGEST = re.compile(r"[0-9a-f]{64}")


class ObjectFiles:
    """Contents by digest."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.folder = folder
        self._durable = durable

    def path(self, digest: str) -> Path:
        """Where a content lies; raises ValueError for what is no digest."""
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"expected a SHA-256 digest, got {digest!r}")
        return self.folder / digest[:2] / digest

    def write(self, content: bytes) -> str:
        """Store a content, whole or not at all; return its digest."""
        digest = hashlib.sha256(content).hexdigest()
        path = self.path(digest)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".partial-", delete=False) as partial:
                try:
                    self._fill(partial, content)
                except OSError:  # such as a full disk
                    Path(partial.name).unlink()
                    raise
            Path(partial.name).replace(path)
            self._settle_folder(path.parent)
        return digest

    def take(self, source: Path) -> tuple[str, str, int]:
        """Store a file's content, whole or not at all; its digest, its MD5 and its length."""
        digest, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        folder = self.folder / "00"  # where what a killed server leaves is found
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with source.open("rb") as file, tempfile.NamedTemporaryFile(dir=folder, delete=False) as partial:
            try:
                while piece := file.read(_PIECE_BYTES):
                    digest.update(piece)
                    md5.update(piece)
                    partial.write(piece)
                length = partial.tell()
                self._settle(partial)
            except BaseException:
                Path(partial.name).unlink()
                raise
        path = self.path(digest.hexdigest())
        path.parent.mkdir(exist_ok=True, mode=0o700)
        Path(partial.name).replace(path)
        self._settle_folder(path.parent)
        return digest.hexdigest(), md5.hexdigest(), length

    def _fill(self, file: IO[bytes], content: bytes) -> None:
        file.write(content)
        self._settle(file)

    def _settle(self, file: IO[bytes]) -> None:
        """Have what was written on disk, where changes are durable before they are acknowledged."""
        file.flush()
        if self._durable:
            os.fsync(file.fileno())

    def _settle_folder(self, folder: Path) -> None:
        if self._durable:
            sync_folder(folder)
            sync_folder(self.folder)

    def pieces(self, digest: str, start: int, length: int) -> Iterator[bytes]:
        """Many bytes of a content, a piece at a time."""
        for at in range(start, start + length, _PIECE_BYTES):
            yield self.read(digest, at, min(_PIECE_BYTES, start + length - at))

    def read(self, digest: str, start: int, length: int) -> bytes:
        """Some bytes of a content."""
        with self.path(digest).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def collect_garbage(self, kept: set[str]) -> None:
        """Remove what is not in ``kept``. Only before requests are served: a content is written before its object."""
        for path in self.folder.glob("*/*"):
            if path.name not in kept:
                path.unlink()


@dataclass(frozen=True)
class FileContent:
    """The bytes of a file of the state folder, which become an object's without being read into memory."""

    path: Path


class StoredContent:
    """An object's bytes, of which only a slice is read: what moto's handling of ``Range`` needs of ``bytes``."""

    def __init__(self, files: ObjectFiles, digest: str, start: int, length: int) -> None:
        self._files, self._digest, self._start, self._length = files, digest, start, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._length)
        return self._files.read(self._digest, self._start + start, max(0, stop - start))

    def __bytes__(self) -> bytes:
        return self[:]
