"""One of the evaluation's plots: drawn once, as a PNG file and as an SVG element for the page.

Runs in the evaluation job. Values in, bytes out; it touches no files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from reporting.figures import CONVENTIONAL, GREY, PALETTE, new_figure, shorten, style, to_png, to_svg

SIZE = (4.8, 4.0)  # inches; text is laid out for a column of the page, which is the width of a phone
LABEL_CHARACTERS = 18
_COLOURS = (*PALETTE, "#c2577a", GREY)


@dataclass(frozen=True)
class Plot:
    """One plot: ``png`` for files, ``svg`` as an element for the page."""

    png: bytes
    svg: str


def draw(name: str, fill: Callable[[Figure], None], size: tuple[float, float] = SIZE) -> Plot:
    """The plot that ``fill`` draws into an empty figure; ``name`` keeps its ids apart from other plots' in a page."""
    with style():
        figure = new_figure(size)
        fill(figure)
        svg = to_svg(figure, name)
        return Plot(to_png(figure), svg)


def class_colours(classes: list[str]) -> list[str]:
    """One colour per class: by convention where there is one, else by order; repeated when there are many."""
    taken = {CONVENTIONAL[name] for name in classes if name in CONVENTIONAL}
    free = [colour for colour in _COLOURS if colour not in taken]
    others = [name for name in classes if name not in CONVENTIONAL]
    chosen = {name: free[at % len(free)] for at, name in enumerate(others)}
    return [CONVENTIONAL.get(name) or chosen[name] for name in classes]


def short(label: str) -> str:
    """A class name that fits beside an axis."""
    return shorten(label, LABEL_CHARACTERS)
