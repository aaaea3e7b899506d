"""Turns moto's objects into bytes and back: pickle, with an allow-list for what is read and stand-ins for what cannot
be kept (locks, threads, running workers).

Runs in the server process. What is read may build the classes named in ``_STANDARD`` and instances of moto's classes
and of ours, which get their attributes without their constructors being run: a state file that was tampered with ends
the start with one line, or leaves odd values behind, instead of running code.
"""

from __future__ import annotations

import copyreg
import enum
import functools
import io
import pickle
import re
import threading
import types
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from local_account.base.errors import AccountError
from local_account.base.stored import NAMESPACE, current_place, stored

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

# What moto's models hold of the standard library and of its own dependencies.
_STANDARD = {
    "builtins": {"set", "frozenset", "bytearray", "object", "dict", "list", "tuple", "str", "int", "bool", "float"},
    "collections": {"OrderedDict", "defaultdict", "deque", "Counter"},
    "datetime": {"datetime", "date", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "uuid": {"UUID", "SafeUUID"},
    "zoneinfo": {"ZoneInfo"},
    "dateutil.tz.tz": {"tzutc", "tzlocal", "tzoffset"},
    "copyreg": {"_reconstructor", "__newobj__"},
    "requests.structures": {"CaseInsensitiveDict"},
    "threading": {"Condition", "Event"},
}
_OURS = ("moto.", NAMESPACE)
_LOCKS = (type(threading.Lock()), type(threading.RLock()))


Reduction = tuple[object, ...]
"""What ``copyreg`` calls a reduce value: two to six members, of which the first is called with the second."""
Reduce = Callable[..., Reduction]
"""Reduces the instances of one class."""


class StateRefusedError(Exception):
    """Something that cannot be written to a state file."""


@stored
def new_lock() -> object:
    """A lock where a lock was."""
    return threading.RLock()


@stored
def fill_dict(
    made: dict[object, object], state: tuple[dict[object, object], dict[str, object], dict[str, object]]
) -> None:
    """Items and attributes of a dictionary of a class of moto's."""
    items, attributes, slots = state
    dict.update(made, items)
    made.__dict__.update(attributes)
    for name, value in slots.items():
        setattr(made, name, value)


@stored
def new_private_key(der: bytes) -> object:
    """A key of KMS."""
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    return load_der_private_key(der, password=None)


def reduce_private_key(key: EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey) -> Reduction:
    """How a key of KMS is written: as its DER."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return new_private_key, (key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),)


@stored
def nothing() -> None:
    """None where a thread, a worker or a function was."""


@stored
def new_pattern(text: str, flags: int) -> re.Pattern[str]:
    """A regular expression: its own reduction calls a function that is no part of re's interface."""
    return re.compile(text, flags)


NEW_OBJECT: Callable[..., object] = vars(copyreg)[
    "__newobj__"
]  # what pickle itself calls a class with, unknown to type stubs
_STAND_INS = (fill_dict, new_lock, new_pattern, new_private_key, nothing)


class StatePickler(pickle.Pickler):
    """Pickles moto's models; ``reductions`` says by class how instances that hold live things are reduced."""

    def __init__(self, file: io.BytesIO, reductions: Mapping[type, Reduce]) -> None:
        super().__init__(file, protocol=5)
        self._reductions = reductions
        self._plain: set[type] = set()  # classes whose instances pickle may reduce as it likes

    def reducer_override(self, value: object) -> Any:  # a reduction, or NotImplemented
        """How a value is written; NotImplemented leaves it to pickle. Raises StateRefusedError."""
        if type(value) in self._plain:
            return NotImplemented
        if any(value is function for function in _STAND_INS):
            return NotImplemented  # what stands in for other objects: saved by name
        for kinds, reduce in (*self._reductions.items(), *_REDUCTIONS):
            if isinstance(value, kinds):
                return reduce(value)
        if isinstance(value, dict) and type(value).__module__.startswith(_OURS):
            return _reduce_dict(value)
        made = value if isinstance(value, type) else type(value)
        if not _allowed(made) and not isinstance(value, types.BuiltinFunctionType):
            # Found here, the file of the last round stays; found when it is read, the account could not start.
            raise StateRefusedError(f"{made.__module__}.{made.__qualname__} has no place in a state file")
        if made is type(value) and made is not types.BuiltinFunctionType:
            self._plain.add(made)
        return NotImplemented


_REDUCTIONS: tuple[tuple[type | tuple[type, ...], Reduce], ...] = (
    (_LOCKS, lambda _lock: (new_lock, ())),
    (threading.Condition, lambda _condition: (threading.Condition, ())),  # it holds its lock's methods
    (enum.Enum, lambda member: (type(member), (member.value,))),  # Python 3.11 would have getattr() called for it
    (re.Pattern, lambda pattern: (new_pattern, (pattern.pattern, pattern.flags))),
    ((threading.Thread, types.FunctionType, types.MethodType, types.GeneratorType), lambda _live: (nothing, ())),
)


def _reduce_dict(value: dict[object, object]) -> Reduction:
    """moto's dictionaries may have other ideas of items() and of setting an item than dict has."""
    slots = {"default_factory": value.default_factory} if isinstance(value, defaultdict) else {}
    state = (dict(dict.items(value)), dict(value.__dict__), slots)
    return NEW_OBJECT, (type(value),), state, None, None, fill_dict


def _allowed(made: type) -> bool:
    return made.__qualname__ in _STANDARD.get(made.__module__, ()) or made.__module__.startswith(_OURS)


@functools.cache
def _maker(made: type) -> type:
    """A class that stands for ``made`` while a file is read: calling it makes an instance without its constructor.

    A constructor may start a process, and a class that a file gets hold of could be changed. The members of an
    enumeration are looked up by value, as ever.
    """

    def new(_maker: type, *arguments: object) -> object:
        return made(*arguments) if issubclass(made, enum.Enum) else made.__new__(made, *arguments)

    return type(made.__name__, (), {"__new__": new})


class StateUnpickler(pickle.Unpickler):
    """Builds only what is on the allow-list."""

    def find_class(self, module: str, name: str) -> object:
        """What a file may name; UnpicklingError for anything else."""
        module, name = current_place(module, name)
        if module == NAMESPACE and name in {function.__name__ for function in _STAND_INS}:
            return super().find_class(module, name)
        if name in _STANDARD.get(module, ()):
            return super().find_class(module, name)
        if module.startswith(_OURS):
            found = super().find_class(module, name)
            # A name may lead on from a module of moto to what that module imported.
            if isinstance(found, type) and found.__module__.startswith(_OURS):
                return _maker(found)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a state file")


def dumps(value: object, reductions: Mapping[type, Reduce]) -> bytes:
    """The content of a state file. Raises StateRefusedError for what has no place in one."""
    file = io.BytesIO()
    StatePickler(file, reductions).dump(value)
    return file.getvalue()


def loads(content: bytes, where: str) -> object:
    """Raises AccountError when the content is damaged or holds what it may not."""
    try:
        return StateUnpickler(io.BytesIO(content)).load()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise AccountError(
            f"the state file {where} cannot be read ({reason}); restore it, or start afresh with `scones account reset`"
        ) from error
