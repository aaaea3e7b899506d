"""The pages, each a room: what it reads (``views.py``), what it changes and where it stands (``page.py``)."""

from __future__ import annotations

from console.account import ConsoleAccount
from console.pages.live.page import live_page
from console.pages.now.page import now_page
from console.pages.photos.page import photos_page
from console.pages.registry.page import registry_page
from console.pages.reports.page import reports_page
from console.pages.review.page import review_page
from console.pages.runs.page import runs_page
from console.pages.threshold.page import threshold_page
from console.web.notices import Notices
from console.web.page import ConsolePage


def pages(account: ConsoleAccount, notices: Notices) -> list[ConsolePage]:
    """Every page, in the order of the navigation."""
    return [
        now_page(),
        live_page(account),
        runs_page(account),
        registry_page(account),
        threshold_page(account),
        photos_page(account, notices),
        review_page(account),
        reports_page(account),
    ]
