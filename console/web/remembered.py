"""What never changes under its name, such as a version's evaluation: read once, while there is room for it.

Runs in the console's process.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")
_MOST = 64


class Remembered(Generic[Value]):
    """The values that were asked for last, by name."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: Hashable, read: Callable[[], Value]) -> Value:
        """Return the value of a name; it is read the first time."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        value = read()
        with self._lock:
            self._kept[name] = value
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return value
