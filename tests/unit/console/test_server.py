"""The console's server against clients that misbehave on the wire."""

from __future__ import annotations

import asyncio

import uvicorn
from starlette.applications import Starlette

from console.impatience import ImpatientProtocol
from console.server import configuration, listen


class Hurried(ImpatientProtocol):
    patience_s = 0.05


def test_a_connection_that_never_asks_is_given_up_and_others_are_answered() -> None:
    async def attacked() -> tuple[list[bytes], bytes]:
        config = configuration(Starlette())
        config.http = Hurried
        config.load()
        server, listener = uvicorn.Server(config), listen(0)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        address = listener.getsockname()
        held = [await asyncio.open_connection(*address) for _ in range(20)]
        for _, writer in held:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        ended = [await each.read() for each, _ in held]
        for _, each in [*held, (reader, writer)]:
            each.close()
        server.should_exit = True
        await serving
        return ended, answer

    ended, answer = asyncio.run(attacked())
    assert ended == [b""] * 20
    assert answer.startswith(b"HTTP/1.1 404")
