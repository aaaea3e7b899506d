"""The files of a build: its source out of a zip, its artifacts into one.

Runs in the server process. Nothing is read or written outside the build's folder, whatever an archive or a buildspec
names.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from local_account.base.archives.zips import ZipError, ZipLimits, extract_zip
from local_account.codebuild.buildspec import Files

# A cap of the stand-in's own, unpacked: CodeBuild documents none but its machines' disks.
LIMITS = ZipLimits(5 * 1024**3, 200_000)


class FilesError(Exception):
    """An archive that cannot be used, or files that are not there."""


def unzip(archive: Path, folder: Path, what: str) -> None:
    """Extract a zip into ``folder``, with its files' permissions and without links."""
    try:
        with archive.open("rb") as file:
            extract_zip(file, folder, LIMITS)
    except ZipError as error:
        raise FilesError(f"{what} {error}") from error


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


def zip_files(chosen: list[tuple[Path, str]], target: Path) -> None:
    """Write a zip of the files with their permissions."""
    total = sum(path.stat().st_size for path, _ in chosen)
    if total > LIMITS.total_bytes:
        raise FilesError(f"the files to keep have {total:,} bytes, more than {LIMITS.total_bytes:,}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=3, strict_timestamps=False) as archive:
        for path, name in chosen:
            archive.write(path, name)
