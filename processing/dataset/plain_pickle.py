"""Read a pickle that holds plain data and arrays of bytes, without unpickling: nothing in it can run or be imported.

Runs in the filter job. CIFAR-100's batches are pickles. An unpickler with an allow-list still lets numpy build dtypes
and arrays out of numbers that a stranger chose, and reserves memory for them. This reader knows the opcodes that such
files consist of, and gives the few global names in them a meaning of its own.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from math import prod

import numpy as np
import numpy.typing as npt

Buffer = bytes | bytearray | memoryview

MAX_OPCODES = 2_000_000  # CIFAR-100's 50,000 rows take 0.3 million; each makes an object of at most some 100 bytes
LONG_BYTES = 1 << 16  # from this size on, bytes stay a view of the file
MAX_NAME = 100
MAX_DIMENSIONS = 4
SMALL_NUMBERS = re.compile(rb"(?s:K.){1,10000}")

_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_BUFFER_MODULES = ("numpy.core.numeric", "numpy._core.numeric")


class PickleError(ValueError):
    """The bytes are no pickle of plain data; the message says what was met."""


class PickledArray:
    """What stands for a numpy array while it is read; ``pixels`` is None until its state came."""

    __slots__ = ("pixels",)

    def __init__(self, pixels: npt.NDArray[np.uint8] | None = None) -> None:
        self.pixels = pixels


_BYTE_TYPE = object()  # stands for numpy's dtype ``u1``, the only one there is here


def read_pickle(data: Buffer) -> object:
    """The value: None, bool, int, bytes (a memoryview when long), str, list, tuple, dict, PickledArray.

    Raises PickleError for anything else, and for damage of any kind.
    """
    try:
        return _Reader(data).read()
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, PickleError):
            raise
        raise PickleError(f"it is damaged ({error})") from error


def _reconstruct(_kind: object, _shape: object, _code: object) -> PickledArray:
    return PickledArray()


def _array_kind(*_arguments: object) -> None:
    raise PickleError("it calls numpy.ndarray, which is not allowed")


def _byte_type(code: object, *_flags: object) -> object:
    if code not in ("u1", b"u1"):
        raise PickleError("it holds an array of something else than bytes")
    return _BYTE_TYPE


def _from_buffer(buffer: Buffer, kind: object, shape: tuple[int, ...], order: object) -> PickledArray:
    if kind is not _BYTE_TYPE or order != "C":
        raise PickleError("it holds an array that is not bytes in C order")
    return PickledArray(_shaped(buffer, shape))


def _encode(text: str, encoding: object) -> bytes:
    if encoding != "latin1":
        raise PickleError("it holds text in another encoding than latin1")
    return text.encode("latin-1")


_MEANINGS: dict[tuple[str, str], Callable[..., object]] = {
    **{(module, "_reconstruct"): _reconstruct for module in _ARRAY_MODULES},
    **{(module, "_frombuffer"): _from_buffer for module in _BUFFER_MODULES},
    ("numpy", "ndarray"): _array_kind,
    ("numpy", "dtype"): _byte_type,
    ("_codecs", "encode"): _encode,
}


def _shaped(data: Buffer, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    flat = np.frombuffer(data, dtype=np.uint8)
    plausible = len(shape) <= MAX_DIMENSIONS and all(isinstance(size, int) and size >= 0 for size in shape)
    if not plausible or prod(shape) != len(flat):
        raise PickleError(f"it holds an array whose shape does not fit its {len(flat):,} bytes")
    return flat.reshape(shape)


class _Reader:
    def __init__(self, data: Buffer) -> None:
        self.data = memoryview(data)
        self.at = 0
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}
        self.copied = 0  # bytes
        self.small = 0  # numbers

    def read(self) -> object:
        data, handlers, stop = self.data, _HANDLERS, pickle.STOP[0]
        for _ in range(MAX_OPCODES):
            opcode = data[self.at]
            self.at += 1
            if opcode == stop:
                return self.stack.pop()
            handler = handlers.get(opcode)
            if handler is None:
                raise PickleError(f"it holds opcode {bytes([opcode])!r}, which is not allowed")
            handler(self)
        raise PickleError(f"it has more than {MAX_OPCODES:,} opcodes")

    def take(self, count: int) -> memoryview:
        piece = self.data[self.at : self.at + count]
        if len(piece) != count:
            raise PickleError("it ends in the middle of a value")
        self.at += count
        return piece

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def pop_to_mark(self) -> list[object]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def push_global(self, module: str, name: str) -> None:
        meaning = _MEANINGS.get((module, name))
        if meaning is None:
            raise PickleError(f"it names {module[:MAX_NAME]}.{name[:MAX_NAME]}, which is not allowed")
        self.stack.append(meaning)

    def named_global(self) -> None:
        module, name, _ = bytes(self.data[self.at : self.at + 4 * MAX_NAME]).split(b"\n", 2)
        self.at += len(module) + len(name) + 2
        self.push_global(module.decode("ascii"), name.decode("ascii"))

    def stacked_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise PickleError("it names a global by something else than text")
        self.push_global(module, name)

    def call(self) -> None:
        arguments, meaning = self.stack.pop(), self.stack.pop()
        if not isinstance(arguments, tuple) or not callable(meaning) or meaning not in _MEANINGS.values():
            raise PickleError("it calls something that is not allowed")
        value = meaning(*arguments)
        if isinstance(value, bytes):
            self.copied += len(value)
            if self.copied > len(self.data):
                raise PickleError("it copies the same bytes over and over")
        self.stack.append(value)

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, PickledArray) and isinstance(state, tuple):
            _version, shape, kind, fortran, data = state
            if kind is not _BYTE_TYPE or fortran:
                raise PickleError("it holds an array that is not bytes in C order")
            target.pixels = _shaped(data, shape)
        elif target is not _BYTE_TYPE:
            raise PickleError("it sets the state of something that is not allowed")

    def set_items(self, items: list[object]) -> None:
        target, keys = self.stack[-1], items[::2]
        if not isinstance(target, dict) or len(items) % 2 or not all(isinstance(key, bytes | str) for key in keys):
            raise PickleError("it holds a dictionary whose keys are not names")
        target.update(zip(keys, items[1::2], strict=True))

    def extend(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise PickleError("it appends to something that is not a list")
        target.extend(items)

    def short_bytes(self) -> None:
        """A file name, of which there are as many as images: in one step, in half of the time of `_counted`."""
        start = self.at + 1
        self.at = start + self.data[self.at]
        if self.at > len(self.data):
            raise PickleError("it ends in the middle of a value")
        self.stack.append(bytes(self.data[start : self.at]))

    def small_numbers(self) -> None:
        """One number or, as in a list of labels, many in a row: at once, or they would take half of the time."""
        run = SMALL_NUMBERS.match(self.data, self.at - 1)
        if run is None:
            raise PickleError("it ends in the middle of a value")
        numbers = run[0][1::2]
        self.small += len(numbers)
        if self.small > MAX_OPCODES:
            raise PickleError(f"it has more than {MAX_OPCODES:,} opcodes")
        self.stack.extend(numbers)
        self.at = run.end()

    def make_tuple(self, count: int) -> None:
        if len(self.stack) < count:
            raise PickleError("it makes a tuple of more than there is")
        self.stack[-count:] = [tuple(self.stack[-count:])]


def _bytes(piece: memoryview) -> Buffer:
    return piece if len(piece) >= LONG_BYTES else bytes(piece)


def _text(piece: memoryview) -> str:
    return str(piece, "utf-8")


def _unsigned(piece: memoryview) -> int:
    return int.from_bytes(piece, "little")


def _signed(piece: memoryview) -> int:
    return int.from_bytes(piece, "little", signed=True)


def _counted(width: int, convert: Callable[[memoryview], object]) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(convert(reader.take(reader.number(width))))


def _fixed(width: int, convert: Callable[[memoryview], object]) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(convert(reader.take(width)))


def _new(make: Callable[[], object]) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(make())


def _put(width: int) -> Callable[[_Reader], None]:
    return lambda reader: reader.memo.__setitem__(reader.number(width), reader.stack[-1])


def _get(width: int) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(reader.memo[reader.number(width)])


def _skip(width: int) -> Callable[[_Reader], None]:
    return lambda reader: reader.take(width).release()


_HANDLERS: dict[int, Callable[[_Reader], None]] = {
    opcode[0]: handler
    for opcode, handler in (
        (pickle.PROTO, _skip(1)),
        (pickle.FRAME, _skip(8)),
        (pickle.NONE, _new(lambda: None)),
        (pickle.NEWTRUE, _new(lambda: True)),
        (pickle.NEWFALSE, _new(lambda: False)),
        (pickle.BININT, _fixed(4, _signed)),
        (pickle.BININT1, _Reader.small_numbers),
        (pickle.BININT2, _fixed(2, _unsigned)),
        (pickle.LONG1, _counted(1, _signed)),
        (pickle.SHORT_BINSTRING, _Reader.short_bytes),
        (pickle.BINSTRING, _counted(4, _bytes)),
        (pickle.SHORT_BINBYTES, _Reader.short_bytes),
        (pickle.BINBYTES, _counted(4, _bytes)),
        (pickle.BINBYTES8, _counted(8, _bytes)),
        (pickle.BYTEARRAY8, _counted(8, _bytes)),
        (pickle.SHORT_BINUNICODE, _counted(1, _text)),
        (pickle.BINUNICODE, _counted(4, _text)),
        (pickle.EMPTY_DICT, _new(dict)),
        (pickle.EMPTY_LIST, _new(list)),
        (pickle.EMPTY_TUPLE, _new(tuple)),
        (pickle.MARK, lambda reader: reader.marks.append(len(reader.stack))),
        (pickle.APPEND, lambda reader: reader.extend([reader.stack.pop()])),
        (pickle.APPENDS, lambda reader: reader.extend(reader.pop_to_mark())),
        (pickle.SETITEM, lambda reader: reader.set_items([reader.stack.pop(-2), reader.stack.pop()])),
        (pickle.SETITEMS, lambda reader: reader.set_items(reader.pop_to_mark())),
        (pickle.TUPLE, lambda reader: reader.stack.append(tuple(reader.pop_to_mark()))),
        (pickle.TUPLE1, lambda reader: reader.make_tuple(1)),
        (pickle.TUPLE2, lambda reader: reader.make_tuple(2)),
        (pickle.TUPLE3, lambda reader: reader.make_tuple(3)),
        (pickle.BINPUT, _put(1)),
        (pickle.LONG_BINPUT, _put(4)),
        (pickle.MEMOIZE, lambda reader: reader.memo.__setitem__(len(reader.memo), reader.stack[-1])),
        (pickle.BINGET, _get(1)),
        (pickle.LONG_BINGET, _get(4)),
        (pickle.GLOBAL, _Reader.named_global),
        (pickle.STACK_GLOBAL, _Reader.stacked_global),
        (pickle.REDUCE, _Reader.call),
        (pickle.BUILD, _Reader.build),
    )
}
