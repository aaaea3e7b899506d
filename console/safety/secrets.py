"""The secrets of one console: in the opened address, in the cookie that it is exchanged for, and in every form.

Runs in the console's process and is kept nowhere else.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field

KEY_PARAMETER = "key"
CSRF_FIELD, CSRF_HEADER = "csrf", "x-csrf-token"


def _new() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class ConsoleSecrets:
    """``key`` opens the console, ``session`` is the cookie that it is exchanged for, ``csrf`` stands in forms."""

    key: str = field(default_factory=_new)
    session: str = field(default_factory=_new)
    csrf: str = field(default_factory=_new)


def same(given: str, expected: str) -> bool:
    """Compare in a time that does not tell where the two differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
