"""The first page: how the stage stands, as `scones status` says it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from botocore.exceptions import ClientError

from console.web.page import ConsolePage, Panel
from scones.stage.connection import Connection, check_deployed
from scones.standing.look import StandingPart, look


@dataclass(frozen=True)
class NowView:
    """Every part by its name, and what has to be done."""

    parts: dict[str, StandingPart]

    @property
    def todo(self) -> list[StandingPart]:
        """The parts about which somebody has to do something."""
        return [part for part in self.parts.values() if part.todo]

    @property
    def unknown(self) -> list[str]:
        """The parts that could not be read."""
        return [name for name, part in self.parts.items() if part.failed]


def read_now(connection: Connection) -> NowView:
    """Read every part at the same time. SconesError for a stage that is not deployed."""
    with contextlib.suppress(ClientError):  # who may not ask this is told by the parts
        check_deployed(connection)
    return NowView(look(connection))


def now_page() -> ConsolePage:
    """Make the page."""
    return ConsolePage(
        "now",
        "Now",
        "How the stage stands, and whether anybody has to act.",
        lambda _query: [Panel("standing", "At a glance", read_now, "now", live=True, wide=True)],
    )
