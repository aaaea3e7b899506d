"""News of open pages: one reading for all who look, the newest for the slow ones, none once everybody has gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from console.account import ConsoleAccount
from console.pages import pages
from console.web.feed import Feed
from console.web.notices import Notices
from scones.stage.settings import Settings


async def news(stream: AsyncIterator[str]) -> str:
    """The next panel's HTML."""
    while True:
        told = await anext(stream)
        if told.startswith("event: panel"):
            html: str = json.loads(told.partition("data: ")[2])["html"]
            return html


class Counted:
    """A panel that says how often it was read."""

    def __init__(self) -> None:
        self.times = 0

    def read(self) -> dict[str, str]:
        self.times += 1
        return {"panel": str(self.times)}


async def closed(*streams: AsyncIterator[str]) -> None:
    for stream in streams:
        await stream.aclose()  # type: ignore[attr-defined]  # of the generator that it is


def test_every_page_is_read_at_least_every_three_seconds_in_the_stand_in_account() -> None:
    """News are never older than that and the reading: what is live is not remembered."""
    account = ConsoleAccount(Settings.load("local"))
    assert {page.name: page.every_s for page in pages(account, Notices()) if page.every_s > 3} == {}


def test_however_many_look_the_account_is_asked_once_and_not_at_all_when_they_are_gone() -> None:
    async def looked_at() -> None:
        feed, panel = Feed(), Counted()
        streams = [feed.follow("now?", panel.read, 0.001) for _ in range(50)]
        first = await asyncio.gather(*(news(stream) for stream in streams))
        assert set(first) == {"1"}
        assert feed.watched == 1
        await closed(*streams)
        assert feed.watched == 0
        asked = panel.times
        await asyncio.sleep(0.05)
        assert panel.times == asked

    asyncio.run(looked_at())


def test_a_browser_that_does_not_read_gets_the_newest_and_costs_no_memory() -> None:
    async def looked_at() -> None:
        feed, panel = Feed(), Counted()
        slow, quick = (feed.follow("now?", panel.read, 0.0) for _ in range(2))
        await news(slow)
        while int(await news(quick)) < 500:
            pass
        assert int(await news(slow)) > 400
        await closed(slow, quick)

    asyncio.run(looked_at())


def test_a_reading_that_fails_ends_nobodys_page() -> None:
    async def looked_at() -> None:
        feed, panel = Feed(), Counted()

        def read() -> dict[str, str]:
            if panel.times == 1:
                panel.times += 1
                raise RuntimeError("out of order")
            return panel.read()

        stream = feed.follow("now?", read, 0.0)
        assert await news(stream) == "1"
        assert int(await asyncio.wait_for(news(stream), 60)) > 2
        await closed(stream)

    asyncio.run(looked_at())
