"""``scones account``: the stand-in account as a background server."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Annotated

import typer

from local_account.base.chaos import KINDS
from local_account.base.clock import parse as parse_clock
from local_account.base.errors import AccountError
from local_account.server import control
from scones import screen
from scones.commands import Json, Stage
from scones.durations import duration
from scones.errors import SconesError
from scones.stage.settings import Settings
from scones.stand_in import TIME_SCALE, begin, port, state_dir

app = typer.Typer(no_args_is_help=True, help="The stand-in AWS account on this machine.")


@app.command()
def start(
    stage: Stage = "local",
    time_scale: Annotated[
        float, typer.Option(min=1, help="How many times as fast as stated the waits of endpoint deployments pass.")
    ] = TIME_SCALE,
    chaos: Annotated[
        str, typer.Option(help="Faults that AWS allows itself: duplicates (events twice, and out of order).")
    ] = "",
    clock: Annotated[
        str,
        typer.Option(help="Let its time start elsewhere, pass faster and be moved: now, x60, 2026-11-01T00:00Z@x60."),
    ] = "",
    *,
    durable: Annotated[
        bool, typer.Option("--durable", help="Have every change on disk before it is answered; slower.")
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Code that stands for container images: a folder with NAME/image.toml for each."
        ),
    ] = None,
) -> None:
    """Start the account in the background; its state is kept in .scones/account (or below SCONES_HOME)."""
    if chaos and chaos not in KINDS:
        raise SconesError(f"--chaos knows {', '.join(KINDS)}, not {chaos!r}")
    if clock:
        try:
            parse_clock(clock)
        except ValueError as error:
            raise SconesError(f"--clock: {error}") from error
    begin(Settings.load(stage), time_scale, chaos, clock, durable=durable, image_folder=images)
    status(stage)


@app.command()
def clock(
    stage: Stage = "local",
    advance: Annotated[str, typer.Option(help="Move it forward: 30m, 1h, 2d.")] = "",
    as_json: Json = False,
) -> None:
    """Show the account's time, or move it; what falls due meanwhile is done once. AWS has no such thing."""
    port(Settings.load(stage))
    try:
        found = control.advance_clock(state_dir(), duration(advance).total_seconds()) if advance else _running()
    except AccountError as error:
        raise SconesError(str(error)) from error
    if as_json:
        screen.print_json(found.clock)
    else:
        speed = f", {found.clock['speed']:g} times as fast as this machine's" if found.clock["movable"] else ""
        screen.out.print(f"{found.clock['now']}{speed}", markup=False)


def _running() -> control.Status:
    found = control.status(state_dir())
    if found is None:
        raise SconesError("no stand-in account runs: start it with `scones account start`")
    return found


@app.command()
def stop() -> None:
    """Stop the account and every process it started; its state stays."""
    try:
        stopped = control.stop(state_dir())
    except AccountError as error:
        raise SconesError(str(error)) from error
    screen.say("stopped" if stopped else "the stand-in account was not running")


@app.command()
def status(stage: Stage = "local", as_json: Json = False) -> None:
    """Say whether the account runs, and where. Exit code 3 when it does not."""
    found = control.status(state_dir())
    if as_json:
        screen.print_json(dataclasses.asdict(found) if found else {"running": False})
    elif found:
        screen.out.print(
            f"running on {Settings.load(stage).endpoint_url} (pid {found.pid}), state and log in {state_dir()}"
        )
        if found.trouble:
            screen.out.print(f"NOTHING IS SAVED, and changes are refused: {found.trouble}", markup=False)
        if found.durable:
            screen.out.print("durable: every change is on disk before it is answered")
        else:
            screen.out.print(f"a crash costs at most the last {found.loss_s:g} s of changes (--durable: none)")
        if found.chaos:
            screen.out.print(f"chaos: {KINDS[found.chaos]}")
    else:
        screen.out.print("not running: start it with `scones account start`")
    if not found:
        raise typer.Exit(3)


@app.command()
def env(stage: Stage = "local") -> None:
    """Print what a shell needs for aws CLI and boto3, also what it must lose: eval "$(scones account env)"."""
    exported = control.environment(state_dir(), port(Settings.load(stage)))
    typer.echo(f"unset {' '.join(control.left_out(exported))}")
    for name, value in exported.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command()
def reset(yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask.")) -> None:
    """Stop the account and delete everything in it."""
    if not yes:
        typer.confirm(f"Delete everything in the stand-in account ({state_dir()})?", abort=True)
    control.reset(state_dir())
    screen.say("the stand-in account is empty")
