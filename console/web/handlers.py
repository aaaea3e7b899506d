"""What answers a page's addresses: the page, its news, and its changes.

Runs in the console's process. A change is answered by a redirect, so that loading a page again changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from console.safety.secrets import CSRF_FIELD
from console.web.feed import Feed, Rendered
from console.web.form import FormFields
from console.web.notices import Notice, Notices
from console.web.page import ConsolePage, PageAction
from console.web.panels import PanelReader, words
from console.web.render import Site, render, render_panel
from scones.errors import SconesError

SURE, BACK, NOTICE = "sure", "back", "notice"
_AWS_EVERY_S = 30.0  # CloudWatch asks for money by the call, and its shortest period is a minute


@dataclass(frozen=True)
class Handlers:
    """The routes of one page."""

    page: ConsolePage
    site: Site
    reader: PanelReader
    feed: Feed
    notices: Notices

    def routes(self) -> list[BaseRoute]:
        """The page, its news and its changes."""
        place = f"/{self.page.name}"
        return [
            Route(place, self.show, methods=["GET"]),
            Route(f"{place}/events", self.events, methods=["GET"]),
            Route(f"{place}/do/{{action}}", self.change, methods=["POST"]),
            *self.page.routes,
        ]

    async def show(self, request: Request) -> Response:
        """The page with all that can be read of it."""
        query = FormFields.of(request.query_params.multi_items())
        return HTMLResponse(await run_in_threadpool(self._page, query))

    def _page(self, query: FormFields) -> str:
        notice = self.notices.find(query.text(NOTICE))
        query = query.but(NOTICE)
        try:
            panels = list(self.page.panels(query))
        except SconesError as error:
            panels, notice = list(self.page.panels(FormFields())), Notice(words(error), good=False)
        read = self.reader.read(panels)
        live = any(panel.live for panel in panels)
        encoded = query.encoded()
        return render(
            "frame.html",
            self.site,
            page=self.page,
            panels=[(each.panel, render_panel(self.site, each)) for each in read],
            notice=notice,
            events=f"/{self.page.name}/events{'?' if encoded else ''}{encoded}" if live else "",
            every_s=self._every_s,
        )

    @property
    def _every_s(self) -> float:
        return self.page.every_s if self.site.account.local else _AWS_EVERY_S

    async def events(self, request: Request) -> Response:
        """What changes of the page's live panels, as long as the browser stays."""
        query = FormFields.of(request.query_params.multi_items())
        address = f"{self.page.name}?{query.encoded()}"
        return StreamingResponse(self._news(address, query), media_type="text/event-stream")

    async def _news(self, address: str, query: FormFields) -> AsyncIterator[str]:
        async for news in self.feed.follow(address, lambda: self._rendered(query), self._every_s):
            yield news

    def _rendered(self, query: FormFields) -> Rendered:
        try:
            panels = [panel for panel in self.page.panels(query) if panel.live]
        except SconesError:
            return {}
        return {each.panel.name: str(render_panel(self.site, each)) for each in self.reader.read(panels)}

    async def change(self, request: Request) -> Response:
        """Do what a form asks for; on a stage on AWS only after a second question."""
        action = self.page.actions.get(request.path_params["action"])
        if action is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"this page has no change {request.path_params['action']!r}")
        body = (await request.body()).decode("utf-8", "replace")
        form = FormFields.of(parse_qsl(body, keep_blank_values=True)).but(CSRF_FIELD)
        return await run_in_threadpool(self._change, action, request.url.path, form)

    def _change(self, action: PageAction, path: str, form: FormFields) -> Response:
        try:
            connection = self.site.account.connection()
            number = connection.names.account_id
            if not self.site.account.local and form.text(SURE) != number:
                return self._ask(action, path, form, number)
            notice = Notice(action.do(connection, form.but(SURE, BACK)), good=True)
        except Exception as error:
            self.site.account.lost(error)
            notice = Notice(words(error), good=False)
        return RedirectResponse(self._back(form, notice), HTTPStatus.SEE_OTHER)

    def _ask(self, action: PageAction, path: str, form: FormFields, number: str) -> Response:
        left = form.but(SURE)
        content = render(
            "sure.html", self.site, page=self.page, path=path, form=left.items, number=number, will=action.will(left)
        )
        return HTMLResponse(content)

    def _back(self, form: FormFields, notice: Notice) -> str:
        """To the page that it came from, which is one of this name: an address from a form may name anything."""
        where, _, query = form.text(BACK).partition("?")
        left = FormFields.of(parse_qsl(query)).but(NOTICE) if where == f"/{self.page.name}" else FormFields()
        items = (*left.items, (NOTICE, self.notices.keep(notice)))
        return f"/{self.page.name}?{FormFields(items).encoded()}"
