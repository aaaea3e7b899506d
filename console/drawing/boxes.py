"""Boxes in columns with arrows between them as SVG: a pipeline as a graph.

Runs in the console's process.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

_WIDE, _HIGH, _ACROSS, _DOWN, _EDGE = 190.0, 46.0, 40.0, 16.0, 4.0


@dataclass(frozen=True)
class GraphBox:
    """A box: its name, a line below it, its column, and a tone that colours it (good, bad, busy or none)."""

    name: str
    line: str
    column: int
    tone: str = ""


def boxes_svg(boxes: Sequence[GraphBox], arrows: Sequence[tuple[str, str]], title: str) -> Markup:
    """Draw them, columns from left to right."""
    places = _places(boxes)
    width = max((x for x, _ in places.values()), default=0.0) + _WIDE + _EDGE
    height = max((y for _, y in places.values()), default=0.0) + _HIGH + _EDGE
    parts = [_arrow(places[a], places[b]) for a, b in arrows if a in places and b in places]
    parts += [_box(box, *places[box.name]) for box in boxes]
    summary = ", ".join(f"{box.name}: {box.line}" for box in boxes)
    return Markup('<svg class="graph" viewBox="0 0 {:g} {:g}" role="img" aria-label="{}: {}">{}</svg>').format(
        width, height, title, summary, Markup("").join(parts)
    )


def _places(boxes: Sequence[GraphBox]) -> dict[str, tuple[float, float]]:
    filled: dict[int, int] = defaultdict(int)
    places = {}
    for box in boxes:
        row = filled[box.column]
        filled[box.column] += 1
        places[box.name] = (_EDGE + box.column * (_WIDE + _ACROSS), _EDGE + row * (_HIGH + _DOWN))
    return places


def _box(box: GraphBox, x: float, y: float) -> Markup:
    return Markup(
        '<g class="box {}"><rect x="{:g}" y="{:g}" width="{:g}" height="{:g}" rx="6"/>'
        '<text x="{:g}" y="{:g}" class="name">{}</text><text x="{:g}" y="{:g}">{}</text></g>'
    ).format(box.tone, x, y, _WIDE, _HIGH, x + 10, y + 19, _short(box.name), x + 10, y + 36, _short(box.line))


def _short(text: str) -> str:
    """As long as the box is wide."""
    return text if len(text) <= 25 else f"{text[:24]}…"


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> Markup:
    x1, y1 = start[0] + _WIDE, start[1] + _HIGH / 2
    x2, y2 = end[0], end[1] + _HIGH / 2
    middle = (x1 + x2) / 2
    return Markup('<path class="arrow" d="M{:g} {:g}C{:g} {:g} {:g} {:g} {:g} {:g}"/>').format(
        x1, y1, middle, y1, middle, y2, x2, y2
    )
