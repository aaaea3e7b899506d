"""``scones monitor schedule``: how often a report is written."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from scones import screen
from scones.commands import Json, Stage
from scones.errors import SconesError
from scones.stage.connection import connect_deployed
from scones.stage.monitoring_settings import OFF, check_every
from scones.traffic import schedule


def set_schedule(
    stage: Stage = "local",
    every: Annotated[str | None, typer.Option(help="Write a report so often: 1h to 24h.")] = None,
    off: Annotated[bool, typer.Option("--off", help="Write none until further notice.")] = False,
    as_json: Json = False,
) -> None:
    """Show how often a report is written, or change it; a later deployment leaves that as it is."""
    if every is not None and off:
        raise SconesError("expected --every or --off, got both")
    wanted = OFF if off else every
    if wanted is not None:
        check_every(wanted, "--every")
    connection = connect_deployed(stage)
    found = schedule.current(connection) if wanted is None else schedule.change(connection, wanted)
    if as_json:
        screen.print_json(asdict(found))
    else:
        screen.out.print(str(found), markup=False)
