"""The account's time: this machine's, or with ``--clock`` one that starts elsewhere, passes faster and can be moved.

Used by the server process, and by the processes of functions, whose ``time.time`` and ``datetime.now`` follow it (they
load this file by its path: it imports the standard library alone). Both read how far it was moved from one mapped file,
``<state>/clock``, so that a move reaches them all at once. On AWS there is no such thing: time is what it is.

It is the time of captures, schedules, events, metrics, alarms, of everything in SageMaker, and of functions. Jobs,
model servers, and what moto stamps in S3, Logs, SQS, SNS, IAM and Step Functions keep this machine's.
"""

from __future__ import annotations

import datetime as datetimes
import mmap
import os
import re
import struct
import time as times
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

FILE = "clock"
VARIABLE = "LOCAL_ACCOUNT_CLOCK"
MAX_SPEED = 100_000.0
_FORM = re.compile(r"(?:(now|\d{4}-[^@]+)@)?x(\d+(?:\.\d+)?)|(now|\d{4}-[^@x]+)")
_MOVED = struct.Struct("d")
_machine_time = times.time


class AccountClock:
    """This machine's time, times ``speed`` since ``began``, and moved."""

    def __init__(self) -> None:
        self.speed, self._began, self._file = 1.0, 0.0, ""
        self._moved: mmap.mmap | None = None

    @property
    def movable(self) -> bool:
        """Whether `advance` may be called."""
        return self._moved is not None

    def time(self) -> float:
        """Seconds since 1970."""
        real = _machine_time()
        if self._moved is None:
            return real
        moved: float = _MOVED.unpack_from(self._moved)[0]
        return real + (real - self._began) * (self.speed - 1) + moved

    def now(self) -> datetime:
        """In UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def make_movable(self, file: Path, start: datetime | None, speed: float) -> None:
        """Let it start at a time (None: now) and pass this many times as fast."""
        began = _machine_time()
        file.write_bytes(_MOVED.pack(0.0 if start is None else start.timestamp() - began))
        self.follow(f"{speed} {began} {file}")

    def follow(self, described: str) -> None:
        """Be the clock that another process describes."""
        speed, began, file = described.split(" ", 2)
        with Path(file).open("r+b") as stream:
            self._moved = mmap.mmap(stream.fileno(), _MOVED.size)
        self.speed, self._began, self._file = float(speed), float(began), file

    def environment(self) -> dict[str, str]:
        """What a process needs to `follow` it; nothing when it is this machine's."""
        return {VARIABLE: f"{self.speed} {self._began} {self._file}"} if self.movable else {}

    def advance(self, by: timedelta) -> None:
        """Raises ValueError for a clock that cannot be moved, or not by this."""
        if self._moved is None:
            raise ValueError("the account runs in this machine's time: start it with --clock")
        if not timedelta() <= by <= timedelta(days=366):
            raise ValueError(f"the account's time can be moved forward, by at most a year at once, not by {by}")
        _MOVED.pack_into(self._moved, 0, _MOVED.unpack_from(self._moved)[0] + by.total_seconds())


CLOCK = AccountClock()
now = CLOCK.now
time = CLOCK.time


def parse(text: str) -> tuple[datetime | None, float]:
    """``now``, ``2026-11-01T00:00Z``, ``x60`` or ``2026-11-01T00:00Z@x60`` as start (None: now) and speed.

    Raises ValueError for anything else.
    """
    wrong = (
        f"expected now, a time such as 2026-11-01T00:00Z, a speed such as x60, or both as 2026-11-01T00:00Z@x60, "
        f"got {text!r}"
    )
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(wrong)
    begin, speed = match[1] or match[3] or "now", float(match[2] or 1)
    if not 1 <= speed <= MAX_SPEED:
        raise ValueError(f"expected a speed from 1 to {MAX_SPEED:g}, got {speed:g}")
    if begin == "now":
        return None, speed
    try:
        start = datetime.fromisoformat(begin)
    except ValueError as error:
        raise ValueError(wrong) from error
    return start if start.tzinfo else start.replace(tzinfo=UTC), speed


def take_over() -> None:
    """Have this process, a function's, live in the account's time, if its environment describes one."""
    if described := os.environ.pop(VARIABLE, ""):
        CLOCK.follow(described)
        times.time, times.time_ns = CLOCK.time, lambda: int(CLOCK.time() * 1e9)
        setattr(datetimes, "datetime", _Datetime)  # noqa: B010 (mypy takes no assignment to a class)


class _Kind(type):
    """Real datetimes are instances of what stands in for their class."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, datetime)


class _Datetime(datetime, metaclass=_Kind):
    """``datetime`` whose idea of now is the account's; all that it makes are real ones."""

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        return datetime(*arguments, **named)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # real ones, not of this class
        return datetime.fromtimestamp(CLOCK.time(), tz)

    @classmethod
    def utcnow(cls) -> datetime:  # type: ignore[override]  # as above
        return CLOCK.now().replace(tzinfo=None)

    @classmethod
    def today(cls) -> datetime:  # type: ignore[override]  # as above
        return datetime.fromtimestamp(CLOCK.time())
