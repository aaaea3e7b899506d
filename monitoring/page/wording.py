"""How a page says numbers, times and tables: plain texts in, HTML out, everything escaped.

Runs in the monitoring container.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from html import escape

from monitoring.captures.line import parse_time


def percent(part: int, whole: int) -> str:
    """``70 %``; with a decimal where whole percents would be wrong, and never 0 or 100 where that is not so."""
    value = 100 * part / whole
    if part in (0, whole) or value == round(value):
        return f"{value:.0f} %"
    if value < 0.05:
        return "< 0.1 %"
    return "> 99.9 %" if value >= 99.95 else f"{value:.1f} %"


def table(headers: Iterable[str], rows: Iterable[Sequence[str]], text_columns: int) -> str:
    """A table of plain texts, escaped here; the columns after the first ``text_columns`` hold numbers."""
    head = "".join(f'<th scope="col"{_align(at, text_columns)}>{escape(name)}</th>' for at, name in enumerate(headers))
    body = "".join(
        "<tr>" + "".join(f"<td{_align(at, text_columns)}>{escape(cell)}</td>" for at, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _align(column: int, text_columns: int) -> str:
    return "" if column < text_columns else ' class="number"'


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def clock(text: str) -> str:
    return parse_time(text).strftime("%Y-%m-%d %H:%M:%S")


def between(first: str, last: str) -> str:
    """Both times; the date of the second only where it differs."""
    start, end = clock(first), clock(last)
    return f"{start} and {end[11:] if start[:10] == end[:10] else end}"


def duration(seconds: float) -> str:
    whole = timedelta(seconds=round(seconds))
    hours, minutes = divmod(whole.seconds // 60, 60)
    days = f"{whole.days} d " if whole.days else ""
    return f"{days}{hours} h {minutes} min"
