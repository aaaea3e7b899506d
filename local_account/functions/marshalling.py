"""How a function's result becomes the payload of its invocation, as AWS's own runtime client for Python writes it.

Runs in a function's worker process, which loads this file by its path and has the standard library alone. The runtime
client (github.com/aws/aws-lambda-python-runtime-interface-client, lambda_runtime_marshaller.py) writes with simplejson:
bytes are text in UTF-8, as keys too, and are the payload itself where they are the whole result; what has ``_asdict``
is an object; a Decimal keeps its digits; what is no number is ``NaN``. From Python 3.12 on text stays as it is.
"""

from __future__ import annotations

import decimal
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from json import encoder

_PLAIN_LEAVES = (str, int, float, bool, type(None))
_ESCAPING = {"AWS_Lambda_python3.9", "AWS_Lambda_python3.10", "AWS_Lambda_python3.11"}
_RAW: dict[object, str] = {None: "null", True: "true", False: "false"}


def payload_of(result: object) -> bytes:
    """The payload of a result. Raises TypeError, ValueError or RecursionError for one that cannot be written."""
    return result if isinstance(result, bytes) else to_json(result)


def to_json(value: object) -> bytes:
    """A value in JSON."""
    escaping = os.environ.get("AWS_EXECUTION_ENV") in _ESCAPING
    try:
        text = json.dumps(value, ensure_ascii=escaping) if _is_plain(value) else _written(value, escaping)
    except RecursionError as error:
        raise RecursionError("maximum recursion depth exceeded while encoding a JSON object") from error
    return text.encode("utf-8")


def _written(value: object, escaping: bool) -> str:
    quoted = encoder.encode_basestring_ascii if escaping else encoder.encode_basestring
    return "".join(_Writer(quoted).written(value))


def _is_plain(value: object) -> bool:
    """Whether json writes a value as simplejson does: it holds nothing but JSON's own kinds."""
    waiting, seen = [value], set()
    while waiting:
        held = waiting.pop()
        kind = type(held)
        if kind in _PLAIN_LEAVES or id(held) in seen:
            continue
        seen.add(id(held))
        if isinstance(held, dict) and kind is dict and all(type(key) is str for key in held):
            waiting += held.values()
        elif isinstance(held, list | tuple) and kind in {list, tuple}:
            waiting += held
        else:
            return False
    return True


class _Writer:
    """Writes one value; ``quoted`` writes a text with its quotes."""

    def __init__(self, quoted: Callable[[str], str]) -> None:
        self._quoted = quoted
        self._above: set[int] = set()

    def written(self, value: object) -> Iterator[str]:
        """The parts of a value's text."""
        if isinstance(value, str | bytes):
            yield self._text(value)
        elif value is None or value is True or value is False:
            yield _RAW[value]
        elif isinstance(value, int | float | decimal.Decimal):
            yield _number(value)
        else:
            yield from self._inside(value, self._composed(value))

    def _composed(self, value: object) -> Iterator[str]:
        members = _members(value)
        if members is not None:
            return self._object(members)
        if isinstance(value, list | tuple):
            return self._array(value)
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")

    def _inside(self, value: object, parts: Iterator[str]) -> Iterator[str]:
        if id(value) in self._above:
            raise ValueError("Circular reference detected")
        self._above.add(id(value))
        yield from parts
        self._above.discard(id(value))

    def _object(self, members: Mapping[object, object]) -> Iterator[str]:
        yield "{"
        for number, (key, item) in enumerate(members.items()):
            yield ", " if number else ""
            yield f"{self._text(_key(key))}: "
            yield from self.written(item)
        yield "}"

    def _array(self, items: Iterable[object]) -> Iterator[str]:
        yield "["
        for number, item in enumerate(items):
            yield ", " if number else ""
            yield from self.written(item)
        yield "]"

    def _text(self, value: str | bytes) -> str:
        return self._quoted(value.decode("utf-8") if isinstance(value, bytes) else str.__str__(value))


def _members(value: object) -> Mapping[object, object] | None:
    """The members of what is an object: a dictionary, or what ``_asdict`` makes one."""
    as_dict = getattr(value, "_asdict", None)
    if callable(as_dict):
        try:
            members = as_dict()
        except TypeError:  # a class: its method misses the instance
            return None
        if not isinstance(members, dict):
            raise TypeError(f"_asdict() must return a dict, not {type(members).__name__}")
        return members
    return value if isinstance(value, dict) else None


def _number(value: float | decimal.Decimal) -> str:
    if isinstance(value, int):
        return int.__repr__(value)
    if value.is_nan() if isinstance(value, decimal.Decimal) else math.isnan(value):
        return "NaN"
    if isinstance(value, decimal.Decimal):
        return str(value)
    return float.__repr__(value).replace("inf", "Infinity")


def _key(key: object) -> str | bytes:
    if isinstance(key, str | bytes):
        return key
    if key is None or key is True or key is False:
        return _RAW[key]
    if isinstance(key, int | float):
        return _number(key)
    raise TypeError(f"keys must be str, int, float, bool or None, not {type(key).__name__}")
