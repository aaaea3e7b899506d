"""Lengths of time as a person writes them: 30m, 24h, 7d."""

from __future__ import annotations

from datetime import timedelta

from scones.errors import SconesError

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """SconesError for anything but a whole number of minutes, hours or days, at least one."""
    try:
        if text and text[-1] in _UNITS and text[:-1].isdecimal() and int(text[:-1]):
            return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
    except OverflowError:
        pass
    raise SconesError(f"{text!r} is not a length of time: expected 30m, 1h or 7d")
