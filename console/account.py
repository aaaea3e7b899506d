"""The account that the console shows: reached when it is first needed, and again after it was lost.

Runs on a laptop. The stand-in account may be stopped and credentials may expire while a page is open.
"""

from __future__ import annotations

import getpass
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from scones.errors import SconesError
from scones.stage.connection import Connection, connect
from scones.stage.settings import Settings

_PATIENCE_S = 1.0
_LOST = ("ExpiredToken", "InvalidClientTokenId", "UnrecognizedClient", "InvalidSignature", "RequestExpired")


@dataclass
class ConsoleAccount:
    """A stage and the way to its account. With ``read_only`` nothing of it is changed."""

    settings: Settings
    read_only: bool = False
    _connection: Connection | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def local(self) -> bool:
        """Whether it is the stand-in account of this machine."""
        return self.settings.endpoint_url is not None

    @property
    def person(self) -> str:
        """The login that the console runs as."""
        return getpass.getuser()

    def number(self) -> str:
        """The account's number; empty as long as it cannot be reached."""
        return self._connection.names.account_id if self._connection else ""

    def connection(self) -> Connection:
        """Reach the account. SconesError, which says what to do, when it does not answer."""
        self._check_port()
        with self._lock:
            if self._connection is None:
                self._connection = connect(self.settings.stage)
            return self._connection

    def lost(self, error: BaseException) -> bool:
        """Connect anew the next time, when an error says that these credentials are no longer good; whether it does.

        So it is after a login has expired, and when a fresh stand-in account has taken the place of another.
        """
        if not any(_code(each).startswith(_LOST) for each in _causes(error)):
            return False
        with self._lock:
            self._connection = None
        return True

    def _check_port(self) -> None:
        """At once: boto3 would try for seconds, with every call."""
        address = urlsplit(self.settings.endpoint_url or "")
        if not address.hostname or not address.port:
            return
        try:
            socket.create_connection((address.hostname, address.port), _PATIENCE_S).close()
        except OSError as error:
            raise SconesError(
                f"no stand-in account answers on {self.settings.endpoint_url}: start one with `scones account start`"
            ) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _code(error: BaseException) -> str:
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
