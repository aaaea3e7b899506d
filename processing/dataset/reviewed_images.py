"""Images that people labelled, as further training images: ``<id>/{label.json,image.*}`` of `scones review label`.

Runs in the filter job. Reads a folder or a prefix in S3, which may hold nothing. Test images never come from here, and
an image that the dataset holds already, in whichever split, is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from imaging.dataset import Labels
from imaging.decode import IMAGE_SIZE, ImageError, Pixels, decode_image
from processing.dataset.picture_source import exact_print
from processing.dataset.source import LabelledImages
from reporting.documents.json import DocumentError, from_bytes
from reporting.job import JobError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

NEVER = "never"
NO_CLASS = "none"  # `scones.review.records` writes it
LABEL_FILE = "label.json"
CONNECTIONS = 8
MAX_FILE_BYTES = 64 * 2**20  # of a label or a photograph; several are read at once


@dataclass
class Reviewed:
    """Images with their labels, in the order of their names, and how many were left out for which reason."""

    labels: list[int] = field(default_factory=list)
    pixels: list[Pixels] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def read_reviewed(where: str, until: str, classes: list[str], size: int = IMAGE_SIZE) -> Reviewed:
    """What was labelled up to a time, in ISO 8601, or never. Raises JobError."""
    found = Reviewed()
    if until == NEVER:
        return found
    end = _time(until, "--reviewed-until")
    place = _Prefix(where) if where.startswith("s3://") else _Folder(Path(where))
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        reviews = zip(names := list(place.names()), pool.map(place.read, names), strict=True)
        for name, text in reviews:
            review = _review(text, f"{where}/{name}")
            if _time(review.at, f"{where}/{name}") > end:
                continue
            label, image = review.label, review.image
            if label == NO_CLASS or label not in classes:
                found.left_out["of none of the classes"] += 1
            elif not image:
                found.left_out["without a copy of the image"] += 1
            else:
                picture = f"{name.rpartition('/')[0]}/{image.rpartition('/')[2]}"
                _add(found, place, picture, classes.index(label), size)
    return found


def _add(found: Reviewed, place: _Prefix | _Folder, name: str, label: int, size: int) -> None:
    try:
        pixels = decode_image(place.read(name), size)
    except ImageError:
        found.left_out["that cannot be read"] += 1
        return
    found.labels.append(label)
    found.pixels.append(pixels)
    found.places.append(f"reviews/{name}")


class _Review(msgspec.Struct, frozen=True):
    """What is read of ``label.json``."""

    label: str
    at: str
    image: str | None


def _review(text: bytes, where: str) -> _Review:
    try:
        return from_bytes(text, _Review)
    except DocumentError as error:
        raise JobError(f"{where} is not what `scones review label` writes ({error}): label the image again") from error


def _time(text: str, what: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except (ValueError, TypeError) as error:
        raise JobError(f"{what}: expected a time such as 2026-01-31T12:00:00Z, got {text!r}") from error
    if found.tzinfo is None:
        raise JobError(f"{what}: expected a time with its zone, such as 2026-01-31T12:00:00Z, got {text!r}")
    return found


def join(images: LabelledImages, reviewed: Reviewed) -> LabelledImages:
    """Both, the reviewed ones last, with rows behind all others of the source."""
    if not reviewed.labels:
        return images
    first = int(images.rows.max()) + 1
    added = np.stack(reviewed.pixels)
    # In memory as the source's are: fingerprints of images are taken in the order in which their bytes lie.
    example = images.pixels(images.rows[:1])

    def pixels(rows: Labels) -> Pixels:
        chosen = np.empty_like(example, shape=(len(rows), *added.shape[1:]))
        ours = rows >= first
        chosen[ours] = added[rows[ours] - first]
        if not ours.all():
            chosen[~ours] = images.pixels(rows[~ours])
        return chosen

    def place(row: int) -> str:
        return reviewed.places[row - first] if row >= first else images.place(row)

    def prints(rows: Labels) -> npt.NDArray[np.uint64]:
        assert images.prints is not None  # noqa: S101  # given only where it is
        found = np.empty(len(rows), np.uint64)
        ours = rows >= first
        found[ours] = [exact_print(added[row - first]) for row in rows[ours].tolist()]
        found[~ours] = images.prints(rows[~ours])
        return found

    return LabelledImages(
        np.concatenate([images.labels, np.array(reviewed.labels, dtype=np.int64)]),
        np.concatenate([images.rows, np.arange(first, first + len(added))]),
        pixels,
        place,
        prints=prints if images.prints else None,
        written=lambda row: images.written(row) if images.written and row < first else None,
    )


class _Folder:
    """A folder of reviews."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> Iterator[str]:
        yield from (path.relative_to(self._folder).as_posix() for path in sorted(self._folder.glob(f"*/{LABEL_FILE}")))

    def read(self, name: str) -> bytes:
        with (self._folder / name).open("rb") as file:
            return _whole(file, f"{self._folder / name}")


class _Prefix:
    """A prefix in S3; what S3 refuses is raised as JobError."""

    def __init__(self, uri: str) -> None:
        import boto3  # only a job with reviews on S3 needs it, and it takes a third of a second to import

        self._uri = uri.rstrip("/")
        self._bucket, _, self._key = self._uri.removeprefix("s3://").partition("/")
        self._s3: S3Client = boto3.client("s3")

    def names(self) -> Iterator[str]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=f"{self._key}/")
            keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        except (ClientError, BotoCoreError) as error:
            raise JobError(f"{self._uri} cannot be listed: {error}") from error
        yield from (key.removeprefix(f"{self._key}/") for key in keys if key.endswith(f"/{LABEL_FILE}"))

    def read(self, name: str) -> bytes:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            content = self._s3.get_object(Bucket=self._bucket, Key=f"{self._key}/{name}")["Body"]
            return _whole(content, f"{self._uri}/{name}")
        except (ClientError, BotoCoreError) as error:
            raise JobError(f"{self._uri}/{name} cannot be read: {error}") from error


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _whole(file: _Readable, where: str) -> bytes:
    content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise JobError(f"{where} has more than {MAX_FILE_BYTES:,} bytes: this is not what `scones review label` writes")
    return content
