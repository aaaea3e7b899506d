"""A client that asks an ASGI application in process, as a browser without JavaScript: cookies, redirects, forms."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from starlette.types import ASGIApp, Message


@dataclass(frozen=True)
class Answer:
    """What came back; names of headers are in small letters."""

    status_code: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Client:
    """Keeps cookies; ``follow``: whether it goes where a redirect leads."""

    app: ASGIApp
    host: str
    follow: bool = True
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Answer:
        return self.request("POST", path, **options)

    def request(  # noqa: PLR0917 - the parts of a request
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """``data`` is sent as a form, ``content`` as it is."""
        sent = {"host": self.host, **({"content-type": "application/x-www-form-urlencoded"} if data else {})}
        sent |= {name.lower(): value for name, value in (headers or {}).items()}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        where = f"{path}{'&' if '?' in path else '?'}{urlencode(params)}" if params else path
        answer = asyncio.run(self._ask(method, where, urlencode(data).encode() if data else content, sent))
        for name, morsel in SimpleCookie(answer.headers.get("set-cookie", "")).items():
            self.cookies[name] = morsel.value
        if self.follow and answer.status_code in (302, 303, 307):
            return self.get(answer.headers["location"])
        return answer

    async def _ask(self, method: str, where: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        path, _, query = where.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "server": urlsplit(f"//{self.host}").netloc.partition(":")[::2],
            "client": ("127.0.0.1", 1),
        }
        messages: list[Message] = []
        given = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Message:
            return next(given, {"type": "http.disconnect"})

        async def send(message: Message) -> None:
            messages.append(message)

        await self.app(scope, receive, send)
        start = next(message for message in messages if message["type"] == "http.response.start")
        content = b"".join(m.get("body", b"") for m in messages if m["type"] == "http.response.body")
        return Answer(start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, content)
