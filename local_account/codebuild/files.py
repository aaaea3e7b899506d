"""The files of a build: its source out of a zip, its artifacts into one.

Runs in the server process. Nothing is read or written outside the build's folder, whatever an archive or a buildspec
names.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from local_account.codebuild.buildspec import Files

MAX_BYTES = 5 * 1024**3
MAX_MEMBERS = 200_000


class FilesError(Exception):
    """An archive that cannot be used, or files that are not there."""


def unzip(content: bytes, folder: Path, what: str) -> None:
    """Extract a zip into ``folder``, with its files' permissions and without links."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > MAX_BYTES:
                raise FilesError(f"{what} holds more than {MAX_BYTES} bytes or {MAX_MEMBERS} files")
            for member in members:
                _extract(archive, member, folder, what)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise FilesError(f"{what} is not a zip that can be read: {error}") from error


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, what: str) -> None:
    path = PurePosixPath(member.filename)
    mode = member.external_attr >> 16
    if path.is_absolute() or ".." in path.parts or "\\" in member.filename:
        raise FilesError(f"{what} holds {member.filename!r}, which leads out of its folder")
    if stat.S_ISLNK(mode):
        raise FilesError(f"{what} holds the symbolic link {member.filename!r}; links are not extracted here")
    target = folder / path
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(archive.read(member))
    if mode & stat.S_IXUSR:
        target.chmod(0o755)


def select(folder: Path, files: Files) -> list[tuple[Path, str]]:
    """The files that the patterns name and what they are called in the archive; raises FilesError without any."""
    base = (folder / files.base).resolve()
    if not base.is_relative_to(folder.resolve()):
        raise FilesError(f"base-directory {files.base!r} leads out of the source")
    if not base.is_dir():
        raise FilesError(f"no such base-directory: {files.base}")
    hidden = tuple(pattern.removesuffix("/**/*") for pattern in files.excluded if pattern.endswith("/**/*"))
    excluded = {path for pattern in files.excluded if not pattern.endswith("/**/*") for path in matching(base, pattern)}
    found = sorted({path for pattern in files.patterns for path in matching(base, pattern, hidden)} - excluded)
    if not found:
        raise FilesError(f"no matching artifact paths found for {', '.join(files.patterns)}")
    return [(path, path.name if files.flat else path.relative_to(base).as_posix()) for path in found]


def matching(base: Path, pattern: str, hidden: tuple[str, ...] = ()) -> Iterator[Path]:
    """The files below ``base`` that a pattern names, without links and without the folders ``hidden``."""
    if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
        raise FilesError(f"the pattern {pattern!r} leads out of the build's folder")
    named = re.compile(_expression(pattern))
    for folder, folders, names in os.walk(base):
        inside = Path(folder).relative_to(base)
        # Not even looked at: there may be tens of thousands of files.
        folders[:] = [name for name in folders if (inside / name).as_posix() not in hidden]
        for name in names:
            path = Path(folder, name)
            if named.fullmatch((inside / name).as_posix()) and not path.is_symlink():
                yield path


def _expression(pattern: str) -> str:
    """A pattern of CodeBuild as a regular expression: ``**/`` is any folders or none, ``*`` and ``?`` stay in one."""
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(words.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*\*|\*|\?)", pattern))


def zip_files(chosen: list[tuple[Path, str]]) -> bytes:
    """A zip of the files with their permissions."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=3, strict_timestamps=False) as archive:
        for path, name in chosen:
            archive.write(path, name)
    return buffer.getvalue()
