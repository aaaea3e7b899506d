"""``scones console``: the stage's pages in the browser."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from scones import screen
from scones.commands import Stage
from scones.stage.settings import Settings


def console(
    stage: Stage = "local",
    open_: Annotated[bool, typer.Option("--open", help="Open it in this machine's browser.")] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="Show everything, change nothing.")] = False,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port on 127.0.0.1; without it 8765, or any when that is taken."),
    ] = None,
) -> None:
    """Open the stage's pages in the browser, on this machine alone: watch, approve, tune, try, label. Ctrl-C ends."""
    settings = Settings.load(stage)
    from console.server import serve

    with contextlib.suppress(KeyboardInterrupt):
        serve(settings, port, screen.say, read_only=read_only, opened=open_)
