"""Find the CIFAR-100 images, or get them: the archive that the pipeline starts from.

Runs on a laptop or in CodeBuild. Looks, in this order, at ``--data`` or ``SCONES_DATA``, ``data/`` in the project,
``../shared/cifar100/`` beside it, and last downloads the official archive into ``data/``. Images drawn by
`scones.source_data.sample_data` are used only when asked for.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from scones.errors import SconesError
from scones.stage.connection import object_exists, split_uri
from scones.stage.settings import WORKING_FOLDER

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

ARCHIVE_NAME = "cifar-100-python.tar.gz"
OFFICIAL_URL = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
OFFICIAL_MD5 = "eb9058c3a382ffc7106e4002c42a8d85"  # printed on https://www.cs.toronto.edu/~kriz/cifar.html
DATA_DIR = WORKING_FOLDER / "data"
SHARED_DIR = WORKING_FOLDER.parent / "shared" / "cifar100"

LIST_SUFFIXES = {".csv", ".tsv", ".manifest", ".jsonl"}
LAYOUTS = "a folder with <class>/*, train/<class>/* and test/<class>/*, .tar shards, or a .csv or .manifest list"
PART_BYTES = 1 << 20
CONNECTIONS = 8
"""Files that are uploaded at once."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FoundImages:
    """The images to start from: CIFAR-100's archive, or a folder of pictures, perhaps with the list that names them."""

    path: Path
    origin: str
    drawn: bool = False
    listed: Path | None = None

    @property
    def named(self) -> Path:
        """What somebody named: the list, or the folder or archive itself."""
        return self.listed or self.path


def find(path: Path | None = None) -> FoundImages | None:
    """The first source there is, without downloading; raises SconesError when ``path`` or SCONES_DATA is wrong."""
    named = path or (Path(os.environ["SCONES_DATA"]) if os.environ.get("SCONES_DATA") else None)
    if named is not None:
        listed = named.expanduser().absolute() if named.suffix.lower() in LIST_SUFFIXES and named.is_file() else None
        return FoundImages(_archive_at(named), "--data" if path else "SCONES_DATA", listed=listed)
    for folder in (DATA_DIR, SHARED_DIR):
        if (folder / ARCHIVE_NAME).is_file():
            return FoundImages(folder / ARCHIVE_NAME, str(folder))
    return None


def _archive_at(given: Path) -> Path:
    if str(given).startswith("s3:/"):
        raise SconesError("images in S3 are for `scones data show` and `scones pipeline run`: give their --data there")
    path = given.expanduser().absolute()
    if path.is_file():
        return path.parent if path.suffix.lower() in LIST_SUFFIXES else path
    if (path / ARCHIVE_NAME).is_file():
        return path / ARCHIVE_NAME
    if any(inner.is_file() for inner in path.rglob("*")):
        return path
    raise SconesError(f"no images at {path}: expected {ARCHIVE_NAME}, a folder that holds it, or {LAYOUTS}")


def fetch(progress: Progress | None = None, url: str = OFFICIAL_URL, md5: str = OFFICIAL_MD5) -> FoundImages:
    """Download the official archive into ``data/``; nothing is left behind unless its checksum is right."""
    DATA_DIR.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=DATA_DIR, prefix=".download-", delete=False) as partial:
        try:
            digest = _download(url, partial, progress)
            if digest != md5:
                raise SconesError(f"{url} has MD5 {digest}, expected {md5}: nothing was kept; try again")
            partial.flush()
            Path(partial.name).replace(DATA_DIR / ARCHIVE_NAME)
        except (urllib.error.URLError, TimeoutError, OSError) as error:
            raise SconesError(
                f"CIFAR-100 is neither here nor could it be downloaded ({_reason(error)}): give its place with --data"
                f" PATH or SCONES_DATA, put {ARCHIVE_NAME} into {DATA_DIR}, or draw vehicles with --sample"
            ) from error
        finally:
            Path(partial.name).unlink(missing_ok=True)
    return FoundImages(DATA_DIR / ARCHIVE_NAME, url)


def _download(url: str, target: IO[bytes], progress: Progress | None) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 - the URL is a constant of ours, https
        total = int(response.headers.get("Content-Length") or 0)
        done = 0
        while chunk := response.read(1 << 20):
            target.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if progress:
                progress(done, total)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error)


def _seen(folder: Path) -> list[Path]:
    """The files below a folder, but for what is hidden or lies in hidden folders: it may hold secrets."""
    inner = ((path, path.relative_to(folder).parts) for path in folder.rglob("*"))
    return sorted(path for path, parts in inner if path.is_file() and not any(part.startswith(".") for part in parts))


def upload(s3: S3Client, source: FoundImages, source_uri: str, names: Sequence[str] | None = None) -> str:
    """Upload the images below ``source_uri``, keyed by their content, unless they are there; answers their folder.

    ``names`` are those of the files, where it is known which ones are read; else they are all that can be seen.
    """
    if source.path.is_file():
        files = [source.path]
    else:
        files = _seen(source.path) if names is None else [source.path / name for name in sorted(names)]
    base = source.path.parent if source.path.is_file() else source.path
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(base)).encode())
        with file.open("rb") as content:  # a tar file may be larger than memory
            while part := content.read(PART_BYTES):
                digest.update(part)
    folder = f"{source_uri}/{digest.hexdigest()[:16]}"
    bucket, prefix = split_uri(folder)

    def put(file: Path) -> None:
        name = ARCHIVE_NAME if source.path.is_file() else file.relative_to(base).as_posix()
        key = f"{prefix}/{name}"
        if not object_exists(s3, bucket, key):
            s3.upload_file(str(file), bucket, key)

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for _ in pool.map(put, files):
            pass
    return folder
