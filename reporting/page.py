"""Pages: blocks of content in, one self-contained HTML file out, with every text escaped.

Runs in the jobs that write pages and on a laptop. A page is a verdict and sections; a section is a function that
answers blocks (tables, notes, cards), registered in the page's `Sections`. How blocks look stands in ``templates/``
alone: one base, one style sheet, and nothing that a browser would fetch or run.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from reporting.wording import unbroken

TEMPLATES = Path(__file__).with_name("templates")
_DATE = re.compile(r"\b\d{4}-\d\d-\d\d\b")

View = TypeVar("View")
Cell = str | tuple[str, str]  # a text, or a text with another one small below it


@dataclass(frozen=True)
class Text:
    """A paragraph; ``soft`` for what explains rather than tells."""

    kind: ClassVar = "text"
    text: str
    soft: bool = False


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    kind: ClassVar = "heading"
    text: str


@dataclass(frozen=True)
class Table:
    """Rows of texts below headers; the columns after the first ``text_columns`` hold numbers.

    Of many rows the first ones are shown, and the others counted.
    """

    kind: ClassVar = "table"
    longest: ClassVar = 150
    headers: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    text_columns: int = 1


@dataclass(frozen=True)
class CardLine:
    """One line of a card: plain, then emphasised, then plain text."""

    before: str = ""
    strong: str = ""
    after: str = ""


@dataclass(frozen=True)
class Card:
    """A picture as a data URI (or why there is none), lines about it, and its name in small print."""

    picture: str | None
    missing: str
    lines: Sequence[CardLine]
    name: str


@dataclass(frozen=True)
class Cards:
    """Cards side by side."""

    kind: ClassVar = "cards"
    cards: Sequence[Card]


@dataclass(frozen=True)
class BrushPart:
    """A part that can be chosen: its number in the charts, what it is called, and a row about it."""

    number: int
    name: str
    row: Sequence[str]


@dataclass(frozen=True)
class Brush:
    """Parts of an axis that charts share: those that are chosen are marked in all of them and have their rows shown.

    Without a script: the style sheet looks at which boxes are ticked.
    """

    kind: ClassVar = "brush"
    title: str
    note: str
    headers: Sequence[str]
    parts: Sequence[BrushPart]


Block = Text | Heading | Table | Cards | Brush


@dataclass(frozen=True)
class Content:
    """What a section holds: blocks ``before`` its charts, ``beside`` the last of them, and ``after`` them."""

    before: Sequence[Block] = ()
    beside: Sequence[Block] = ()
    after: Sequence[Block] = ()


@dataclass(frozen=True)
class Drawn:
    """A chart on a page, see `reporting.charts`.

    ``png`` and the drawings are empty where there was nothing to draw; then ``note`` says why.
    """

    name: str
    title: str
    note: str
    section: str
    spans: bool
    """Whether it takes the page's whole width."""
    png: bytes = b""
    wide: str = ""
    narrow: str = ""
    """Both are `Markup`, which templates do not escape."""


@dataclass(frozen=True)
class Section:
    """A section as the template shows it."""

    title: str
    charts: Sequence[Drawn]
    content: Content

    @property
    def anchor(self) -> str:
        """What an address names it by."""
        return "-".join(re.findall(r"[a-z0-9]+", self.title.lower()))


@dataclass(frozen=True)
class Link:
    """Another file: beside the page, or ``up``, beside the page's folder."""

    file: str
    text: str
    up: bool = False

    @property
    def href(self) -> str:
        """The address, from the page."""
        return f"../{self.file}" if self.up else self.file


@dataclass(frozen=True)
class Page:
    """A page about one thing. ``outcome`` colours the verdict: ``alarm``, ``fit``, ``unfit`` or nothing.

    ``facts`` say what it is about, by name; ``links`` lead to what lies beside it.
    """

    title: str
    subtitle: str
    verdict: str
    outcome: str
    notes: Sequence[str]
    sections: Sequence[Section]
    facts: Mapping[str, str] = field(default_factory=dict)
    links: Sequence[Link] = ()

    @property
    def contents(self) -> list[Section]:
        """The sections that have a title."""
        return [section for section in self.sections if section.title]


class Sections(Generic[View]):
    """The sections of a kind of page, in the order in which they are registered.

    A section's function takes the page's values and answers its content, or None where there is nothing to say. Charts
    that name the section in their registration appear in it by themselves.
    """

    def __init__(self) -> None:
        self._functions: dict[str, tuple[str, Callable[[View], Content | None]]] = {}

    def add(
        self, title: str, after: str = ""
    ) -> Callable[[Callable[[View], Content | None]], Callable[[View], Content | None]]:
        """Register the function below under its own name; an empty title shows none.

        It stands behind the section ``after``, or else at the end.
        """

        def register(function: Callable[[View], Content | None]) -> Callable[[View], Content | None]:
            if function.__name__ in self._functions:
                raise ValueError(f"there is a section {function.__name__} already: give the function another name")
            names = list(self._functions)
            behind = names[names.index(after) + 1 :] if after else []
            moved = {name: self._functions.pop(name) for name in behind}
            self._functions |= {function.__name__: (title, function), **moved}
            return function

        return register

    def lay_out(self, view: View, charts: Mapping[str, Drawn]) -> list[Section]:
        """Every section that has content or charts. Raises ValueError for a chart of a section that there is not."""
        lost = [chart for chart in charts.values() if chart.section not in self._functions]
        if lost:
            raise ValueError(
                f"chart {lost[0].name} is for the section {lost[0].section!r}, expected one of "
                f"{', '.join(self._functions)}: change its registration"
            )
        sections = []
        for name, (title, function) in self._functions.items():
            content = function(view)
            shown = [chart for chart in charts.values() if chart.section == name]
            if content or shown:
                sections.append(Section(title, shown, content or Content()))
        return sections


def render(page: Page) -> str:
    """The page as HTML."""
    return _templates().get_template("page.html").render(page=page)


def render_list(title: str, entries: Sequence[object]) -> str:
    """A page that lists others; an entry has ``href``, ``name``, ``text`` and ``alarm``."""
    return _templates().get_template("index.html").render(title=title, entries=entries)


def _dated(text: str) -> Markup:
    """The text, escaped, in which no line ends within a date."""
    return Markup(_DATE.sub(r'<span class="date">\g<0></span>', str(escape(unbroken(text)))))  # noqa: S704 - escaped


@functools.cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["unbroken"] = unbroken
    environment.filters["dated"] = _dated
    return environment
