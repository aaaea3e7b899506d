"""What a function returns, as AWS's runtime client for Python writes it (awslambdaric 4.2.2 with simplejson 4.3.0)."""

from __future__ import annotations

import datetime
import decimal
import enum
import math
from collections import OrderedDict, namedtuple
from typing import Any

import pytest

from local_account.functions.marshalling import payload_of

Point = namedtuple("Point", "x y")  # as people write them in functions


class Described:
    def __init__(self, members: Any) -> None:
        self.members = members

    def _asdict(self) -> Any:
        return self.members


class Level(enum.IntEnum):
    LOW = 1


class Loud(int):
    def __repr__(self) -> str:
        return "loud"


@pytest.mark.parametrize(
    ("result", "payload"),
    [
        (b"whole", b"whole"),
        (b"\xff\xfe", b"\xff\xfe"),
        ({"image_data": b"aGVsbG8="}, b'{"image_data": "aGVsbG8="}'),
        ({b"key": [b"a", "b"]}, b'{"key": ["a", "b"]}'),
        (Point(1, b"z"), b'{"x": 1, "y": "z"}'),
        ([Point(1, Point(2, 3))], b'[{"x": 1, "y": {"x": 2, "y": 3}}]'),
        (Described({"a": (1, 2)}), b'{"a": [1, 2]}'),
        (decimal.Decimal("1.10"), b"1.10"),
        ([decimal.Decimal("-NaN"), decimal.Decimal("1E+5")], b"[NaN, 1E+5]"),
        ([math.nan, math.inf, -math.inf], b"[NaN, Infinity, -Infinity]"),
        ([Level.LOW, Loud(7), {Level.LOW: 1}], b'[1, 7, {"1": 1}]'),
        ({1.5: 0, None: 1, True: 2, 7: 3, "é": [b"\xc3\xa9"]}, '{"1.5": 0, "null": 1, "true": 2, "7": 3, "é": ["é"]}'),
        (OrderedDict(a=()), b'{"a": []}'),
        ("é\u2028\x7f", '"é\u2028\x7f"'),
    ],
)
def test_a_result_is_written_as_the_runtime_client_writes_it(
    result: object, payload: bytes | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EXECUTION_ENV", "AWS_Lambda_python3.13")
    assert payload_of(result) == (payload if isinstance(payload, bytes) else payload.encode())


@pytest.mark.parametrize("result", ["é", ["é", b"\xc3\xa9"]])
def test_older_runtimes_escape_what_is_not_ascii(result: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EXECUTION_ENV", "AWS_Lambda_python3.11")
    assert b"\\u00e9" in payload_of(result)


def around() -> list[object]:
    circle: list[object] = [b""]
    circle.append(circle)
    return circle


def deep() -> list[object]:
    outer: list[object] = []
    for _ in range(100_000):
        outer = [outer]
    return outer


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({1, 2}, "Object of type set is not JSON serializable"),
        ([bytearray(b"a")], "Object of type bytearray is not JSON serializable"),
        (datetime.datetime(2026, 1, 1), "Object of type datetime is not JSON serializable"),
        (Described([1]), "_asdict() must return a dict, not list"),
        ({(1, 2): 1}, "keys must be str, int, float, bool or None, not tuple"),
        ({decimal.Decimal(1): 1}, "keys must be str, int, float, bool or None, not Decimal"),
        (around(), "Circular reference detected"),
        ([b"\xff"], "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (deep(), "maximum recursion depth exceeded while encoding a JSON object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_written_is_said_in_the_runtime_clients_words(result: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError, RecursionError)) as caught:
        payload_of(result)
    assert str(caught.value) == message
