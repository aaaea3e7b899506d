"""How the evaluation's plots look, and how a drawing becomes a PNG file and an SVG element for the page.

Runs in the evaluation job. Values in, bytes out; it touches no files. The SVG's colours for text, lines and paper are
CSS variables, so that one drawing is right on light and on dark paper. Figures are made without pyplot: nothing
global, nothing to close, and Agg is what ``Figure`` uses.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

BLUE, RED, GREEN, OCHRE = "#3a7ec2", "#d8493d", "#2f9e44", "#b8860b"
# Mid-tones that stand out from white and from near-black paper alike; the first eight are told apart in the common
# kinds of colour blindness. No plot tells classes or outcomes apart by colour alone.
PALETTE = (BLUE, RED, OCHRE, "#2a9d78", "#a35fb5", "#7a8b2a", "#b5653a", "#5f8aa0", "#c2577a", "#868c94")
CONVENTIONAL = {"bicycle": BLUE, "motorcycle": RED}
DASHES = (0, (5, 4))

# Written by matplotlib, replaced by CSS variables in the SVG: no other element may use these three.
INK, FAINT, PAPER = "#1d232b", "#d9dde2", "#fffffe"
_CSS = {INK: "var(--ink)", FAINT: "var(--line)", PAPER: "var(--paper)"}

SIZE = (4.8, 4.0)  # inches; text is laid out for a column of the page, which is the width of a phone
PNG_DPI = 144

_RC: dict[Any, Any] = {
    "font.size": 10,
    "font.family": "sans-serif",
    "text.color": INK,
    "text.parse_math": False,  # a label such as "$x" is text, not a formula
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 6,
    "ytick.major.pad": 6,
    "legend.frameon": False,
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class Plot:
    """One plot: ``png`` for files, ``svg`` as an element for the page."""

    png: bytes
    svg: str


def draw(name: str, fill: Callable[[Figure], None], size: tuple[float, float] = SIZE) -> Plot:
    """The plot that ``fill`` draws into an empty figure; ``name`` keeps its ids apart from other plots' in a page."""
    with mpl.rc_context(_RC | {"svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained", facecolor="none")
        fill(figure)
        svg = io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=PNG_DPI, facecolor="white", metadata={"Software": None})
    return Plot(png.getvalue(), _for_page(svg.getvalue(), name))


def class_colours(classes: list[str]) -> list[str]:
    """One colour per class: by convention where there is one, else by order; repeated when there are many."""
    taken = {CONVENTIONAL[name] for name in classes if name in CONVENTIONAL}
    free = [colour for colour in PALETTE if colour not in taken]
    others = [name for name in classes if name not in CONVENTIONAL]
    chosen = {name: free[at % len(free)] for at, name in enumerate(others)}
    return [CONVENTIONAL.get(name) or chosen[name] for name in classes]


def short(label: str) -> str:
    """A class name that fits beside an axis."""
    return label if len(label) <= 18 else label[:17] + "…"


def _for_page(text: str, name: str) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'^<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg xmlns:xlink="http://www.w3.org/1999/xlink" \1>', text)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for written, variable in _CSS.items():
        text = text.replace(f": {written}", f": {variable}")
    return text
