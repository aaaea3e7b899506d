"""What looks for a filter pattern on behalf of moto, which takes one that it cannot read for one that matches all.

Runs in the server process.
"""

from __future__ import annotations

from moto.logs.exceptions import InvalidParameterException

from local_account.logs.conditions import FilterPatternError
from local_account.logs.filter_patterns import Matcher, parse_pattern


class MessageFilter:
    """Looks for one pattern, where moto makes it."""

    def __init__(self, pattern: str) -> None:
        self._match = matcher(pattern or "")

    def matches(self, message: str) -> bool:
        """Whether an event has it."""
        return self._match(message) is not None


def matcher(pattern: str) -> Matcher:
    """What finds a pattern's events; raises moto's InvalidParameterException."""
    try:
        return parse_pattern(pattern)
    except FilterPatternError as error:
        raise InvalidParameterException(f"Invalid filter pattern: {error}") from error
