"""What a page of the console is: panels that are read, and actions that change something.

Runs in the console's process. Each page's room under `console/pages` makes one `ConsolePage`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from starlette.routing import BaseRoute

from console.web.form import FormFields
from scones.stage.connection import Connection

Reader = Callable[[Connection], object]


@dataclass(frozen=True)
class Panel:
    """One part of a page: what it reads and the template that shows that as ``view``.

    ``live``: it is read again while the page is open. ``wide``: it takes the page's whole width.
    """

    name: str
    title: str
    read: Reader
    template: str
    live: bool = False
    wide: bool = False


@dataclass(frozen=True)
class PageAction:
    """A change: what it does, said before it is done, and the doing, which answers what came of it."""

    will: Callable[[FormFields], str]
    do: Callable[[Connection, FormFields], str]


@dataclass(frozen=True)
class ConsolePage:
    """A page by its place in the address. ``panels`` may depend on what stands behind the question mark."""

    name: str
    title: str
    about: str
    panels: Callable[[FormFields], Sequence[Panel]]
    actions: dict[str, PageAction] = field(default_factory=dict)
    routes: Sequence[BaseRoute] = ()
    """Besides the page itself: images and documents in it."""
    scripts: Sequence[str] = ()
    every_s: float = 3.0
    """How often live panels are read in the stand-in account."""
