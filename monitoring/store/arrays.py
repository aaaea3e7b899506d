"""Arrow arrays from lists and numpy arrays and back, without `pyarrow.array` and ``to_numpy``.

Runs in the monitoring container. Values in, values out. These import pandas wherever that is installed, to ask whether
they were given one of its objects; that costs 50 MB and a third of a second, more than an hour's captures do.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]  # no types are published

Number = TypeVar("Number", bound=np.generic)
TextPart = npt.NDArray[np.uint8] | Sequence[str | None]

DICTIONARY = pa.dictionary(pa.int32(), pa.string())


def numbers(given: npt.NDArray[Number], kind: pa.DataType) -> pa.Array:
    """Of numbers that have the type's layout already."""
    return pa.Array.from_buffers(kind, len(given), [None, pa.py_buffer(np.ascontiguousarray(given))])


def flags(given: npt.NDArray[np.bool_]) -> pa.Array:
    """Of truth values."""
    return pa.Array.from_buffers(pa.bool_(), len(given), [None, _bits(given)])


def values(array: pa.Array, dtype: type[Number]) -> npt.NDArray[Number]:
    """The numbers of an array without nulls, without a copy."""
    return np.frombuffer(array.buffers()[1], dtype)[array.offset : array.offset + len(array)]


def column(table: pa.Table, name: str, dtype: type[Number]) -> npt.NDArray[Number]:
    """The numbers of a table's column without nulls."""
    return np.concatenate([np.empty(0, dtype), *(values(chunk, dtype) for chunk in table.column(name).chunks)])


def text(given: Sequence[str | None]) -> pa.Array:
    """Of text, with nulls."""
    known = ["" if each is None else each for each in given]
    joined = "".join(known)
    lengths = map(len, known) if joined.isascii() else (len(each.encode()) for each in known)
    ends = np.cumsum(np.fromiter(lengths, np.int64, len(known)))
    offsets = np.concatenate([np.zeros(1, np.int64), ends]).astype(np.int32)
    valid = None if None not in given else _bits(np.array([each is not None for each in given]))
    buffers = [valid, pa.py_buffer(offsets), pa.py_buffer(joined.encode())]
    return pa.Array.from_buffers(pa.string(), len(known), buffers)


def texts(parts: Sequence[TextPart]) -> pa.Array:
    """Of text in parts, each a list or, where all are of one width in ASCII, uint8 [n, width]."""
    arrays = [_of_width(part) if isinstance(part, np.ndarray) else text(part) for part in _joined(parts)]
    return pa.concat_arrays(arrays) if len(arrays) != 1 else arrays[0]


def _joined(parts: Sequence[TextPart]) -> list[TextPart]:
    """The same in few parts."""
    result: list[TextPart] = []
    for width, group in itertools.groupby(parts, lambda part: part.shape[1] if isinstance(part, np.ndarray) else None):
        if width is None:
            result.append([each for part in group for each in part])
        else:
            result.append(np.concatenate([part for part in group if isinstance(part, np.ndarray)]))
    return result or [[]]


def _of_width(characters: npt.NDArray[np.uint8]) -> pa.Array:
    count, width = characters.shape
    offsets = np.arange(count + 1, dtype=np.int32) * width
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(characters))]
    return pa.Array.from_buffers(pa.string(), count, buffers)


def dictionary(at: npt.NDArray[np.int32], values_: Sequence[str]) -> pa.Array:
    """Of text that is one of a few values; an index of -1 is null."""
    valid = None if (at >= 0).all() else _bits(at >= 0)
    codes = pa.Array.from_buffers(pa.int32(), len(at), [valid, pa.py_buffer(np.maximum(at, 0))])
    return pa.DictionaryArray.from_arrays(codes, text(values_))


def _bits(given: npt.NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(given, bitorder="little"))
