"""The monitoring report in a browser: readable in every light and width, its parts chosen without a script."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.chromium import DESK, PHONE, Looker
from tests.unit.monitoring.test_report_drift import run, shop  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> str:  # noqa: F811 - the fixture
    """A report with an alarm, labels, pictures and a day of traffic."""
    work = tmp_path_factory.mktemp("page")
    folders = {"baseline": "baseline.json", "ground-truth": "labels", "context": "context"}
    told = [part for name, place in folders.items() for part in (f"--{name}", str(shop / place))]
    assert run(shop / "captures", work, *told) == 0
    return (work / "report/report.html").as_uri()


@pytest.mark.parametrize("width", [DESK, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_from_reading_it(browser: Browser, axe: str, address: str, scheme: str, width: int) -> None:
    reader = Looker(browser, address, width=width, scheme=scheme, lenient=True)
    try:
        assert reader.faults_here(axe) == []
        reader.page.click(".brush summary")
        reader.page.check("#part-3")
        assert reader.faults_here(axe) == []
    finally:
        reader.close()


def test_a_chosen_part_is_marked_in_every_chart_over_time(browser: Browser, address: str) -> None:
    reader = Looker(browser, address, scripts=False)
    asked: list[str] = []
    reader.page.on("request", lambda request: asked.append(request.url))
    try:
        reader.page.reload()
        shades = reader.page.locator(".wide .p3 path")
        row = reader.page.locator(".brush .row-3")
        assert (shades.count(), row.is_visible(), _opacities(shades)) == (6, False, {"0.001"})
        reader.page.click(".brush summary")
        reader.page.check("#part-3")
        assert (row.is_visible(), _opacities(shades)) == (True, {"0.16"})
        assert re.match(r"2026-03-01 03:00 to 04:00\s+30\s+0\.96", row.inner_text())
        told = reader.page.locator(".wide .p3 title").first.text_content()
        assert told and told.startswith("2026-03-01 03:00 to 04:00: 30 predictions, mean confidence 0.96")
        assert {url for url in asked if not url.startswith("data:")} == {address}
    finally:
        reader.close()
    assert reader.troubles == []


def test_it_prints_without_what_only_a_screen_can_do(browser: Browser, address: str) -> None:
    reader = Looker(browser, address)
    try:
        reader.page.emulate_media(media="print")
        for hidden in ("nav", ".brush", ".narrow"):
            assert not reader.page.locator(hidden).first.is_visible(), hidden
        assert reader.page.locator(".wide").first.is_visible()
    finally:
        reader.close()


def _opacities(shades: Any) -> set[str]:
    found: list[str] = shades.evaluate_all("all => all.map(each => getComputedStyle(each).opacity)")
    return set(found)
