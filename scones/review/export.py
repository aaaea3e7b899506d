"""Reviewed images as training data: the dataset of the live model with them added to its training images.

Runs on a laptop. Reads the data bucket; writes a folder ``<split>/<class>/*``, local or in S3, which the training
pipeline takes as its source. A test image never becomes a training image: what came out of a pipeline run is left out
by its place, and what has the pixels of an image of the dataset by its content. For larger pictures, which cannot be
compared before they are scaled, the pipeline's own check is the last guard: it refuses a source in which two splits
share an image.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from scones import outputs
from scones.errors import SconesError
from scones.review import records as review
from scones.review.records import NO_CLASS, ReviewRecord
from scones.runs import executions
from scones.serving_versions import endpoint, registry
from scones.stage.connection import Connection, list_keys, split_uri

SPLITS = ("train", "validation", "test")
COPIES_AT_ONCE = 8


@dataclass(frozen=True)
class Exported:
    """Where the folder is, how many reviewed images of each class it has, and how many were left out, and why."""

    place: str
    dataset_uri: str
    added: dict[str, int]
    left_out: dict[str, int]


def export(connection: Connection, out: str) -> Exported:
    """Write the folder to ``out``, all of it or nothing. SconesError when something is there already."""
    _check_free(connection, out)
    dataset_uri = _dataset_uri(connection)
    local = None if out.startswith("s3://") else Path(out).absolute()
    if local:
        outputs.check_folder(local.parent)
        local.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, because a folder can be renamed within one file system only.
    with tempfile.TemporaryDirectory(prefix=".scones-export-", dir=local.parent if local else None) as scratch:
        folder = Path(scratch, "images")
        places = _download_dataset(connection, dataset_uri, folder)
        added, left_out = _add_reviewed(connection, folder, places)
        if local:
            shutil.rmtree(local, ignore_errors=True)  # empty, or it would have been refused
            folder.rename(local)
        else:
            _upload(connection, folder, out)
    return Exported(out, dataset_uri, dict(sorted(added.items())), dict(sorted(left_out.items())))


def _check_free(connection: Connection, out: str) -> None:
    if out.startswith("s3://"):
        taken = bool(list_keys(connection.client("s3"), f"{out.rstrip('/')}/"))
    else:
        path = Path(out)
        taken = path.exists() and (not path.is_dir() or any(path.iterdir()))
    if taken:
        raise SconesError(f"{out} is not empty: name a place where nothing is yet")


def _dataset_uri(connection: Connection) -> str:
    """Of the version that serves, else of the newest."""
    live = endpoint.status(connection)
    arn = live.model_package_arn if live else ""
    version = registry.deployed(connection, arn) if arn else registry.find(connection, None)
    return version.metadata["dataset_s3_uri"]


def _download_dataset(connection: Connection, uri: str, folder: Path) -> dict[str, str]:
    """Every image of the dataset as ``<split>/<class>/<name>``; answers the split of each, by its pixels' digest."""
    classes = executions.read_manifest(connection, uri).classes
    for split in SPLITS:
        for name in classes:
            (folder / split / name).mkdir(parents=True)
    rows = [(split, *row) for split in SPLITS for row in _rows(connection, uri, split)]

    def fetch(row: tuple[str, int, str]) -> tuple[str, str]:
        split, label, name = row
        content = _read(connection, *split_uri(f"{uri}/{split}/{name}"))
        (folder / split / classes[label] / PurePosixPath(name).name).write_bytes(content)
        return digest_of(content), split

    with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
        return dict(pool.map(fetch, rows))


def _rows(connection: Connection, uri: str, split: str) -> Iterator[tuple[int, str]]:
    for line in _read(connection, *split_uri(f"{uri}/{split}.lst")).decode().splitlines():
        _, label, name = line.split("\t")
        yield int(label), name


def _read(connection: Connection, bucket: str, key: str) -> bytes:
    content: bytes = connection.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def digest_of(content: bytes) -> str:
    """Of an image's size and pixels, whatever kind of file it is in; of the bytes where it cannot be read."""
    from PIL import Image  # heavy, and only an export needs it

    try:
        with Image.open(io.BytesIO(content)) as image:
            pixels = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha256(f"{pixels.size}".encode() + pixels.tobytes()).hexdigest()


def _add_reviewed(connection: Connection, folder: Path, places: dict[str, str]) -> tuple[Counter[str], Counter[str]]:
    """The reviewed images, the newest review first: where the same image was labelled twice, that one counts."""
    known = dict(places)
    added: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for found in sorted(review.reviews(connection), key=lambda one: one.at, reverse=True):
        reason = _reason_against(connection, found, folder)
        if reason or found.image is None:
            left_out[reason] += 1
            continue
        content = _read(connection, connection.names.data_bucket, found.image)
        digest = digest_of(content)
        if digest in known:
            left_out[f"in {known[digest]} already"] += 1
            continue
        known[digest] = "train"
        copy = PurePosixPath(found.image)
        (folder / "train" / found.label / f"review-{copy.parent.name}{copy.suffix}").write_bytes(content)
        added[found.label] += 1
    return added, left_out


def _reason_against(connection: Connection, found: ReviewRecord, folder: Path) -> str:
    """Why a reviewed image is no training image; empty when nothing speaks against it so far."""
    uri = f"s3://{found.message['s3_bucket']}/{found.message['s3_key']}"
    if found.label == NO_CLASS:
        return "shows none of the classes"
    if not (folder / "train" / found.label).is_dir():
        return f"{found.label} is no class of the dataset"
    if uri.startswith(f"{connection.names.pipeline_runs_uri}/"):
        return "comes from the dataset of a pipeline run"
    return "" if found.image else "the image is gone"


def _upload(connection: Connection, folder: Path, uri: str) -> None:
    bucket, prefix = split_uri(uri.rstrip("/"))
    files = [path for path in folder.rglob("*") if path.is_file()]

    def send(path: Path) -> None:
        connection.client("s3").upload_file(str(path), bucket, f"{prefix}/{path.relative_to(folder).as_posix()}")

    with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
        list(pool.map(send, files))
