"""Pictures that lie in S3 already: what their names say of them, and a copy on this machine to look at.

Runs on a laptop or in CodeBuild; calls S3 of the stage.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from scones.errors import SconesError
from scones.source_data import own_pictures
from scones.source_data.data import ARCHIVE_NAME, CONNECTIONS, LIST_SUFFIXES
from scones.source_data.own_pictures import OwnPictures
from scones.stage.connection import split_uri

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

SCHEME = "s3://"
MOST_NAMES = 1_000_000
MIB = 2**20


class ListingRefusedError(SconesError):
    """Whoever asks may not see the objects' names, which says nothing of them."""


@dataclass(frozen=True)
class StoredFile:
    """An object below a prefix: its key, what its name is below the prefix, and its size in bytes."""

    key: str
    name: str
    size: int


def address(path: Path | None) -> str | None:
    """The ``s3://`` address that somebody gave where a path is expected, which takes one of its slashes."""
    text = str(path or "")
    return f"{SCHEME}{text.removeprefix('s3:').lstrip('/')}" if text.startswith("s3:/") else None


def stored_files(s3: S3Client, uri: str) -> list[StoredFile]:
    """What lies below a prefix, but for the empty objects that stand for folders. Raises SconesError."""
    bucket, prefix = split_uri(uri)
    prefix = f"{prefix.rstrip('/')}/" if prefix else ""
    found: list[StoredFile] = []
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            found += [
                StoredFile(item["Key"], item["Key"].removeprefix(prefix), item["Size"])
                for item in page.get("Contents", [])
                if not item["Key"].endswith("/")
            ]
            if len(found) > MOST_NAMES:
                raise SconesError(f"{uri} holds more than {MOST_NAMES:,} objects: say which with -p Classes=...")
    except ClientError as error:
        raise ListingRefusedError(f"{uri} cannot be listed: {error}") from error
    if not found:
        raise SconesError(f"there is nothing below {uri}")
    return found


def describe(s3: S3Client, uri: str, folder: Path, environment: Mapping[str, str]) -> OwnPictures | None:
    """What the names below a prefix say; only lists are fetched, into the folder. Raises SconesError.

    None for CIFAR-100, for tar files, whose classes stand inside, and for names that nobody here may see.
    """
    try:
        files = stored_files(s3, uri)
    except ListingRefusedError:
        return None
    if any(file.name.endswith((ARCHIVE_NAME, ".tar")) or file.name in ("meta", "train") for file in files):
        return None
    listed = [file for file in files if Path(file.name).suffix.lower() in LIST_SUFFIXES]
    for file in files:
        target = _place(folder, file)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _fetch(s3, uri, folder, listed)
    return own_pictures.describe(folder, environment=environment)


def download(s3: S3Client, uri: str, folder: Path, files: list[StoredFile]) -> None:
    """Copy the objects into the folder. Raises SconesError where they do not fit."""
    size, free = sum(file.size for file in files), shutil.disk_usage(folder).free
    if size > free:
        raise SconesError(
            f"{uri} has {size / MIB:,.0f} MiB, and {folder} has room for {free / MIB:,.0f}: show a part of it"
        )
    _fetch(s3, uri, folder, files)


def _fetch(s3: S3Client, uri: str, folder: Path, files: Iterable[StoredFile]) -> None:
    bucket, _ = split_uri(uri)

    def fetch(file: StoredFile) -> None:
        target = _place(folder, file)
        target.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, file.key, str(target))

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for _ in pool.map(fetch, files):
            pass


def _place(folder: Path, file: StoredFile) -> Path:
    """Where the object is written; a key may hold what leads out of a folder. Raises SconesError."""
    if any(part in ("", ".", "..") for part in file.name.split("/")) or "\0" in file.name:
        raise SconesError(f"the key {file.key!r} is no path of a file: copy the object to another key")
    return folder / file.name
