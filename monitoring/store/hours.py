"""One hour of one variant's predictions as a parquet file, with what is known of the hour in its metadata.

Runs in the monitoring container. Reads and writes ``<variant's folder>/day=yyyy-mm-dd/hh.parquet`` and, where lines are
malformed, ``_hh.quarantine.jsonl`` beside it: Athena and Spark pass over names that begin so. An hour is a function of
the capture files that were read: rows stand in the order of file and offset, of two rows with one eventId the later
counts as duplicate, and reading a file again replaces its rows. So it does not matter in which order files come, nor
whether a job was killed between two hours.

Columns: ``event_id``, ``inference_id`` (null where none was sent), ``time`` (UTC), ``probabilities``, ``predicted``
(class index), ``confidence`` (its probability), ``model_version`` (null where the line does not name it), ``file`` and
``offset`` (the line's place below the captures' root), ``duplicate``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TypedDict

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]  # no types are published
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from monitoring.captures import quarantine
from monitoring.captures.columns import Columns, Part
from monitoring.captures.quarantine import QuarantinedLine
from monitoring.captures.times import HOUR_US, microseconds, moment, parse_time
from monitoring.store import arrays as store_arrays
from monitoring.store import days
from monitoring.store.aggregates import Aggregate, Floats, Rows, aggregate

Flags = npt.NDArray[np.bool_]


class _Format(TypedDict):
    """Arguments of pyarrow's parquet writer."""

    compression: str
    use_dictionary: list[str]
    write_statistics: bool
    write_batch_size: int


# Not compressed: most of a row are random ids, which would shrink to a half and take a tenth of an update's time.
FORMAT: _Format = {
    "compression": "none",
    "use_dictionary": ["file", "model_version"],
    "write_statistics": False,
    "write_batch_size": 1 << 15,
}
WRITE_BYTES = 1 << 20  # at once, since pages are small
# Odd numbers of 64 bits without a pattern, as many as an eventId such as SageMaker makes has words of 4 bytes.
FACTORS = np.array([pow(0x9E3779B97F4A7C15, power, 1 << 64) for power in range(1, 10)], np.uint64)
TIME = pa.timestamp("us", "UTC")
_NAME = re.compile(r"(?:^|/)day=(\d{4}-\d\d-\d\d)/_?(\d\d)\.[a-z0-9.-]+$")


class HourMetadata(msgspec.Struct, frozen=True):
    """What the parquet file says of its hour. ``thresholds`` are those of ``aggregate``'s ``below``, by class."""

    aggregate: Aggregate
    thresholds: list[float]


def schema(class_count: int) -> pa.Schema:
    """Of the rows of `table`; files have the column ``duplicate`` too."""
    return pa.schema(
        {
            "event_id": pa.string(),
            "inference_id": pa.string(),
            "time": TIME,
            "probabilities": pa.list_(pa.float64(), class_count),
            "predicted": pa.int32(),
            "confidence": pa.float64(),
            "model_version": store_arrays.DICTIONARY,
            "file": store_arrays.DICTIONARY,
            "offset": pa.int64(),
        }
    )


def table(columns: Columns, files: list[str], class_count: int) -> pa.Table:
    """The predictions in ``columns`` as rows."""
    parts = columns.parts
    scores = np.concatenate([np.empty((0, class_count)), *(part.probabilities for part in parts)])
    offsets = np.concatenate([np.empty(0, np.int64), *(part.offsets for part in parts)])
    arrays = [
        store_arrays.texts([part.event_ids for part in parts]),
        store_arrays.texts([part.inference_ids for part in parts]),
        store_arrays.numbers(columns.times_us, TIME),
        pa.FixedSizeListArray.from_arrays(store_arrays.numbers(scores.ravel(), pa.float64()), class_count),
        store_arrays.numbers(scores.argmax(axis=1).astype(np.int32), pa.int32()),
        store_arrays.numbers(scores.max(axis=1, initial=0.0), pa.float64()),
        _versions(parts),
        store_arrays.dictionary(columns.files.astype(np.int32), files),
        store_arrays.numbers(offsets, pa.int64()),
    ]
    return pa.Table.from_arrays(arrays, schema=schema(class_count))


def _versions(parts: Sequence[Part]) -> pa.Array:
    given = [
        [part.versions] if part.versions is None or isinstance(part.versions, str) else part.versions for part in parts
    ]
    names = sorted({version for versions in given for version in versions if version is not None})
    place: dict[str | None, int] = {version: at for at, version in enumerate(names)}
    codes = [
        np.broadcast_to(np.array([place.get(each, -1) for each in versions], np.int32), len(part.files))
        for part, versions in zip(parts, given, strict=True)
    ]
    return store_arrays.dictionary(np.concatenate([np.empty(0, np.int32), *codes]), names)


def hour_file(variant_folder: Path, hour: int) -> Path:
    """Where an hour stands; ``hour`` counts from 1970."""
    return variant_folder / f"{moment(hour * HOUR_US):day=%Y-%m-%d/%H}.parquet"


def stored_hour(name: str) -> int | None:
    """The hour, counted from 1970, that a file of the store belongs to by its name; None for one of no hour."""
    match = _NAME.search(name)
    try:
        return microseconds(parse_time(f"{match[1]}T{match[2]}:00:00Z")) // HOUR_US if match else None
    except ValueError:
        return None


def stored_hours(name: str) -> tuple[int, int] | None:
    """The first and the last hour, counted from 1970, that a file of the store is about by its name; None for none."""
    if name.endswith(f"/{days.DAY_FILE}"):
        first = stored_hour(f"{name.removesuffix(days.DAY_FILE)}00.parquet")
        return None if first is None else (first, first + 23)
    hour = stored_hour(name)
    return None if hour is None else (hour, hour)


def quarantine_file(hour_path: Path) -> Path:
    """The file beside an hour's parquet file that holds its malformed lines."""
    return hour_path.with_name(f"_{hour_path.stem}.quarantine.jsonl")


def write_hour(
    path: Path,
    rows: list[pa.Table],
    malformed: list[QuarantinedLine],
    read_files: Collection[str],
    thresholds: Floats,
) -> None:
    """Put rows and malformed lines in place of all that came from ``read_files`` before."""
    if days.is_kept(path):
        rows = [_without(read_rows(path).drop_columns(["duplicate"]), read_files), *rows]
        malformed = [row for row in quarantine.read(quarantine_file(path)) if row.file not in read_files] + malformed
    rows = [_with_own_files(part) for part in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_quarantine(quarantine_file(path), malformed)
    whole = _in_order(pa.concat_tables(rows).unify_dictionaries()) if rows else schema(len(thresholds)).empty_table()
    duplicate = _duplicates(whole.column("event_id"))
    metadata = HourMetadata(
        _aggregate(whole, ~duplicate, thresholds, quarantine.counts(malformed)), thresholds.tolist()
    )
    whole = whole.append_column("duplicate", store_arrays.flags(duplicate))
    whole = whole.replace_schema_metadata({days.HOUR_KEY: msgspec.json.encode(metadata)})
    partial = path.with_suffix(".partial")
    # `pyarrow.parquet.write_table` looks for the file system of the path first.
    with (
        pa.BufferedOutputStream(pa.OSFile(str(partial), "wb"), WRITE_BYTES) as target,
        pq.ParquetWriter(target, whole.schema, **FORMAT) as writer,
    ):
        writer.write_table(whole)
    partial.replace(path)


def read_rows(path: Path, columns: list[str] | None = None) -> pa.Table:
    """The predictions of an hour."""
    with days.opened(path) as hour:
        return hour.rows(columns)


def empty_rows(class_count: int) -> pa.Table:
    """An hour without predictions."""
    return schema(class_count).append(pa.field("duplicate", pa.bool_())).empty_table()


def read_aggregate(path: Path, thresholds: Floats) -> Aggregate:
    """What is kept of an hour, its share below the threshold counted anew where the thresholds have changed."""
    with days.opened(path) as hour:
        found = msgspec.json.decode(hour.said, type=HourMetadata)
    if found.thresholds == thresholds.tolist():
        return found.aggregate
    columns = read_rows(path, ["predicted", "confidence", "time", "duplicate"])
    unique = ~np.array(columns.column("duplicate").to_pylist(), bool)
    return _aggregate(columns, unique, thresholds, found.aggregate.malformed)


def _without(rows: pa.Table, files: Collection[str]) -> pa.Table:
    names = rows.column("file").to_pylist()
    return _taken(rows, np.array([at for at, name in enumerate(names) if name not in files], np.int64))


def _with_own_files(rows: pa.Table) -> pa.Table:
    """The rows with the names of no other files than theirs; they may be a part of many hours read together."""
    at = rows.schema.get_field_index("file")
    files = rows.column(at).combine_chunks()
    files = files.chunk(0) if isinstance(files, pa.ChunkedArray) else files
    given = store_arrays.values(files.indices, np.int32)
    present = np.bincount(given, minlength=len(files.dictionary)) > 0
    used, codes = np.flatnonzero(present), (np.cumsum(present) - 1)[given]
    names = [files.dictionary[each].as_py() for each in used.tolist()]
    return rows.set_column(at, rows.schema.field(at), store_arrays.dictionary(codes.astype(np.int32), names))


def _taken(rows: pa.Table, at: npt.NDArray[np.int64]) -> pa.Table:
    return rows.take(store_arrays.numbers(at, pa.int64()))


def _in_order(rows: pa.Table) -> pa.Table:
    """By file and offset. Rows that were just read mostly stand so already."""
    rows = rows.combine_chunks()
    files = rows.column("file").chunk(0) if rows.num_rows else None
    if files is None:
        return rows
    names = files.dictionary.to_pylist()
    rank = np.empty(len(names), np.int64)
    rank[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    by_file = rank[store_arrays.values(files.indices, np.int32)]
    offsets = store_arrays.column(rows, "offset", np.int64)
    steps = np.diff(by_file)
    if ((steps > 0) | ((steps == 0) & (np.diff(offsets) > 0))).all():
        return rows
    return _taken(rows, np.lexsort((offsets, by_file)))


def _duplicates(column: pa.ChunkedArray) -> Flags:
    """True for every row whose eventId stands in an earlier one."""
    if _certainly_unique(column):
        return np.zeros(len(column), bool)
    event_ids: list[str] = column.to_pylist()
    if len(set(event_ids)) == len(event_ids):
        return np.zeros(len(event_ids), bool)
    first = dict(zip(reversed(event_ids), range(len(event_ids) - 1, -1, -1), strict=True))
    duplicate = np.ones(len(event_ids), bool)
    duplicate[list(first.values())] = False
    return duplicate


def _certainly_unique(column: pa.ChunkedArray) -> bool:
    """Whether no two texts are alike; False where that takes a closer look."""
    if len(column.chunks) != 1:
        return False
    (array,) = column.chunks
    _, ends, data = array.buffers()
    offsets = np.frombuffer(ends, np.int32)[array.offset : array.offset + len(array) + 1]
    width = int(offsets[1] - offsets[0]) if len(array) else 0
    if width == 0 or width % 4 or (np.diff(offsets) != width).any():
        return False
    words = np.frombuffer(data, np.uint32, len(array) * width // 4, int(offsets[0])).reshape(len(array), -1)
    # Equal texts have equal products, whose order tells; two others may have, but hardly ever do.
    products = np.sort(words.astype(np.uint64) @ FACTORS[: width // 4]) if width // 4 <= len(FACTORS) else words[:0, 0]
    return bool(len(products)) and bool((products[1:] != products[:-1]).all())


def _aggregate(rows: pa.Table, unique: Flags, thresholds: Floats, malformed: dict[str, int]) -> Aggregate:
    kept = Rows(
        store_arrays.column(rows, "predicted", np.int32)[unique],
        store_arrays.column(rows, "confidence", np.float64)[unique],
        store_arrays.column(rows, "time", np.int64)[unique],
    )
    return aggregate(kept, thresholds, int(len(unique) - unique.sum()), malformed)


def _write_quarantine(path: Path, rows: list[QuarantinedLine]) -> None:
    if not rows:
        path.unlink(missing_ok=True)
        return
    partial = path.with_suffix(".partial")
    partial.write_bytes(quarantine.encode(sorted(rows, key=lambda row: (row.file, row.line))))
    partial.replace(path)


def remove_partial(folder: Path) -> None:
    """Clear away what a job that was killed was writing."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".partial"):
                (Path(parent) / name).unlink(missing_ok=True)
