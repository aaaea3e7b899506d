"""``scones endpoint``: what serves, and deleting it."""

from __future__ import annotations

import dataclasses

import typer

from scones import endpoint, screen
from scones.commands import Json, Stage
from scones.connection import connect
from scones.errors import SconesError

app = typer.Typer(no_args_is_help=True, help="The endpoint.")


@app.command()
def status(stage: Stage = "local", as_json: Json = False) -> None:
    """Show what the endpoint serves. Exit code 1 when there is none."""
    connection = connect(stage)
    found = endpoint.status(connection)
    if found is None:
        raise SconesError(
            f"endpoint {connection.names.endpoint} does not exist: approve a version with `scones model approve`"
        )
    if as_json:
        screen.print_json(dataclasses.asdict(found))
        return
    rows = [(name.replace("_", " "), value) for name, value in dataclasses.asdict(found).items() if value]
    screen.out.print(screen.table("", "", rows=rows))


@app.command()
def delete(stage: Stage = "local", yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask.")) -> None:
    """Delete the endpoint, its configuration and its model. Approving a version makes it again."""
    connection = connect(stage)
    if not yes:
        typer.confirm(
            f"Delete endpoint {connection.names.endpoint}? Classification stops until the next approval.", abort=True
        )
    for name in endpoint.delete(connection):
        screen.say(f"deleted {name}")
