"""Folders, and prefixes of S3 of which a job copies what it needs: a month of captures has more than an hour's report.

Runs in the monitoring container. A processing job's own inputs are whole prefixes, which must not be empty; these may
be both. The account and its address come from the environment, as everywhere with boto3.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from reporting.job import JobError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ListObjectsV2OutputTypeDef, ObjectIdentifierTypeDef

Item = TypeVar("Item")

CONNECTIONS = 16


@dataclass(frozen=True)
class Found:
    """An object; its name below the prefix."""

    name: str
    size: int
    modified_ns: int


class Prefix:
    """Objects below ``s3://bucket/some/prefix``. What S3 refuses is raised as JobError."""

    def __init__(self, uri: str) -> None:
        import boto3  # only a job that runs on S3 needs it, and it takes a third of a second to import
        from botocore.config import Config

        self.uri = uri.rstrip("/")
        self.bucket, _, self.key = self.uri.removeprefix("s3://").partition("/")
        self._s3: S3Client = boto3.client("s3", config=Config(max_pool_connections=CONNECTIONS))

    def objects(self, below: str = "", after: str = "") -> Iterator[Found]:
        """Objects whose names start with ``below`` and come after ``after``, in the order of their names."""
        for page in self._pages(self._key(below), after=self._key(after) if after else ""):
            for item in page.get("Contents", []):
                name = item["Key"].removeprefix(self._key(""))
                if name and not name.endswith("/"):
                    yield Found(name, item["Size"], int(item["LastModified"].timestamp()) * 1_000_000_000)

    def folders(self, below: str = "") -> list[str]:
        """Names of the folders directly in one, which is "" or ends with a slash."""
        pages = self._pages(self._key(below), delimiter="/")
        prefixes = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", [])]
        return [prefix.removeprefix(self._key(below)).rstrip("/") for prefix in prefixes]

    def fetch(self, objects: Iterable[Found], folder: Path) -> None:
        """Copy objects into a folder, as old as they are. A name that would leave the folder is refused."""
        self._all(lambda found: self._fetch(found, folder), objects)

    def put(self, names: Iterable[str], folder: Path) -> None:
        """Copy files of a folder to the prefix; one that is gone from the folder is left empty."""
        self._all(lambda name: self.write(name, _bytes(folder / name)), names)

    def read(self, name: str) -> bytes | None:
        """An object, or None where there is none."""
        from botocore.exceptions import ClientError

        try:
            answer = self._s3.get_object(Bucket=self.bucket, Key=self._key(name))
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                return None
            raise JobError(f"{self.uri}/{name} cannot be read: {error}") from error
        data: bytes = answer["Body"].read()
        return data

    def write(self, name: str, data: bytes, content_type: str = "binary/octet-stream") -> None:
        """Put an object below the prefix."""
        self._s3.put_object(Bucket=self.bucket, Key=self._key(name), Body=data, ContentType=content_type)

    def copy(self, source: Prefix, name: str, target: str) -> None:
        """Copy an object of another prefix within S3."""
        self._s3.copy_object(
            Bucket=self.bucket,
            Key=self._key(target),
            CopySource={"Bucket": source.bucket, "Key": source._key(name)},
        )

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects, at most a thousand."""
        from botocore.exceptions import BotoCoreError, ClientError

        if not names:
            return
        try:
            wanted: list[ObjectIdentifierTypeDef] = [{"Key": self._key(name)} for name in names]
            left = self._s3.delete_objects(Bucket=self.bucket, Delete={"Objects": wanted, "Quiet": True})
        except (ClientError, BotoCoreError) as error:
            raise JobError(f"{self.uri}/{names[0]} cannot be removed: {error}") from error
        for refused in left.get("Errors", []):
            raise JobError(f"{self.uri}/{names[0]} cannot be removed: {refused.get('Message')}")

    def _key(self, name: str) -> str:
        return f"{self.key}/{name}" if self.key else name

    def _fetch(self, found: Found, folder: Path) -> None:
        target = folder / found.name
        if not target.resolve().is_relative_to(folder.resolve()):
            raise JobError(f"{self.uri}/{found.name} is not a name for a file below the prefix: remove the object")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.partial")
        self._s3.download_file(self.bucket, self._key(found.name), str(partial))
        os.utime(partial, ns=(found.modified_ns, found.modified_ns))
        partial.replace(target)

    def _pages(self, prefix: str, *, delimiter: str = "", after: str = "") -> Iterator[ListObjectsV2OutputTypeDef]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield from self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, Delimiter=delimiter, StartAfter=after
            )
        except (ClientError, BotoCoreError) as error:
            raise JobError(f"{self.uri} cannot be listed: {error}") from error

    def _all(self, work: Callable[[Item], None], items: Iterable[Item]) -> None:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                list(pool.map(work, items))
        except (ClientError, BotoCoreError, Boto3Error) as error:
            raise JobError(f"copying below {self.uri} failed: {error}") from error


Place = Path | Prefix


def place(text: str) -> Place:
    """``s3://...`` or a folder."""
    return Prefix(text) if text.startswith("s3://") else Path(text)


def read(where: str) -> bytes | None:
    """A file or an object; None where there is none."""
    if where.startswith("s3://"):
        parent, _, name = where.rpartition("/")
        return Prefix(parent).read(name)
    path = Path(where)
    return path.read_bytes() if path.is_file() else None


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
