"""What a project keeps from one build to the next: files in S3, or beside the account's state (LOCAL_CUSTOM_CACHE).

Runs in the server process; writes ``<state>/build-caches/<project>.zip`` or one object below the cache's location.
Here `/root` in the paths of a cache is the build's home folder: builds run as the user, who has another home.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local_account.account import Account
from local_account.codebuild.files import matching, unzip, zip_files


class Cache:
    """The cache of a build's project; ``client`` makes clients that call as its service role."""

    def __init__(self, account: Account, build: dict[str, Any], client: Callable[[str], Any]) -> None:
        self._kind: str = build["cache"]["type"]
        self._location: str = build["cache"].get("location", "")
        self._name = f"{build['projectName']}.zip"
        self._file = account.state_dir.absolute() / "build-caches" / self._name
        self._client = client

    def restore(self, paths: tuple[str, ...], source: Path, home: Path, scratch: Path) -> None:
        """Put back what an earlier build left."""
        content = self._read() if paths else None
        if content:
            unpack(content, source, home, scratch)

    def save(self, paths: tuple[str, ...], source: Path, home: Path) -> None:
        """Keep what the paths name, unless there is nothing."""
        content = pack(paths, source, home) if self._kind != "NO_CACHE" else None
        if content is None:
            return
        if self._kind == "S3":
            bucket, key = self._object()
            self._client("s3").put_object(Bucket=bucket, Key=key, Body=content)
            return
        self._file.parent.mkdir(exist_ok=True, mode=0o700)
        partial = self._file.with_suffix(f".{source.parent.name}")
        partial.write_bytes(content)
        partial.replace(self._file)

    def _read(self) -> bytes | None:
        if self._kind == "LOCAL":
            return self._file.read_bytes() if self._file.is_file() else None
        if self._kind != "S3":
            return None
        bucket, key = self._object()
        try:
            content: bytes = self._client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise
        return content

    def _object(self) -> tuple[str, str]:
        bucket, _, prefix = self._location.partition("/")
        return bucket, f"{prefix.strip('/')}/{self._name}".lstrip("/")


def pack(paths: tuple[str, ...], source: Path, home: Path) -> bytes | None:
    """A zip of what the cache's paths name, or None when there is nothing."""
    chosen = []
    for pattern in paths:
        root, prefix, inner = _cache_place(pattern, source, home)
        chosen += [(path, f"{prefix}/{path.relative_to(root).as_posix()}") for path in matching(root, inner)]
    return zip_files(sorted(set(chosen))) if chosen else None


def unpack(content: bytes, source: Path, home: Path, scratch: Path) -> None:
    """Put a cache back; files that the source brings itself stay as they are."""
    unzip(content, scratch, "the cache")
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
