"""How plots look, and how a figure becomes a PNG file and an SVG element for a page.

Runs in containers, in the jobs that draw (evaluation, monitoring): the only module here that needs matplotlib. Figures
in, bytes out; it touches no files. The SVG's colours for text, lines and paper are CSS variables, so that one drawing
is right on light and on dark paper; the PNG is light, to be passed on. Figures are made without pyplot: nothing global,
nothing to close, and Agg is what ``Figure`` uses.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.figure import Figure

BLUE, RED, GREEN, OCHRE, GREY = "#3a7ec2", "#d8493d", "#2f9e44", "#b8860b", "#868c94"
# Mid-tones that stand out from white and from near-black paper alike, and are told apart in the common kinds of colour
# blindness. No plot tells classes or outcomes apart by colour alone.
PALETTE = (BLUE, RED, OCHRE, "#2a9d78", "#a35fb5", "#7a8b2a", "#b5653a", "#5f8aa0")
CONVENTIONAL = {"bicycle": BLUE, "motorcycle": RED}
DASHES = (0, (5, 4))

# Written by matplotlib, replaced by CSS variables in the SVG: no other element may use these three.
INK, FAINT, PAPER = "#1d232b", "#d9dde2", "#fffffe"
_CSS = {INK: "var(--ink)", FAINT: "var(--line)", PAPER: "var(--paper)"}

PNG_DPI = 144
_TIP, _PART = "tip:", "part:"


def style() -> AbstractContextManager[None]:
    """What figures are made, filled and written in."""
    return mpl.rc_context(
        {
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
    )


def new_figure(size: tuple[float, float]) -> Figure:
    """An empty figure, ``size`` in inches."""
    return Figure(figsize=size, layout="constrained", facecolor="none")


def to_png(figure: Figure) -> bytes:
    """A PNG file on white; the same figure gives the same bytes."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=PNG_DPI, facecolor="white", metadata={"Software": None})
    return out.getvalue()


def to_svg(figure: Figure, name: str) -> str:
    """An SVG element: scalable, in the page's colours, its ids kept apart from other plots' by ``name``."""
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'^<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg xmlns:xlink="http://www.w3.org/1999/xlink" \1>', text)
    text = re.sub(rf'<g id="{_TIP}([^"]*)">', r'<g class="tip"><title>\1</title>', text)
    text = re.sub(rf'<g id="{_PART}(\d+):([^"]*)">', r'<g class="part p\1"><title>\2</title>', text)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for written, variable in _CSS.items():
        text = text.replace(f": {written}", f": {variable}")
    return text


def tip(artist: Artist, text: str) -> None:
    """What a reader sees who points at the artist: the ``title`` of its element in the SVG."""
    artist.set_gid(f"{_TIP}{text}")


def part_of_chart(artist: Artist, number: int, text: str) -> None:
    """The same of an artist that a page's `reporting.page.Brush` marks while its part of that number is chosen."""
    artist.set_gid(f"{_PART}{number}:{text}")


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """One colour per class, the same in every plot and report: by convention where there is one, else by order.

    Classes beyond the palette are grey.
    """
    taken = {CONVENTIONAL[label] for label in classes if label in CONVENTIONAL}
    free = iter([colour for colour in PALETTE if colour not in taken])
    return {label: CONVENTIONAL.get(label) or next(free, GREY) for label in classes}


def shorten(label: str, characters: int) -> str:
    """A label that fits."""
    return label if len(label) <= characters else label[: characters - 1] + "…"
