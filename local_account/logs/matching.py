"""What looks for a filter pattern on behalf of moto, which takes one that it cannot read for one that matches all.

Runs in the server process.
"""

from __future__ import annotations

import logging

from moto.logs.exceptions import InvalidParameterException

from local_account.logs.conditions import FilterPatternError
from local_account.logs.filter_patterns import Matcher, parse_pattern

log = logging.getLogger(__name__)


class MessageFilter:
    """Looks for one pattern, where moto makes it."""

    def __init__(self, pattern: str) -> None:
        self._match = matcher(pattern or "")

    def matches(self, message: str) -> bool:
        """Whether an event has it."""
        return self._match(message) is not None


def kept_matcher(pattern: str) -> Matcher:
    """What finds a kept pattern's events; nothing for one that an older account took and that cannot be read."""
    try:
        return parse_pattern(pattern or "")
    except FilterPatternError as error:
        log.warning("the filter pattern %r matches nothing: %s", pattern, error)
        return lambda _message: None


def matcher(pattern: str) -> Matcher:
    """What finds a pattern's events; raises moto's InvalidParameterException."""
    try:
        return parse_pattern(pattern)
    except FilterPatternError as error:
        raise InvalidParameterException(f"Invalid filter pattern: {error}") from error
