"""``scones status``: one look at a stage, and whether anybody has to do something."""

from __future__ import annotations

from dataclasses import asdict

from rich.text import Text

from scones import screen
from scones.commands import Json, Stage
from scones.plain_text import plain
from scones.stage.connection import connect_deployed
from scones.standing.look import look


def status(stage: Stage = "local", as_json: Json = False) -> None:
    """Say in one look how the stage stands: what serves, deployments, alarms, reviews, the last report and run."""
    connection = connect_deployed(stage)
    found = look(connection)
    todo = [part.todo for part in found.values() if part.todo]
    if as_json:
        parts = {name.replace(" ", "_"): asdict(part) for name, part in found.items()}
        screen.print_json({"stage": stage, "account": connection.names.account_id, **parts, "todo": todo})
        return
    rows = [(name, part.line, Text(plain(part.todo), style="bold red")) for name, part in found.items()]
    screen.out.print(screen.table(f"stage {stage}", "", "to do", rows=rows))
    screen.out.print("somebody has to act" if todo else "nobody has to act", markup=False)
