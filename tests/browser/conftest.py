"""Fixtures: one browser, one stage and one console for each file of tests.

Not for the whole session: as long as playwright runs, no other test of the process can have an event loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import Looker, axe_script, chromium
from tests.console_stage import ConsoleStage, RunningConsole, console_stage, running_console

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def stage(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleStage]:
    """Made where there is a browser only."""
    with console_stage(tmp_path_factory.mktemp("browser")) as made:
        yield made


@pytest.fixture(scope="module")
def console(stage: ConsoleStage) -> Iterator[RunningConsole]:
    with running_console(stage) as running:
        yield running


@pytest.fixture(scope="module")
def axe() -> str:
    return axe_script()


@pytest.fixture
def looker(browser: Browser, console: RunningConsole) -> Iterator[Looker]:
    """Somebody at a desk, whose browser has nothing to complain of."""
    person = Looker(browser, console.address)
    yield person
    person.close()
    assert person.troubles == []
