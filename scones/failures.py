"""What an error says to the person at the terminal, where it is one that was to be expected.

Runs on a laptop or in CodeBuild. The SDKs' errors are looked up among what has been imported already, so that a verb
that needs no SDK does not import one for this.
"""

from __future__ import annotations

import errno
import sqlite3
import sys
from collections.abc import Iterable

from scones.errors import SconesError, SettingsError

_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of this disk is used up",
    errno.EFBIG: "no larger file may be written here",
    errno.EROFS: "the disk takes no changes",
    errno.EIO: "the disk does not answer",
}
_EXPECTED = (
    ("local_account.base.errors", "AccountError"),
    ("botocore.exceptions", "ClientError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("boto3.exceptions", "Boto3Error"),
    ("scones.artifacts.build", "ArtifactError"),
)


def told(error: BaseException) -> str | None:
    """One line about an expected error: what came and what to do; None for a fault of this program."""
    full = _full_disk(error)
    if full:
        return full
    if isinstance(error, (SconesError, SettingsError, *_imported(_EXPECTED))):
        return str(error)
    if isinstance(error, _imported([("botocore.parsers", "ResponseParserError")])):
        return (
            f"the answer of the account is not AWS's ({error}): another program has the port, or the account broke off"
        )
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; choose another place or make room for it"
    return None


def _full_disk(error: BaseException | None) -> str | None:
    """A disk that takes no more, also where it is the reason of another error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            where = f"{error.filename}: " if error.filename else ""
            return f"{where}{_FULL[error.errno]} ({error.strerror}): make room, or choose another place, and try again"
        if isinstance(error, sqlite3.OperationalError) and "disk is full" in str(error):
            return f"the disk is full ({error}): make room and try again"
        error = error.__cause__
    return None


def _imported(names: Iterable[tuple[str, str]]) -> tuple[type[BaseException], ...]:
    found = (getattr(sys.modules.get(module), name, None) for module, name in names)
    return tuple(kind for kind in found if kind is not None)
