"""The console as one application: its pages, its style sheet and scripts, behind its gate.

Runs in the console's process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from console.account import ConsoleAccount
from console.pages import pages
from console.safety.gate import Gate
from console.safety.secrets import ConsoleSecrets
from console.web.feed import Feed
from console.web.handlers import Handlers
from console.web.notices import Notices
from console.web.panels import PanelReader, words
from console.web.render import STATIC, Site, render
from reporting.page import TEMPLATES


def application(account: ConsoleAccount, secrets: ConsoleSecrets, port: int) -> ASGIApp:
    """Everything that answers on the console's port."""
    reader, feed, notices = PanelReader(account), Feed(), Notices()
    known = pages(account, notices)
    site = Site(account, known, secrets.csrf)

    async def style(_request: Request) -> Response:
        return Response((TEMPLATES / "style.css").read_bytes(), media_type="text/css")

    async def failed(_request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
        text = str(error.detail) if isinstance(error, HTTPException) else words(error)
        return HTMLResponse(render("failed.html", site, text=text), status)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        reader.close()

    routes: list[BaseRoute] = [
        Route("/", lambda _request: RedirectResponse("/now", HTTPStatus.SEE_OTHER)),
        Route("/static/style.css", style),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    for page in known:
        routes += Handlers(page, site, reader, feed, notices).routes()
    handlers = {HTTPException: failed, Exception: failed}
    inner = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    return Gate(inner, secrets, port, account.read_only)
