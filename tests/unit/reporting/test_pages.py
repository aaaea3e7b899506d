"""Pages: a chart or a section is one function and one registration; whatever a text holds, a page shows it as text."""

from __future__ import annotations

import io
import re
import tarfile
from collections import Counter
from html.parser import HTMLParser

import msgspec
import pytest
from matplotlib.figure import Figure

from monitoring.page import plots_compared
from monitoring.page import sections as report_sections
from monitoring.page.earlier import ListedReport, render_index
from reporting.charts import WIDE, Charts
from reporting.page import TEMPLATES, Card, CardLine, Cards, Content, Heading, Page, Sections, Table, Text, render
from reporting.wording import percent, percent_range
from scones.artifacts.build import source_archive
from scones.serving_versions.shadow_page import render_page
from scones.serving_versions.shadow_report import Compared, Pair, ShadowReport, ShadowSide, verdict
from tests.places import ROOT

HOSTILE = "<script>alert('x')</script>\"&{{ 7 * 7 }} <img src=x onerror=alert(1)>"
TAGS = {"html", "head", "meta", "title", "style", "body", "header", "main", "section", "div", "h1", "h2", "h3", "p"}
TAGS |= {"table", "thead", "tbody", "tr", "th", "td", "ul", "li", "strong", "small", "br"}


class Tags(HTMLParser):
    """Collects the tags, the attributes that act, and what a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.acting: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.acting += [name for name, _ in attrs if name.startswith("on") or name in ("src", "srcset", "action")]


def parsed(html: str) -> Tags:
    found = Tags()
    found.feed(html)
    return found


def page(sections: Sections[str], charts: Charts[str] | None = None) -> str:
    drawn = charts.draw("data") if charts else {}
    return render(Page("A page", "of today", "All is well.", "fit", [], sections.lay_out("view", drawn)))


def test_a_chart_is_one_function_and_one_registration() -> None:
    charts: Charts[str] = Charts()
    sections: Sections[str] = Sections()

    @sections.add("Weather")
    def weather(_: str) -> None:
        """Nothing but charts."""

    @charts.add("Rain", "By the hour.", section="weather", size=WIDE)
    def rain(figure: Figure, data: str) -> None:
        figure.add_subplot().set_xlabel(data)

    @charts.add("Sun", "By the day.", section="weather", when=lambda _: False, absent=lambda _: "It was night.")
    def sun(figure: Figure, data: str) -> None:
        raise AssertionError((figure, data))

    drawn = charts.draw("hours <of> the day")
    assert charts.files() == ["rain.png", "sun.png"]
    assert drawn["rain"].png.startswith(b"\x89PNG") and not drawn["sun"].png
    html = page(sections, charts)
    assert html.index("<h2>Weather</h2>") < html.index("<h3>Rain</h3>") < html.index("<h3>Sun</h3>")
    assert html.count("<svg") == 2, "the whole page's width, and a phone's"
    assert "It was night." in html and "By the day." not in html


def test_a_chart_for_no_section_is_refused_and_not_left_out() -> None:
    charts: Charts[str] = Charts()
    sections: Sections[str] = Sections()

    @charts.add("Rain", "By the hour.", section="wether")
    def rain(figure: Figure, data: str) -> None:
        figure.text(0, 0, data)

    with pytest.raises(ValueError, match="chart rain is for the section 'wether'"):
        page(sections, charts)


def test_a_name_is_taken_once() -> None:
    charts: Charts[str] = Charts()
    sections: Sections[str] = Sections()

    def rain(*_: object) -> None:
        """Neither draws nor says anything."""

    charts.add("Rain", "", section="rain")(rain)
    sections.add("Rain")(rain)
    with pytest.raises(ValueError, match="there is a chart rain already"):
        charts.add("Rain again", "", section="rain")(rain)
    with pytest.raises(ValueError, match="there is a section rain already"):
        sections.add("Rain again")(rain)


def test_the_examples_of_the_docs_run() -> None:
    chart, section = re.findall(r"```python\n(.*?)```", (ROOT / "docs/pages.md").read_text(), re.DOTALL)
    charts: Charts[object] = Charts()
    sections: Sections[object] = Sections()
    exec(chart, {**vars(plots_compared), "CHARTS": charts})  # noqa: S102 - what the docs show
    exec(section, {**vars(report_sections), "SECTIONS": sections, "clock": report_sections.clock})  # noqa: S102
    assert charts.files() == ["margin.png"]
    report = msgspec.json.decode((ROOT / "tests/samples/report.json").read_bytes(), type=report_sections.Report)
    (laid_out,) = sections.lay_out(report_sections.ReportView(report, {}), {})
    (table,) = laid_out.content.before
    assert isinstance(table, Table) and table.rows[0][0] == "2026-03-01 00:00:00"


def test_every_text_of_every_block_is_shown_and_never_interpreted() -> None:
    sections: Sections[str] = Sections()

    @sections.add(HOSTILE)
    def everything(_: str) -> Content:
        card = Card(None, HOSTILE, [CardLine(HOSTILE, HOSTILE, HOSTILE)], HOSTILE)
        table = Table([HOSTILE], [[HOSTILE], [(HOSTILE, HOSTILE)]])
        return Content([Text(HOSTILE), Heading(HOSTILE)], [table], [Cards([card]), Text(HOSTILE, soft=True)])

    html = render(Page(HOSTILE, HOSTILE, HOSTILE, "", [HOSTILE], sections.lay_out("", {})))
    found = parsed(html)
    assert found.tags <= TAGS and found.acting == []
    assert html.count("&lt;script&gt;") == 18 and "<script" not in html and "{{ 7 * 7 }}" in html


def test_a_table_of_a_thousand_rows_is_shown_in_part_and_counted() -> None:
    sections: Sections[None] = Sections()

    @sections.add("By class")
    def by_class(_: None) -> Content:
        return Content(before=[Table(["class"], [[f"class {number}."] for number in range(1000)])])

    page = render(Page("A page", "", "Fine.", "fit", [], sections.lay_out(None, {})))
    assert page.count("<td>class") == Table.longest
    assert f"and {1000 - Table.longest} more rows" in page


def test_a_page_fetches_nothing_and_may_run_nothing() -> None:
    html = page(Sections())
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in html
    assert parsed(html).acting == []
    assert "@import" not in html and "url(" not in html


def test_the_list_of_reports_names_each_and_marks_alarms() -> None:
    entries = [
        ListedReport(name=name, verdict=said, alarms=alarms, start="2026-03-01T00:00:00Z", end="2026-03-02T00:00:00Z")
        for name, said, alarms in (("a b", HOSTILE, ["images"]), ("c", "Fine", []))
    ]
    html = render_index(entries)
    assert html.count('<li class="alarm">') == 1
    assert '<a href="a%20b/report.html">2026-03-01 00:00:00 to 2026-03-02 00:00:00 UTC</a>' in html
    assert "<script" not in html and parsed(html).acting == []


def shadow(pairs: list[Pair]) -> Compared:
    side = ShadowSide(mean_confidence=0.9, share_below_threshold=0.25, mean_latency_ms=None)
    report = ShadowReport(
        serving_version=3, challenger_version=4, since="2026-03-01T00:00:00+00:00", classes=["bicycle", HOSTILE],
        requests=9, answered_by_both=len(pairs), agreement=0.5 if pairs else None,
        largest_difference=0.4 if pairs else None, serving=side, challenger=side,
    )  # fmt: skip
    return Compared(report, Counter(pair.labels for pair in pairs), pairs)


def test_the_shadow_page_compares_both_versions() -> None:
    pairs = [Pair(HOSTILE, [0.6, 0.4], [0.2, 0.8]), Pair("request-2", [0.1, 0.9], [0.2, 0.8])]
    compared = shadow(pairs)
    html = render_page(compared).replace("\N{NO-BREAK SPACE}", " ")
    assert "Version 4 answers 50 % of 2 requests with the same class as version 3" in html
    assert "mean latency not known yet against not known yet." in html
    assert '<td>serving: bicycle</td><td class="number">0</td><td class="number">1</td>' in html
    assert "bicycle 0.600" in html and "request-2" in html and "<script" not in html
    assert verdict(shadow([]).report) == "No request was answered by both version 4 and version 3 yet"
    assert "<h2>By class</h2>" not in render_page(shadow([]))


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"), (1.0, "100 %"), (0.7, "70 %"), (0.29, "29 %"), (0.705, "70.5 %"), (1 / 3, "33.3 %"),
        (0.99999, "> 99.9 %"), (0.00001, "< 0.1 %"), (0.9994, "99.9 %"), (0.025, "2.5 %"),
    ],
)  # fmt: skip
def test_a_share_is_said_by_one_rule(share: float, text: str) -> None:
    assert percent(share) == text


def test_an_interval_is_said_without_needless_decimals() -> None:
    assert (percent_range([0.777, 0.88]), percent_range(None)) == ("77.7 to 88 %", "-")


def test_no_python_of_the_pages_holds_html() -> None:
    rooms = ("monitoring", "processing", "reporting", "scones")
    files = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    assert len(files) > 50
    holding = [
        path.name for path in files if re.search(r"</(?:p|li|td|th|h\d|div|section|table|figure)>", path.read_text())
    ]
    assert holding == []


def test_the_templates_travel_with_the_source_archive() -> None:
    with tarfile.open(fileobj=io.BytesIO(source_archive(ROOT).data)) as archive:
        names = set(archive.getnames())
    assert {f"reporting/templates/{path.name}" for path in TEMPLATES.iterdir()} <= names
    assert "reporting/templates/base.html" in names
