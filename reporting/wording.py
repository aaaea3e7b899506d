"""How pages say shares, numbers and times, each by one rule. Values in, plain text out.

Runs wherever a page is made. The templates escape what comes from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

UNKNOWN = "-"
NO_BREAK = "\u00a0"  # a space at which no line ends


def percent(share: float) -> str:
    """``70 %``, ``70.5 %``: a decimal only where there is one, and never 0 or 100 where that is not so."""
    value = 100 * share
    if 0 < value < 0.05:
        return "< 0.1 %"
    if 99.95 <= value < 100:
        return "> 99.9 %"
    return f"{value:.0f} %" if abs(value - round(value)) < 1e-9 else f"{value:.1f} %"


def percent_or_unknown(share: float | None) -> str:
    """The same, and a dash for a share that nobody knows."""
    return UNKNOWN if share is None else percent(share)


def percent_range(interval: Sequence[float] | None) -> str:
    """``83.5 to 98.6 %`` for an interval of two shares, a dash where there is none."""
    if not interval:
        return UNKNOWN
    low, high = (f"{100 * end:.1f}".removesuffix(".0") for end in interval)
    return f"{low} to {high} %"


def number(value: float | None, digits: int = 3) -> str:
    """With so many decimals; a dash for None."""
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def count(how_many: int, noun: str) -> str:
    """``1 file``, ``2,000 files``."""
    return f"{how_many:,} {noun}{'' if how_many == 1 else 's'}"


def clock(text: str) -> str:
    """``2026-01-31 12:00:00``, in UTC, for an ISO 8601 time; one without an offset is taken as UTC."""
    time = datetime.fromisoformat(text)
    return (time.astimezone(UTC) if time.tzinfo else time).strftime("%Y-%m-%d %H:%M:%S")


def between(first: str, last: str) -> str:
    """Both times; the date of the second only where it differs."""
    start, end = clock(first), clock(last)
    return f"{start} and {end[11:] if start[:10] == end[:10] else end}"


def duration(seconds: float) -> str:
    """``2 d 3 h 4 min``, rounded down to minutes."""
    whole = timedelta(seconds=round(seconds))
    hours, minutes = divmod(whole.seconds // 60, 60)
    days = f"{whole.days} d " if whole.days else ""
    return f"{days}{hours} h {minutes} min"


def unbroken(text: str) -> str:
    """The same text, in which no line ends between a number and its percent sign."""
    return text.replace(" %", f"{NO_BREAK}%")
