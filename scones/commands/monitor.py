"""``scones monitor``: reports on captured traffic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scones import captures, outputs, screen, threshold
from scones.commands import Json, Stage
from scones.connection import connect_deployed

app = typer.Typer(no_args_is_help=True, help="Reports on captured traffic.")


@app.callback()
def monitor() -> None:
    """Reports on captured traffic."""


@app.command()
def report(
    stage: Stage = "local",
    since: Annotated[str, typer.Option(help="Start: 30m, 24h, 7d ago, or ISO 8601.")] = "24h",
    until: Annotated[str | None, typer.Option(help="End, exclusive; without it, now.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for report.html, report.json and the plots.")] = Path(
        "reports/latest"
    ),
    as_json: Json = False,
) -> None:
    """Write report.html, report.json and plots about a time range of captured traffic."""
    chosen = captures.window(since, until)
    outputs.check_folder(out)
    connection = connect_deployed(stage)
    with screen.pipeline_view("monitoring pipeline") as show:
        document = captures.write_report(connection, chosen, out, show)
    if own := threshold.current(connection).classes:
        named = ", ".join(f"{name} {value:g}" for name, value in sorted(own.items()))
        screen.say(f"the report draws one line for all classes; these have a threshold of their own: {named}")
    if as_json:
        screen.print_json(document)
    else:
        screen.out.print(document["verdict"], markup=False)
        screen.out.print(f"report: {out / 'report.html'}", markup=False)
