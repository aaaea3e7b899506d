"""Documents and pictures of others: pages in a sandbox where they can do nothing, pictures only where they are some.

Runs in the console's process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from console.account import ConsoleAccount
from console.safety.headers import DOCUMENT_POLICY
from console.web.panels import words
from scones.stage.connection import Connection

_PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
)


def document(content: bytes) -> Response:
    """A page that somebody's job wrote."""
    headers = {"content-security-policy": DOCUMENT_POLICY}
    return Response(content, media_type="text/html; charset=utf-8", headers=headers)


def picture(content: bytes) -> Response:
    """An image; 415 for bytes that begin like none."""
    kind = next((kind for begin, kind in _PICTURES if content.startswith(begin)), "")
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        kind = "image/webp"
    if not kind:
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "these bytes are no picture that browsers show")
    headers = {"content-security-policy": "default-src 'none'; sandbox", "cache-control": "private, max-age=300"}
    return Response(content, media_type=kind, headers=headers)


def served(
    account: ConsoleAccount, read: Callable[[Connection, Request], bytes], answer: Callable[[bytes], Response]
) -> Callable[[Request], Awaitable[Response]]:
    """Make a route of a function that reads bytes; what it cannot read is 404, with the reason."""

    def work(request: Request) -> Response:
        try:
            return answer(read(account.connection(), request))
        except HTTPException:
            raise
        except Exception as error:
            account.lost(error)
            raise HTTPException(HTTPStatus.NOT_FOUND, words(error)) from error

    async def route(request: Request) -> Response:
        return await run_in_threadpool(work, request)

    return route
