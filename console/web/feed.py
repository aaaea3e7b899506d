"""News of open pages: however many browsers look at a page, its account is asked once, and only while somebody looks.

Runs in the console's process, on its event loop; panels are read in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

HEARTBEAT_S = 15.0
_MOST_WAITING = 64
_log = logging.getLogger("scones.console")

Rendered = dict[str, str]
"""HTML by the panel's name."""


@dataclass
class _Watch:
    """One page that somebody looks at."""

    read: Callable[[], Rendered]
    every_s: float
    last: Rendered = field(default_factory=dict)
    readers: set[asyncio.Queue[str]] = field(default_factory=set)
    task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Read as long as somebody looks, and tell of what has changed."""
        while self.readers:
            try:
                found = await run_in_threadpool(self.read)
            except Exception:  # whoever looks stays, and gets the next reading
                _log.exception("the news of a page could not be read")
                found = self.last
            for name, html in found.items():
                if self.last.get(name) != html:
                    self._tell(message(name, html))
            self.last = found
            await asyncio.sleep(self.every_s)

    def _tell(self, news: str) -> None:
        for queue in self.readers:
            if queue.full():  # a browser that does not read gets the newest
                queue.get_nowait()
            queue.put_nowait(news)


class Feed:
    """All pages that are looked at, by their address."""

    def __init__(self) -> None:
        self._watches: dict[str, _Watch] = {}

    async def follow(self, address: str, read: Callable[[], Rendered], every_s: float) -> AsyncIterator[str]:
        """Messages for one browser, until it goes away."""
        watch = self._watches.setdefault(address, _Watch(read, every_s))
        queue: asyncio.Queue[str] = asyncio.Queue(_MOST_WAITING)
        for name, html in watch.last.items():
            queue.put_nowait(message(name, html))
        watch.readers.add(queue)
        if watch.task is None or watch.task.done():
            watch.task = asyncio.create_task(watch.run())
        try:
            yield "retry: 2000\n\n"
            while True:
                try:
                    yield await asyncio.wait_for(queue.get(), HEARTBEAT_S)
                except TimeoutError:
                    yield ": still here\n\n"
        finally:
            watch.readers.discard(queue)
            if not watch.readers:
                self._watches.pop(address, None)
                await _ended(watch.task)

    @property
    def watched(self) -> int:
        """How many pages are looked at."""
        return len(self._watches)


async def _ended(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def message(name: str, html: str) -> str:
    """An event as a browser's EventSource reads it."""
    return f"event: panel\ndata: {json.dumps({'name': name, 'html': html})}\n\n"
