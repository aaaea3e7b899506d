"""Charts: a function that fills a figure, registered, becomes a PNG file and a drawing on the page.

Runs in the jobs that draw (evaluation, monitoring). Values in, bytes out; it touches no files. A chart that is as wide
as the page is drawn in a column's width too, since its text would be too small on a phone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from markupsafe import Markup
from matplotlib.figure import Figure

from reporting.figures import new_figure, style, to_png, to_svg
from reporting.page import Drawn

Data = TypeVar("Data")
Size = tuple[float, float]
Fill = Callable[[Figure, Data], None]

WIDE, COLUMN = (9.4, 3.5), (4.8, 3.3)  # inches; text is laid out for these


@dataclass(frozen=True)
class Chart(Generic[Data]):
    """A registered chart, see `Charts.add`."""

    name: str
    title: str
    note: str
    section: str
    size: Size
    when: Callable[[Data], bool]
    absent: Callable[[Data], str]
    fill: Fill[Data]

    def draw(self, data: Data) -> Drawn | None:
        """The chart of these data; None where there is nothing to draw and nothing to say of that."""
        spans = self.size[0] > COLUMN[0]
        if not self.when(data):
            said = self.absent(data)
            return Drawn(self.name, self.title, said, self.section, spans) if said else None
        with style():
            figure = self._figure(data, self.size[0])
            wide = Markup(to_svg(figure, f"{self.name}-wide"))  # noqa: S704 - matplotlib escapes its texts
            narrow = wide
            if spans:
                narrow = Markup(to_svg(self._figure(data, COLUMN[0]), f"{self.name}-narrow"))  # noqa: S704 - likewise
            return Drawn(self.name, self.title, self.note, self.section, spans, to_png(figure), wide, narrow)

    def _figure(self, data: Data, width: float) -> Figure:
        figure = new_figure((width, self.size[1]))
        self.fill(figure, data)
        return figure


class Charts(Generic[Data]):
    """The charts of a kind of page, in the order in which they are registered."""

    def __init__(self) -> None:
        self._charts: dict[str, Chart[Data]] = {}

    def add(
        self,
        title: str,
        note: str,
        *,
        section: str,
        size: Size = COLUMN,
        when: Callable[[Data], bool] = lambda _: True,
        absent: Callable[[Data], str] = lambda _: "",
    ) -> Callable[[Fill[Data]], Fill[Data]]:
        """Register the function below, whose name is the chart's and its PNG file's.

        ``section`` names the section of the page that shows it. It is drawn ``when`` the data have something to draw;
        else the page says what ``absent`` makes of them, or nothing. ``size`` is in inches; the function may make the
        figure higher. Raises ValueError where the name is taken.
        """

        def register(fill: Fill[Data]) -> Fill[Data]:
            name = fill.__name__
            if name in self._charts:
                raise ValueError(f"there is a chart {name} already: give the function another name")
            self._charts[name] = Chart(name, title, note, section, size, when, absent, fill)
            return fill

        return register

    def files(self) -> list[str]:
        """The names of the PNG files that there may be."""
        return [f"{name}.png" for name in self._charts]

    def draw(self, data: Data) -> dict[str, Drawn]:
        """All charts that there is something to draw or to say for, by name."""
        drawn = ((name, chart.draw(data)) for name, chart in self._charts.items())
        return {name: chart for name, chart in drawn if chart is not None}
