"""Text of others as a terminal may show it, and values in the one form in which they are printed.

Runs on a laptop or in CodeBuild. Keys of S3, reasons and logs are other people's: what a terminal would obey, or what
would turn the order of the letters round, is shown instead, as Python writes it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_KEPT = {"\n", "\t", "\u200c", "\u200d"}  # the last two join letters of some scripts, and emoji
_OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)")
_ARN = re.compile(r"arn:aws[a-z-]*:[a-z0-9-]*:[a-z0-9-]*:\d*:(?P<what>[^\s,;()\[\]]+)")
_SIGNED = re.compile(r"\s*\[by [^\]]*\]\s*$")


def plain(text: str) -> str:
    """Return the text with every character that a terminal would obey shown as ``\\x1b`` or ``\\u202e``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _OBEYED:
        return character
    return character.encode("unicode_escape").decode("ascii")


class PlainConsole(Console):
    """A console that shows what it would otherwise obey, whoever wrote it; rich's own colours are no text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, then make every text plain."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=plain(segment.text))


def brief(text: str) -> str:
    """Return the text with each ARN as its last part: ``arn:aws:iam::123456789012:user/ann`` is ``ann``."""
    return _ARN.sub(lambda found: re.split(r"[/:]", found["what"])[-1], text)


def unsigned(reason: str) -> str:
    """Return a reason without ``[by ...]``, for where the person stands beside it."""
    return _SIGNED.sub("", reason)


def time_text(moment: datetime) -> str:
    """Return a time as every document says it: ``2026-01-31T12:00:00.123Z``, in UTC, to the millisecond."""
    known = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return known.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def one_form_of_times(document: object) -> object:
    """Return a document with all its times alike: Python's, and texts that are nothing but a time with a zone."""
    if isinstance(document, Mapping):
        return {key: one_form_of_times(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [one_form_of_times(value) for value in document]
    if isinstance(document, datetime):
        return time_text(document)
    if isinstance(document, str) and _TIME.fullmatch(document):
        return _read_time(document)
    return document


def _read_time(text: str) -> str:
    try:
        return time_text(datetime.fromisoformat(text))
    except ValueError:  # such as a thirteenth month: it is no time
        return text
