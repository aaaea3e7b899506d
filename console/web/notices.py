"""What came of a change, kept until the page that says so was shown: the address holds a number and no words.

Runs in the console's process.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass

_MOST = 100


@dataclass(frozen=True)
class Notice:
    """A line above the page."""

    text: str
    good: bool


class Notices:
    """The newest hundred."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Notice] = OrderedDict()

    def keep(self, notice: Notice) -> str:
        """Return the number by which it is found."""
        number = secrets.token_hex(8)
        self._kept[number] = notice
        while len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return number

    def find(self, number: str) -> Notice | None:
        """Return it; None when it is long gone."""
        return self._kept.get(number)
