"""One hour of one variant's predictions as a parquet file, with what is known of the hour in its metadata.

Runs in the monitoring container. Reads and writes ``<variant's folder>/yyyy/mm/dd/hh.parquet`` and, where lines are
malformed, ``hh.quarantine.jsonl`` beside it. An hour is a function of the capture files that were read: rows stand in
the order of file and offset, of two rows with one eventId the later counts as duplicate, and reading a file again
replaces its rows. So it does not matter in which order files come, nor whether a job was killed between two hours.

Columns: ``event_id``, ``inference_id`` (null where none was sent), ``time`` (UTC), ``probabilities``, ``predicted``
(class index), ``confidence`` (its probability), ``model_version`` (null where the line does not name it), ``file`` and
``offset`` (the line's place below the captures' root), ``duplicate``.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from monitoring import quarantine
from monitoring.aggregates import Aggregate, Thresholds, aggregate
from monitoring.capture_columns import Columns
from monitoring.capture_time import moment
from monitoring.quarantine import Row

METADATA_KEY = b"scones.hour"
_TEXT_DICTIONARY = pa.dictionary(pa.int32(), pa.string())


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
            "time": pa.timestamp("us", "UTC"),
            "probabilities": pa.list_(pa.float64(), class_count),
            "predicted": pa.int32(),
            "confidence": pa.float64(),
            "model_version": _TEXT_DICTIONARY,
            "file": _TEXT_DICTIONARY,
            "offset": pa.int64(),
        }
    )


def table(columns: Columns, files: list[str], class_count: int) -> pa.Table:
    """The predictions in ``columns`` as rows."""
    times = np.concatenate(columns.times_us) if columns.times_us else np.empty(0, np.int64)
    scores = np.concatenate(columns.probabilities) if columns.probabilities else np.empty((0, class_count))
    versions = pa.array(columns.versions, pa.string())
    arrays = [
        pa.array(columns.event_ids, pa.string()),
        pa.array(columns.inference_ids, pa.string()),
        pa.array(times).cast(pa.timestamp("us", "UTC")),
        pa.FixedSizeListArray.from_arrays(pa.array(scores.ravel()), class_count),
        pa.array(scores.argmax(axis=1).astype(np.int32)),
        pa.array(scores.max(axis=1, initial=0.0)),
        versions.dictionary_encode(),
        pa.DictionaryArray.from_arrays(pa.array(columns.files, pa.int32()), pa.array(files, pa.string())),
        pa.array(columns.offsets, pa.int64()),
    ]
    return pa.Table.from_arrays(arrays, schema=schema(class_count))


def hour_file(variant_folder: Path, hour: int) -> Path:
    """Where an hour stands; ``hour`` counts from 1970."""
    return variant_folder / f"{moment(hour * 3_600_000_000):%Y/%m/%d/%H}.parquet"


def quarantine_file(hour_path: Path) -> Path:
    return hour_path.with_suffix(".quarantine.jsonl")


def write_hour(
    path: Path,
    rows: list[pa.Table],
    malformed: list[Row],
    read_files: Collection[str],
    thresholds: np.ndarray[Any, Any],
) -> None:
    """Put rows and malformed lines in place of all that came from ``read_files`` before."""
    if path.exists():
        rows = [_without(pq.read_table(path).drop_columns(["duplicate"]), read_files), *rows]
        malformed = [row for row in quarantine.read(quarantine_file(path)) if row.file not in read_files] + malformed
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_quarantine(quarantine_file(path), malformed)
    whole = _in_order(pa.concat_tables(rows).unify_dictionaries()) if rows else schema(len(thresholds)).empty_table()
    duplicate = _duplicates(whole.column("event_id"))
    whole = whole.append_column("duplicate", pa.array(duplicate))
    metadata = HourMetadata(_aggregate(whole, thresholds, quarantine.counts(malformed)), thresholds.tolist())
    whole = whole.replace_schema_metadata({METADATA_KEY: msgspec.json.encode(metadata)})
    partial = path.with_suffix(".partial")
    pq.write_table(
        whole, partial, compression="zstd", compression_level=1, use_dictionary=["file", "model_version"],
        write_statistics=False,
    )  # fmt: skip
    partial.replace(path)


def read_aggregate(path: Path, thresholds: np.ndarray[Any, Any]) -> Aggregate:
    """What is kept of an hour, its share below the threshold counted anew where the thresholds have changed."""
    found = msgspec.json.decode(pq.read_metadata(path).metadata[METADATA_KEY], type=HourMetadata)
    if found.thresholds == thresholds.tolist():
        return found.aggregate
    columns = pq.read_table(path, columns=["predicted", "confidence", "time", "duplicate"])
    return _aggregate(columns, thresholds, found.aggregate.malformed)


def passing(thresholds: Thresholds, labels: tuple[str, ...], count: int) -> np.ndarray[Any, Any]:
    """The thresholds by class, as the functions above take them."""
    return thresholds.by_index(labels, count)


def _without(rows: pa.Table, files: Collection[str]) -> pa.Table:
    return rows.filter(pc.invert(pc.is_in(rows.column("file").cast(pa.string()), pa.array(list(files), pa.string()))))


def _in_order(rows: pa.Table) -> pa.Table:
    """By file and offset. Rows that were just read mostly stand so already."""
    rows = rows.combine_chunks()
    files = rows.column("file").chunk(0) if rows.num_rows else None
    if files is None:
        return rows
    names = files.dictionary.to_pylist()
    rank = np.empty(len(names), np.int64)
    rank[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    by_file = rank[files.indices.to_numpy()]
    offsets = rows.column("offset").to_numpy()
    steps = np.diff(by_file)
    if ((steps > 0) | ((steps == 0) & (np.diff(offsets) > 0))).all():
        return rows
    return rows.take(np.lexsort((offsets, by_file)))


def _duplicates(event_ids: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """bool, true for every row whose eventId stands in an earlier one."""
    count = len(event_ids)
    if not count or pc.count_distinct(event_ids).as_py() == count:
        return np.zeros(count, bool)
    codes = event_ids.combine_chunks().dictionary_encode().indices.to_numpy()
    duplicate = np.ones(count, bool)
    duplicate[np.unique(codes, return_index=True)[1]] = False
    return duplicate


def _aggregate(rows: pa.Table, thresholds: np.ndarray[Any, Any], malformed: dict[str, int]) -> Aggregate:
    unique = ~rows.column("duplicate").to_numpy()
    return aggregate(
        rows.column("predicted").to_numpy()[unique],
        rows.column("confidence").to_numpy()[unique],
        rows.column("time").cast(pa.int64()).to_numpy()[unique],
        thresholds,
        int(len(unique) - unique.sum()),
        malformed,
    )


def _write_quarantine(path: Path, rows: list[Row]) -> None:
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
