"""Templates in, HTML out; every text is escaped.

Runs in the console's process. The style sheet is the project's own, `reporting/templates/style.css`, with what a page
with forms needs beside it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from console.account import ConsoleAccount
from console.drawing.ticks import number_text
from console.web.page import ConsolePage
from console.web.panels import ReadPanel, words
from reporting import wording
from reporting.page import TEMPLATES
from scones.plain_text import brief, plain, unsigned

HERE = Path(__file__).resolve().parents[1]
STATIC = HERE / "static"


@dataclass(frozen=True)
class Site:
    """What every page shows of the console itself."""

    account: ConsoleAccount
    pages: Sequence[ConsolePage]
    csrf: str

    @property
    def stage(self) -> str:
        """Whose pages they are."""
        return self.account.settings.stage

    @property
    def writes(self) -> bool:
        """Whether anything can be changed."""
        return not self.account.read_only


def render(template: str, site: Site, **values: object) -> str:
    """One template with its values."""
    return environment().get_template(template).render(site=site, **values)


def render_panel(site: Site, read: ReadPanel) -> Markup:
    """A panel, or why it could not be read or shown: the others do not fail with it."""
    try:
        text = render("panel.html", site, read=read, panel=read.panel, view=read.view)
    except Exception as error:
        read = ReadPanel(read.panel, None, words(error))
        text = render("panel.html", site, read=read, panel=read.panel, view=None)
    return Markup(text)  # noqa: S704 - a template's


@functools.cache
def environment() -> Environment:
    """Make the templates' environment, once."""
    made = Environment(
        loader=FileSystemLoader([HERE / "templates", TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    for function in (
        plain,
        brief,
        unsigned,
        wording.percent,
        wording.percent_or_unknown,
        wording.number,
        wording.clock,
    ):
        made.filters[function.__name__] = function
    made.filters["moment"] = moment
    made.filters["short"] = number_text
    made.filters["without_command"] = without_command
    return made


def without_command(text: str) -> str:
    """What to do, without the command for a terminal: the page that the link leads to does it."""
    return text.partition(": `")[0]


def moment(value: datetime | str | None) -> str:
    """``2026-01-31 12:00:00`` in UTC; a dash for none."""
    if not value:
        return wording.UNKNOWN
    return wording.clock(value.isoformat() if isinstance(value, datetime) else value)
