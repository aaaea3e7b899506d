"""A chart of lines as SVG, for light and dark paper: it holds classes, and the style sheet the colours.

Runs in the console's process.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from console.drawing.ticks import number_text, number_ticks, time_text, time_ticks

COLOURS = 6
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 10.0, 8.0, 22.0


@dataclass(frozen=True)
class LineSeries:
    """A line through points (x, y), x ascending; a point without a value breaks it."""

    label: str
    points: Sequence[tuple[float, float | None]]
    colour: int = 0

    @property
    def known(self) -> list[tuple[float, float]]:
        """The points with a value."""
        return [(x, y) for x, y in self.points if y is not None and math.isfinite(y)]

    @property
    def last(self) -> float | None:
        """The newest value."""
        return self.known[-1][1] if self.known else None


@dataclass(frozen=True)
class ChartMark:
    """An upright line at an x, such as a deployment."""

    x: float
    label: str


@dataclass(frozen=True)
class LineChart:
    """What is drawn. ``low`` and ``high`` of y: None for as far as the values reach; ``levels`` are level lines."""

    title: str
    series: Sequence[LineSeries]
    start: float
    end: float
    low: float | None = 0.0
    high: float | None = None
    over_time: bool = True
    marks: Sequence[ChartMark] = ()
    levels: Sequence[tuple[float, str]] = ()
    height: float = 170.0
    width: float = 420.0
    least_step: float = 0.0
    """Between two ticks of x: 1 where x counts."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(series.known for series in self.series)

    def svg(self) -> Markup:
        """Draw it."""
        frame = _Frame.of(self)
        parts = [*_grid(self, frame), *_marks(self, frame), *_levels(self, frame)]
        parts += [part for series in self.series for part in _line(series, frame)]
        body = Markup("").join(parts)
        label = f"{self.title}: {self.summary()}"
        return Markup('<svg class="chart" viewBox="0 0 {:g} {:g}" role="img" aria-label="{}">{}</svg>').format(
            self.width, self.height, label, body
        )

    def summary(self) -> str:
        """The newest values in words."""
        told = [f"{s.label} {number_text(s.last)}" for s in self.series if s.last is not None]
        return ", ".join(told) or "no values"


@dataclass(frozen=True)
class _Frame:
    """Values to places on the paper."""

    start: float
    end: float
    low: float
    high: float
    width: float
    height: float

    @classmethod
    def of(cls, chart: LineChart) -> _Frame:
        values = [y for series in chart.series for _, y in series.known] + [level for level, _ in chart.levels]
        low = min(values, default=0.0) if chart.low is None else chart.low
        high = max(values, default=1.0) if chart.high is None else chart.high
        if high <= low:
            high = low + 1
        room = 0.0 if chart.high is not None else (high - low) * 0.06
        return cls(chart.start, max(chart.end, chart.start + 1e-9), low, high + room, chart.width, chart.height)

    def x(self, value: float) -> float:
        share = (value - self.start) / (self.end - self.start)
        return _LEFT + share * (self.width - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.height - _BOTTOM - min(max(share, 0.0), 1.0) * (self.height - _TOP - _BOTTOM)


def _grid(chart: LineChart, frame: _Frame) -> list[Markup]:
    parts = []
    for value in number_ticks(frame.low, frame.high):
        y = frame.y(value)
        parts.append(_straight("grid", _LEFT, y, frame.width - _RIGHT, y))
        parts.append(_text(_LEFT - 5, y + 3.5, number_text(value), "end"))
    for value in _ticks(chart):
        text = time_text(value, chart.end - chart.start) if chart.over_time else number_text(value)
        parts.append(_text(frame.x(value), frame.height - 6, text, "middle"))
    base = frame.y(frame.low)
    return [*parts, _straight("axis", _LEFT, base, frame.width - _RIGHT, base)]


def _ticks(chart: LineChart) -> list[float]:
    if chart.over_time:
        return time_ticks(chart.start, chart.end)
    return number_ticks(chart.start, chart.end, 5, chart.least_step)


def _marks(chart: LineChart, frame: _Frame) -> list[Markup]:
    shown = [mark for mark in chart.marks if chart.start <= mark.x <= chart.end]
    parts = []
    for mark in shown:
        x = frame.x(mark.x)
        parts.append(_straight("mark", x, _TOP, x, frame.height - _BOTTOM))
        parts.append(_text(x + 3, _TOP + 9, mark.label, "start"))
    return parts


def _levels(chart: LineChart, frame: _Frame) -> list[Markup]:
    parts = []
    for value, label in chart.levels:
        y = frame.y(value)
        parts.append(_straight("mark", _LEFT, y, frame.width - _RIGHT, y))
        parts.append(_text(frame.width - _RIGHT - 2, y - 3, label, "end"))
    return parts


def _line(series: LineSeries, frame: _Frame) -> list[Markup]:
    colour = f"s{series.colour % COLOURS}"
    known = [(frame.x(x), frame.y(y)) for x, y in series.known]
    if not known:
        return []
    path = Markup("M{:.1f} {:.1f}").format(*known[0]) + Markup("").join(
        Markup("L{:.1f} {:.1f}").format(*there) for _, there in pairwise(known)
    )
    parts = [Markup('<path class="line {}" d="{}"/>').format(colour, path)]
    if len(known) <= 3:  # a line of few points is hardly seen
        parts += [
            Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="2.5"/>').format(colour, *at) for at in known
        ]
    return parts


def _straight(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(kind, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, escape(text))
