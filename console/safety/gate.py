"""The gate: who may ask the console at all, and which requests may change something.

Runs in the console's process, before every route. A request has to name this console as its host (a name that somebody
points to 127.0.0.1 does not), come from no other site, carry the cookie that the secret was exchanged for and, if it
changes something, the token of the console's own forms.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.safety.headers import PAGE_HEADERS
from console.safety.multipart import MULTIPART, parts_of
from console.safety.secrets import CSRF_FIELD, CSRF_HEADER, KEY_PARAMETER, ConsoleSecrets, same

MOST_FORM_BYTES = 1 << 20
MOST_UPLOAD_BYTES = 64 << 20
"""Of a form with photographs in it, which is held in memory."""
_FORM = "application/x-www-form-urlencoded"
_OPEN_AGAIN = "open the console by the address that `scones console` printed: it holds the key"


class GateRefusedError(Exception):
    """Why a request is not answered; plain text, so that nothing of it can run."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class Gate:
    """An ASGI application around another one."""

    app: ASGIApp
    secrets: ConsoleSecrets
    port: int
    read_only: bool

    @property
    def cookie(self) -> str:
        """Its name: browsers tell no ports apart, so that two consoles need two names."""
        return f"scones-console-{self.port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        guarded = _with_headers(send)
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            answer, handed_on = await self._judge(Request(scope, receive))
        except GateRefusedError as refusal:
            text = f"{refusal.status.phrase}: {refusal.reason}\n"
            await PlainTextResponse(text, refusal.status)(scope, receive, guarded)
            return
        if answer is not None:
            await answer(scope, receive, guarded)
        else:
            await self.app(scope, handed_on, guarded)

    async def _judge(self, request: Request) -> tuple[Response | None, Receive]:
        self._check_origin(request)
        if request.method not in ("GET", "HEAD", "POST"):
            raise GateRefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "this console knows GET, HEAD and POST")
        if KEY_PARAMETER in request.query_params and request.method == "GET":
            return self._exchange(request), request.receive
        if not same(request.cookies.get(self.cookie, ""), self.secrets.session):
            raise GateRefusedError(HTTPStatus.UNAUTHORIZED, _OPEN_AGAIN)
        if request.method == "POST":
            return None, await self._check_change(request)
        return None, request.receive

    def _check_origin(self, request: Request) -> None:
        hosts = {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}
        named = request.headers.getlist("host")
        if len(named) != 1 or named[0] not in hosts:
            raise GateRefusedError(HTTPStatus.MISDIRECTED_REQUEST, f"this console is http://127.0.0.1:{self.port}")
        origin = request.headers.get("origin")
        if origin is not None and origin != f"http://{named[0]}":
            raise GateRefusedError(HTTPStatus.FORBIDDEN, "the request comes from another site")
        site = request.headers.get("sec-fetch-site", "none")
        if site not in ("same-origin", "none") and not _opened_by_link(request):
            raise GateRefusedError(HTTPStatus.FORBIDDEN, "the request comes from another site")

    def _exchange(self, request: Request) -> Response:
        """The key for a cookie, and an address that can be shown to others."""
        if not same(request.query_params[KEY_PARAMETER], self.secrets.key):
            raise GateRefusedError(HTTPStatus.FORBIDDEN, f"this is not the key of this console: {_OPEN_AGAIN}")
        left = [(name, value) for name, value in request.query_params.multi_items() if name != KEY_PARAMETER]
        path = "/" + request.url.path.lstrip("/")  # `//host` would be another place
        answer = RedirectResponse(f"{path}?{urlencode(left)}" if left else path, HTTPStatus.SEE_OTHER)
        # Lax: with Strict, a browser that was sent here by a file or a mail would not bring it along.
        answer.set_cookie(self.cookie, self.secrets.session, httponly=True, samesite="lax", path="/")
        return answer

    async def _check_change(self, request: Request) -> Receive:
        if self.read_only:
            raise GateRefusedError(
                HTTPStatus.FORBIDDEN, "this console was started with --read-only: it changes nothing"
            )
        if same(request.headers.get(CSRF_HEADER, ""), self.secrets.csrf):
            return request.receive
        kind = request.headers.get("content-type", "")
        named = kind.partition(";")[0].strip().lower()
        if named not in (_FORM, MULTIPART):
            raise GateRefusedError(HTTPStatus.FORBIDDEN, "a change needs the token of this console's pages")
        body = await _whole_body(request, MOST_FORM_BYTES if named == _FORM else MOST_UPLOAD_BYTES)
        if not same(_token(kind, body) if named == MULTIPART else _plain_token(body), self.secrets.csrf):
            raise GateRefusedError(
                HTTPStatus.FORBIDDEN, "a change needs the token of this console's pages: load the page again"
            )
        return _repeated(body)


def _plain_token(body: bytes) -> str:
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)).get(CSRF_FIELD, "")


def _token(kind: str, body: bytes) -> str:
    found = (part.content for part in parts_of(kind, body) if part.name == CSRF_FIELD and not part.filename)
    return next(found, b"").decode("utf-8", "replace")


def _opened_by_link(request: Request) -> bool:
    """Somebody followed a link to a page: it changes nothing, and the other site does not see it."""
    headers = request.headers
    opened = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return request.method in ("GET", "HEAD") and opened


async def _whole_body(request: Request, most: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise GateRefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a form may hold {most:,} bytes")
    return bytes(body)


def _repeated(body: bytes) -> Receive:
    """The body once more, for the route."""
    told = False

    async def receive() -> Message:
        nonlocal told
        if told:
            return {"type": "http.disconnect"}
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in PAGE_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return guarded
