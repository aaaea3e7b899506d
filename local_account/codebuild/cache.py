"""What a project keeps from one build to the next: files in S3, or beside the account's state (LOCAL_CUSTOM_CACHE).

Runs in the server process; writes ``<state>/build-caches/<project>.zip`` or one object below the cache's location.
Here `/root` in the paths of a cache is the build's home folder: builds run as the user, who has another home.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from local_account.account import Account
from local_account.base.archives.s3_download import download
from local_account.base.archives.zips import file_name
from local_account.base.clients import Clients
from local_account.codebuild.files import matching, unzip, zip_files

if TYPE_CHECKING:
    from local_account.codebuild.records import BuildRecord


class Cache:
    """The cache of a build's project; ``client`` makes clients that call as its service role."""

    def __init__(self, account: Account, build: BuildRecord, client: Clients) -> None:
        self._kind: str = build["cache"]["type"]
        self._location: str = build["cache"].get("location", "")
        self._name = f"{build['projectName']}.zip"
        self._file = account.state_dir.absolute() / "build-caches" / f"{file_name(build['projectName'])}.zip"
        self._client = client

    def restore(self, paths: tuple[str, ...], source: Path, home: Path, scratch: Path) -> None:
        """Put back what an earlier build left."""
        archive = self._read(scratch.with_suffix(".zip")) if paths else None
        if archive:
            unpack(archive, source, home, scratch)

    def save(self, paths: tuple[str, ...], source: Path, home: Path) -> None:
        """Keep what the paths name, unless there is nothing."""
        self._file.parent.mkdir(exist_ok=True, mode=0o700)
        partial = self._file.with_suffix(f".{source.parent.name}")
        if self._kind == "NO_CACHE" or not pack(paths, source, home, partial):
            return
        if self._kind == "LOCAL":
            partial.replace(self._file)
            return
        bucket, key = self._object()
        try:
            with partial.open("rb") as file:
                self._client("s3").put_object(Bucket=bucket, Key=key, Body=file)
        finally:
            partial.unlink()

    def _read(self, fetched: Path) -> Path | None:
        """The cache's zip, ``fetched`` from S3 where it lies there; None when there is none."""
        if self._kind == "LOCAL":
            return self._file if self._file.is_file() else None
        if self._kind != "S3":
            return None
        bucket, key = self._object()
        try:
            download(self._client("s3"), fetched, {"Bucket": bucket, "Key": key})
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise
        return fetched

    def _object(self) -> tuple[str, str]:
        bucket, _, prefix = self._location.partition("/")
        return bucket, f"{prefix.strip('/')}/{self._name}".lstrip("/")


def pack(paths: tuple[str, ...], source: Path, home: Path, target: Path) -> bool:
    """Write a zip of what the cache's paths name, unless there is nothing; say whether there was."""
    chosen = []
    for pattern in paths:
        root, prefix, inner = _cache_place(pattern, source, home)
        chosen += [(path, f"{prefix}/{path.relative_to(root).as_posix()}") for path in matching(root, inner)]
    if chosen:
        zip_files(sorted(set(chosen)), target)
    return bool(chosen)


def unpack(archive: Path, source: Path, home: Path, scratch: Path) -> None:
    """Put a cache back; files that the source brings itself stay as they are."""
    unzip(archive, scratch, "the cache")
    for prefix, target in (("source", source), ("home", home)):
        for path in (scratch / prefix).rglob("*"):
            place = target / path.relative_to(scratch / prefix)
            if path.is_file() and not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                path.replace(place)


def _cache_place(pattern: str, source: Path, home: Path) -> tuple[Path, str, str]:
    if pattern.startswith(("/root/", "~/")):
        return home, "home", pattern.partition("/root/")[2] or pattern.removeprefix("~/")
    return source, "source", pattern
