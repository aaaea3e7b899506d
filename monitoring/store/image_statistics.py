"""Statistics of a sample of each hour's captured images: the lens changes before the model's answers do.

Runs in the monitoring container. Reads hours of the store and, in the capture files, the lines of the sampled records;
writes ``_hh.images.parquet`` beside the hour. Decoding an image takes many times as long as reading a record, so only
a sample of the hour is decoded: the `SAMPLE` records whose eventIds have the smallest checksums, hence the same ones
whenever the hour is looked at, and spread like its traffic.

Columns: ``event_id``, ``time``, and those of `imaging.statistics.STATISTICS`, NaN where no image was captured or it
cannot be decoded.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]  # no types are published
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from imaging.decode import IMAGE_SIZE, ImageError, decode_image
from imaging.statistics import STATISTICS, image_statistics
from monitoring.captures.files import line_at
from monitoring.captures.line import MalformedLineError, input_bytes, parse_document
from monitoring.store import arrays as store_arrays
from monitoring.store import hours as store_hours
from monitoring.store.novelty import NOVELTY, NoveltyModel
from monitoring.store.store import Store, Variant

SAMPLE = 200
"""Records of an hour whose images are decoded."""

Bring = Callable[[Iterable[str]], None]
"""Copies capture files that are wanted, by name, to where they are read; one that is gone is not."""


def bring_nothing(_names: Iterable[str]) -> None:
    """Of captures that are all here."""


def hourly_image_statistics(
    store: Store,
    variant: Variant,
    hours: tuple[int, int],
    captures: Path,
    sample: int = SAMPLE,
    *,
    image_size: int = IMAGE_SIZE,
    novelty: NoveltyModel | None = None,
    bring: Bring = bring_nothing,
) -> dict[int, pa.Table]:
    """The statistics of the hours from first to last, by hour.

    They are computed where they are missing or the sample has changed; ``captures`` is where the capture files are,
    and ``bring`` is asked for those that may not be: an earlier job may have read a file and not looked at its images.
    A record whose file is gone keeps what was found before.
    """
    look = _Look(captures, sample, image_size, novelty, bring)
    return {hour: _of_hour(path, look) for hour, path in store.hours(variant, *hours)}


def images_file(hour_path: Path, image_size: int = IMAGE_SIZE, novelty: NoveltyModel | None = None) -> Path:
    """Where the statistics of an hour stand; another size, and what a model says, has files of its own."""
    size = "" if image_size == IMAGE_SIZE else str(image_size)
    return hour_path.with_name(f"_{hour_path.stem}.images{size}{f'-{novelty.digest}' if novelty else ''}.parquet")


@dataclass(frozen=True)
class _Look:
    """Where the capture files are, at how many records of an hour to look, and how."""

    captures: Path
    sample: int
    image_size: int
    novelty: NoveltyModel | None
    bring: Bring

    @property
    def names(self) -> tuple[str, ...]:
        return STATISTICS if self.novelty is None else (*STATISTICS, NOVELTY)

    def statistics(self, images: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float64]]:
        found = image_statistics(images)
        return found if self.novelty is None else found | {NOVELTY: self.novelty(images)}


def _of_hour(path: Path, look: _Look) -> pa.Table:
    captures, image_size = look.captures, look.image_size
    target = images_file(path, image_size, look.novelty)
    wanted = _sample(store_hours.read_rows(path, ["event_id", "time", "file", "offset", "duplicate"]), look.sample)
    event_ids: list[str] = wanted.column("event_id").to_pylist()
    before = store_hours.read_rows(target) if target.exists() else None
    if before is not None and before.column("event_id").to_pylist() == event_ids:
        return before
    known = {} if before is None else {row.pop("event_id"): row for row in before.to_pylist()}
    found = {name: np.array([known.get(each, {}).get(name, np.nan) for each in event_ids]) for name in look.names}
    new = [at for at, each in enumerate(event_ids) if each not in known]
    files, offsets = wanted.column("file").to_pylist(), wanted.column("offset").to_pylist()
    look.bring({files[at] for at in new})
    images = {at: image for at in new if (image := _image(captures / files[at], offsets[at], image_size)) is not None}
    if images:
        for name, values in look.statistics(np.stack(list(images.values()))).items():
            found[name][list(images)] = values
    result = wanted.select(["event_id", "time"])
    for name, values in found.items():
        result = result.append_column(name, store_arrays.numbers(values, pa.float64()))
    partial = target.with_suffix(".partial")
    pq.write_table(result, partial)
    partial.replace(target)
    return result


def _sample(rows: pa.Table, size: int) -> pa.Table:
    """The records to look at, in the order of the checksums of their eventIds."""
    event_ids, duplicate = rows.column("event_id").to_pylist(), rows.column("duplicate").to_pylist()
    order = sorted((zlib.crc32(each.encode()), each, at) for at, each in enumerate(event_ids) if not duplicate[at])
    return rows.take(store_arrays.numbers(np.array([at for _, _, at in order[:size]], np.int64), pa.int64()))


def _image(path: Path, offset: int, size: int) -> npt.NDArray[np.uint8] | None:
    """The image of a record as the model sees it, or None."""
    try:
        data = input_bytes(parse_document(line_at(path, offset)))
        return None if data is None else decode_image(data, size)
    except (OSError, MalformedLineError, ImageError):
        return None
