"""Connections that ask nothing are given up, so that somebody who opens many of them keeps nobody else out.

Runs in the console's process. uvicorn closes a connection that is idle after a request, and waits for the first one.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE_S = 10.0


class ImpatientProtocol(H11Protocol):
    """HTTP/1.1 that waits ``patience_s`` seconds for the head of the first request."""

    patience_s = PATIENCE_S
    _waits: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin to wait."""
        super().connection_made(transport)
        self._waits = self.loop.call_later(self.patience_s, self._give_up)

    def _give_up(self) -> None:
        if self.cycle is None:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        if self._waits is not None:
            self._waits.cancel()
        super().connection_lost(exc)
