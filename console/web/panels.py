"""Panels are read side by side, and each fails alone: one call that is refused leaves the others as they are.

Runs in the console's process, in threads, as boto3 waits.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass, replace

from botocore.exceptions import BotoCoreError, ClientError

from console.account import ConsoleAccount
from console.web.page import Panel, Reader
from scones import failures
from scones.errors import SconesError
from scones.plain_text import plain
from scones.stage.connection import check_deployed

PATIENCE_S = 20.0
READERS = 16
_log = logging.getLogger("scones.console")


@dataclass(frozen=True)
class ReadPanel:
    """A panel with what was read for it, or with why that failed."""

    panel: Panel
    view: object
    failure: str = ""


class PanelReader:
    """Reads panels of one account."""

    def __init__(self, account: ConsoleAccount) -> None:
        self._account = account
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="panel")

    def read(self, panels: Sequence[Panel]) -> list[ReadPanel]:
        """Read every panel; what fails says why."""
        begun = [(panel, self._pool.submit(self._one, panel.read)) for panel in panels]
        read = [self._ended(panel, future) for panel, future in begun]
        missing = self._undeployed() if any(each.failure for each in read) else ""
        return [replace(each, failure=missing) if missing and each.failure else each for each in read]

    def _one(self, read: Reader) -> object:
        """Once more with a new connection, where the old one's credentials are no longer good."""
        try:
            return read(self._account.connection())
        except Exception as error:
            if not self._account.lost(error):
                raise
        return read(self._account.connection())

    def _undeployed(self) -> str:
        """The one reason of many failures; "" where the stage is there, or nobody can tell."""
        try:
            check_deployed(self._account.connection())
        except SconesError as error:
            return words(error)
        except (BotoCoreError, ClientError):
            pass
        return ""

    def _ended(self, panel: Panel, future: Future[object]) -> ReadPanel:
        try:
            return ReadPanel(panel, future.result(PATIENCE_S))
        except TooLate:
            return ReadPanel(panel, None, f"no answer within {PATIENCE_S:.0f} s: load the page again")
        except Exception as error:
            self._account.lost(error)
            return ReadPanel(panel, None, words(error))

    def close(self) -> None:
        """Begin nothing new."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def words(error: Exception) -> str:
    """What went wrong, for a person; a fault of the console itself goes to the terminal with its traceback, too."""
    told = failures.told(error)
    if told is None:
        _log.error("a fault of the console", exc_info=error)
        told = f"a fault of this console ({type(error).__name__}: {error}); the terminal tells more"
    return " ".join(plain(told).split())
