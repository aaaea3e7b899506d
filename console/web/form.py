"""What a form or an address says: texts by name, read with a word about what was expected.

Runs in the console's process.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from scones.errors import SconesError


@dataclass(frozen=True)
class FormFields:
    """Names and values in their order; a name may come more than once."""

    items: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, items: Iterable[tuple[str, str]]) -> FormFields:
        """Keep what an address or a form held."""
        return cls(tuple((str(name), str(value)) for name, value in items))

    def text(self, name: str, otherwise: str = "") -> str:
        """Return the last value of a name, without the spaces around it."""
        return next((value.strip() for found, value in reversed(self.items) if found == name), "") or otherwise

    def every(self, name: str) -> list[str]:
        """Return each value of a name that says something."""
        return [value.strip() for found, value in self.items if found == name and value.strip()]

    def needed(self, name: str) -> str:
        """Return the value of a name; SconesError where there is none."""
        found = self.text(name)
        if not found:
            raise SconesError(f"the form needs a value for {name!r}: fill it in and send it again")
        return found

    def whole(self, name: str) -> int:
        """Return a whole number; SconesError for anything else."""
        found = self.needed(name)
        if not found.isdecimal():
            raise SconesError(f"{name} must be a whole number, got {found!r}")
        return int(found)

    def number(self, name: str, low: float, high: float, otherwise: float) -> float:
        """Return a number between two others; SconesError for anything else."""
        found = self.text(name)
        try:
            value = float(found) if found else otherwise
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise SconesError(f"{name} must be a number from {low:g} to {high:g}, got {found!r}")
        return value

    def but(self, *names: str) -> FormFields:
        """Leave some names out."""
        return FormFields(tuple(item for item in self.items if item[0] not in names))

    def encoded(self) -> str:
        """Write them as an address holds them."""
        return urlencode(self.items)
