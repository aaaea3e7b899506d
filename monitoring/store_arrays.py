"""Arrow arrays from lists and numpy arrays and back, without `pyarrow.array` and ``to_numpy``.

Runs in the monitoring container. Values in, values out. These import pandas wherever that is installed, to ask whether
they were given one of its objects; that costs 50 MB and a third of a second, more than an hour's captures do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]  # no types are published

DICTIONARY = pa.dictionary(pa.int32(), pa.string())


def numbers(given: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Of numbers that have the type's layout already."""
    return pa.Array.from_buffers(kind, len(given), [None, pa.py_buffer(np.ascontiguousarray(given))])


def flags(given: npt.NDArray[np.bool_]) -> pa.Array:
    """Of truth values."""
    return pa.Array.from_buffers(pa.bool_(), len(given), [None, _bits(given)])


def values(array: pa.Array, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """The numbers of an array without nulls, without a copy."""
    return np.frombuffer(array.buffers()[1], dtype)[array.offset : array.offset + len(array)]


def column(table: pa.Table, name: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """The numbers of a table's column without nulls."""
    return np.concatenate([np.empty(0, dtype), *(values(chunk, dtype) for chunk in table.column(name).chunks)])


def text(texts: Sequence[str | None]) -> pa.Array:
    """Of text, with nulls."""
    known = ["" if each is None else each for each in texts]
    joined = "".join(known)
    lengths = map(len, known) if joined.isascii() else (len(each.encode()) for each in known)
    ends = np.cumsum(np.fromiter(lengths, np.int64, len(known)))
    offsets = np.concatenate([np.zeros(1, np.int64), ends]).astype(np.int32)
    valid = None if None not in texts else _bits(np.array([each is not None for each in texts]))
    buffers = [valid, pa.py_buffer(offsets), pa.py_buffer(joined.encode())]
    return pa.Array.from_buffers(pa.string(), len(known), buffers)


def dictionary(indices: Sequence[int], texts: Sequence[str]) -> pa.Array:
    """Of text that is one of a few values; an index of -1 is null."""
    at = np.array(indices, np.int32)
    valid = None if (at >= 0).all() else _bits(at >= 0)
    codes = pa.Array.from_buffers(pa.int32(), len(at), [valid, pa.py_buffer(np.maximum(at, 0))])
    return pa.DictionaryArray.from_arrays(codes, text(texts))


def _bits(given: npt.NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(given, bitorder="little"))
