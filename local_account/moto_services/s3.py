"""Amazon S3 of the account: moto's, with the bytes of objects in files instead of in memory.

Runs in the server process; writes ``<state>/objects/<xx>/<sha256>``, one file for each different content, so that
copies cost nothing and what is saved of S3 stays small. Contents that no object refers to any more are removed at the
next start, by ``collect_garbage``.
"""

from __future__ import annotations

import contextvars
import hashlib
import json
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from local_account.account import Account
from local_account.base.snapshots import sync_folder
from local_account.base.wire import s3_names
from local_account.protocol import kms_keys

_PIECE_BYTES = 2**20
_DIGEST = re.compile(r"[0-9a-f]{64}")
# Whether the request at hand asks for a range: then only that part of the file is read.
_ranged: contextvars.ContextVar[bool] = contextvars.ContextVar("ranged", default=False)


# Sub-resources that moto does not know; it would answer with the bucket or the object itself.
_NOT_IMPLEMENTED = {
    "abac",
    "analytics",
    "annotation",
    "intelligent-tiering",
    "metadataAnnotationTable",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "renameObject",
    "requestPayment",
    "session",
    "torrent",
}


def not_implemented(query: str) -> str | None:
    """The sub-resource in a request's query that the account does not implement."""
    names = {part.partition("=")[0] for part in query.split("&")}
    return next(iter(sorted(names & _NOT_IMPLEMENTED)), None)


class ObjectFiles:
    """Contents by digest."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.folder = folder
        self._durable = durable

    def path(self, digest: str) -> Path:
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

    def read(self, digest: str, start: int, length: int) -> bytes:
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


def install(account: Account) -> None:
    """Put the objects' bytes into files."""
    from moto.s3 import models, responses

    files = ObjectFiles(account.state_dir / "objects", durable=account.durable)
    _store_keys_in_files(models.FakeKey, files)
    _cut_joined_parts(models.FakeMultipart, models.S3Backend)
    _checksum_copies_whole(models.S3Backend)
    _read_ranges_only(responses.S3Response)
    _loopback_is_secure(models.FakeBucket)
    kms_keys.install_rules(account)
    s3_names.install_rules()


def referenced_contents(backends: Any) -> Iterator[str]:
    """The digest of every content that an object version or an unfinished upload refers to."""
    for _, _, backend in backends.iter_backends():
        for bucket in backend.buckets.values():
            versions = [version for _, each in bucket.keys.lists() for version in each]
            uploads = [*bucket.multiparts.values(), *filter(None, (getattr(v, "multipart", None) for v in versions))]
            for key in [*versions, *(part for upload in uploads for part in upload.parts.values())]:
                if hasattr(key, "content_digest"):  # a delete marker has none
                    yield key.content_digest


def collect_garbage(account: Account) -> None:
    """Remove the contents that nothing refers to."""
    from moto.s3.models import s3_backends

    ObjectFiles(account.state_dir / "objects", durable=account.durable).collect_garbage(
        set(referenced_contents(s3_backends))
    )


def _loopback_is_secure(bucket_class: Any) -> None:
    """Leave out the statements of a bucket policy that are about requests without TLS.

    moto ignores conditions, so that the usual "refuse what comes without TLS" would refuse everything. Traffic on the
    loopback interface of one machine stands for a TLS connection here.
    """
    from moto.iam.access_control import IAMPolicy, PermissionResult

    def get_permission(self: Any, action: str, resource: str) -> Any:
        if self.policy is None:
            return PermissionResult.NEUTRAL
        document = json.loads(self.policy)
        statements = document["Statement"]
        statements = statements if isinstance(statements, list) else [statements]
        kept = [statement for statement in statements if not _only_without_tls(statement)]
        return IAMPolicy(json.dumps({**document, "Statement": kept})).is_action_permitted(action, resource)

    bucket_class.get_permission = get_permission


def _only_without_tls(statement: dict[str, Any]) -> bool:
    return str(statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport", "")).lower() == "false"


def _store_keys_in_files(key_class: Any, files: ObjectFiles) -> None:
    """Replace the buffer that moto's keys hold their bytes in."""

    def get_value(self: Any) -> Any:
        content = StoredContent(files, self.content_digest, self.content_start, self.contentsize)
        return content if _ranged.get() else bytes(content)

    def content_pieces(self: Any) -> Iterator[bytes]:
        for start in range(0, self.contentsize, _PIECE_BYTES):
            length = min(_PIECE_BYTES, self.contentsize - start)
            yield files.read(self.content_digest, self.content_start + start, length)

    def set_value(self: Any, content: bytes | str | FileContent) -> None:
        buffer = self.__dict__.pop("_value_buffer", None)
        if buffer is not None:
            buffer.close()
        self.content_start = 0
        if isinstance(content, FileContent):
            self.content_digest, md5, self.contentsize = files.take(content.path)
            self._etag = self._etag or md5
            return
        content = content.encode() if isinstance(content, str) else bytes(content)
        self.content_digest = files.write(content)
        self.contentsize = len(content)
        if self._etag is None:
            self._etag = hashlib.md5(content, usedforsecurity=False).hexdigest()

    def set_state(self: Any, state: dict[str, Any]) -> None:
        files.path(state["content_digest"])  # raises for anything that is not a digest
        self.__dict__.update(state, lock=threading.Lock())

    def get_state(self: Any) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "lock"}

    def dispose(self: Any, garbage: bool = False) -> None:  # noqa: ARG001  # moto's signature
        self.disposed = True  # the file goes when nothing refers to it any more

    key_class.value = property(get_value, set_value)
    key_class.content_pieces = content_pieces
    key_class.etag = property(lambda self: f'"{self._etag}"')
    key_class.dispose = dispose
    key_class.__getstate__ = get_state
    key_class.__setstate__ = set_state
    del key_class.__del__


def _cut_joined_parts(multipart_class: Any, backend_class: Any) -> None:
    """Once an upload is complete, its parts are slices of the whole: their own files are garbage."""
    original_complete = backend_class.complete_multipart_upload

    def complete_multipart_upload(self: Any, bucket_name: str, multipart_id: str, body: Any) -> Any:
        listed = list(body)
        key = original_complete(self, bucket_name, multipart_id, iter(listed))
        if key is not None:
            start = 0
            for number, _ in listed:
                part = key.multipart.parts[number]
                part.content_digest, part.content_start = key.content_digest, start
                start += part.contentsize
        return key

    backend_class.complete_multipart_upload = complete_multipart_upload
    multipart_class.dispose = lambda self: None  # noqa: ARG005  # a method


def _checksum_copies_whole(backend_class: Any) -> None:
    """A copy is one object, also of one that was uploaded in parts: its checksum is over all of it."""
    from moto.s3.utils import compute_checksum

    original_copy = backend_class.copy_object

    def copy_object(
        self: Any, src_key: Any, dest_bucket_name: str, dest_key_name: str, *rest: Any, **named: Any
    ) -> None:
        original_copy(self, src_key, dest_bucket_name, dest_key_name, *rest, **named)
        if getattr(src_key, "checksum_type", None) == "COMPOSITE":
            copy = self.get_object(dest_bucket_name, dest_key_name)
            copy.checksum_value = compute_checksum(copy.value, copy.checksum_algorithm).decode()
            copy.checksum_type = "FULL_OBJECT"

    backend_class.copy_object = copy_object


def _read_ranges_only(response_class: Any) -> None:
    """A request with ``Range`` reads the range, not the whole object."""
    original_get = response_class.get_object
    original_range = response_class._handle_range_header

    def get_object(self: Any) -> Any:
        token = _ranged.set(bool(self.headers.get("range")))
        try:
            return original_get(self)
        finally:
            _ranged.reset(token)

    def handle_range_header(self: Any, request: Any, headers: dict[str, Any], content: Any) -> Any:
        status, headers, content = original_range(self, request, headers, content)
        return status, headers, bytes(content) if isinstance(content, StoredContent) else content

    response_class.get_object = get_object
    response_class._handle_range_header = handle_range_header
