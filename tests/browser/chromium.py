"""The machine's own Chromium, driven by playwright: no browser is downloaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
# A machine without a graphics card, and a container whose shared memory is small.
OPTIONS = ["--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"]
PHONE, DESK = 390, 1280
PATIENCE_MS = 60_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; the test is skipped, with the reason, where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no Chromium on this machine ({', '.join(NAMES)}); on Debian: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing: `make test-browser` has it")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


def axe_script() -> str:
    """axe-core as the wheel brings it."""
    import axe_playwright_python

    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


@dataclass
class Looker:
    """A person at a browser who has opened the console; ``troubles`` is what the browser complains of."""

    browser: Browser
    address: str
    width: int = DESK
    scheme: str = "light"
    scripts: bool = True
    lenient: bool = False
    """Without the content security policy, so that axe can look into documents that may run nothing."""
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        scheme: Any = self.scheme
        context = self.browser.new_context(
            viewport={"width": self.width, "height": 900},
            color_scheme=scheme,
            java_script_enabled=self.scripts,
            bypass_csp=self.lenient,
        )
        context.set_default_timeout(PATIENCE_MS)
        self.page: Page = context.new_page()
        self.page.on("console", lambda told: self.troubles.append(told.text) if told.type == "error" else None)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.goto(self.address)

    def go(self, place: str) -> Page:
        self.page.goto(f"{self.address.partition('/?')[0]}/{place}")
        return self.page

    def is_told(self, text: str) -> None:
        """The line above the page says so."""
        from playwright.sync_api import expect

        expect(self.page.locator("main > .verdict")).to_contain_text(text, timeout=PATIENCE_MS)

    def press(self, key: str) -> None:
        """Once the page's scripts listen."""
        self.page.wait_for_load_state("load")
        self.page.keyboard.press(key)

    def faults(self, axe: str, places: Iterable[str]) -> dict[str, list[str]]:
        """By page, what axe finds there, with the first element that breaks a rule, and whether it is too wide."""
        found = {place: self._faults(axe, place) for place in places}
        return {place: faults for place, faults in found.items() if faults}

    def _faults(self, axe: str, place: str) -> list[str]:
        self.go(place)
        return self.faults_here(axe)

    def faults_here(self, axe: str) -> list[str]:
        """What axe finds on the page that is open, and whether it is too wide."""
        self.page.evaluate(axe)
        violations = self.page.evaluate("axe.run()")["violations"]
        wider = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        said = [f"{each['id']}: {each['nodes'][0]['html']}" for each in violations]
        return [*said, *([f"{wider} pixels wider than the screen"] if wider > 0 else [])]

    def close(self) -> None:
        self.page.context.close()
