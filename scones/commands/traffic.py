"""``scones monitor simulate`` and ``backfill``: traffic to monitor, and reports about the past."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from local_account.server import control
from scones import screen
from scones.commands import Json, Stage
from scones.durations import duration
from scones.errors import SconesError
from scones.stage.connection import Connection, connect_deployed
from scones.stand_in import state_dir
from scones.traffic import backfill as backfills
from scones.traffic import captures
from scones.traffic import simulate as simulation
from scones.traffic.pace import MovedTime, Pace, RealTime, await_reports

INTERRUPTED = 130  # as the shell has it: 128 + SIGINT


class Through(StrEnum):
    """What simulated images go through: the endpoint itself, or the workflow in front of it."""

    endpoint = "endpoint"
    workflow = "workflow"


def simulate(  # noqa: PLR0917 - typer reads options from the signature
    stage: Stage = "local",
    length: Annotated[str, typer.Option("--for", help="How long: 30m, 24h, 7d.")] = "24h",
    per_hour: Annotated[float, typer.Option(min=0.1, max=1e6, help="Images an hour, on average.")] = 100,
    daily: Annotated[
        bool, typer.Option("--daily", help="With a rhythm: most at 15:00 UTC, a quarter of that at 3:00.")
    ] = False,
    corrupt: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=SHARE]", help="Make images worse: darkened, blurred, noisy, rotated; may repeat."),
    ] = None,
    mix: Annotated[
        str,
        typer.Option(metavar="CLASS=SHARE,...", help="Shares of the classes; else those of the test images."),
    ] = "",
    unknown: Annotated[float, typer.Option(min=0, max=1, help="Share of images of what the model never saw.")] = 0.0,
    unknown_images: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of those; without it, lorries are drawn.")
    ] = None,
    through: Annotated[Through, typer.Option(help="Where they are sent.")] = Through.endpoint,
    seed: Annotated[int, typer.Option(help="Choose the same images again.")] = 0,
    as_json: Json = False,
) -> None:
    """Send test images to the endpoint, hour after hour, and degrade them where that is asked.

    In real time; but where the stand-in account was started with --clock, an hour passes as fast as its images are
    answered, and time stands still while a monitoring report is written.
    """
    plan = simulation.TrafficPlan(
        duration(length),
        per_hour,
        daily,
        _shares(mix.split(",") if mix else [], "--mix"),
        _shares(corrupt or [], "--corrupt", otherwise=1.0),
        unknown,
        unknown_images,
        seed,
        through is Through.workflow,
    )
    connection = connect_deployed(stage)
    traffic, pace = simulation.load(connection, plan), _pace(connection)
    how = "in real time" if isinstance(pace, RealTime) else "in the account's time, which is moved"
    screen.say(f"{plan.per_hour:g} images an hour for {length}, {how}; Ctrl-C ends it")
    sent = None
    interrupted = False
    try:
        with screen.err.status("sending") as status, closing(simulation.send(connection, plan, traffic, pace)) as steps:
            for sent in steps:
                status.update(f"{sent.until:%Y-%m-%d %H:%M} UTC: {sent.answered:,} answered, {sent.failed:,} failed")
    except KeyboardInterrupt:
        interrupted = True
    if sent is not None:
        _print(sent, as_json=as_json)
    if interrupted:
        raise typer.Exit(INTERRUPTED)


def _print(sent: simulation.Sent, *, as_json: bool) -> None:
    if as_json:
        screen.print_json(sent.as_json())
        return
    of = ", ".join(f"{name} {number:,}" for name, number in sorted(sent.true_labels.items()))
    worse = ", ".join(f"{number:,} {name}" for name, number in sorted(sent.corrupted.items()))
    failed = f"; {sent.failed:,} failed, the first: {sent.first_failure}" if sent.failed else ""
    screen.out.print(
        f"{sent.answered:,} images answered from {sent.begun:%Y-%m-%d %H:%M} to {sent.until:%Y-%m-%d %H:%M} UTC "
        f"({of or 'none'}{'; ' if worse else ''}{worse}){failed}",
        markup=False,
    )


def backfill(
    stage: Stage = "local",
    since: Annotated[str, typer.Option(help="Start: 24h, 7d ago, or ISO 8601.")] = "7d",
    until: Annotated[str | None, typer.Option(help="End, exclusive; without it, now.")] = None,
    every: Annotated[str, typer.Option(help="What each report is about: 1h, 6h, 1d.")] = "1h",
    as_json: Json = False,
) -> None:
    """Write the reports about past windows that have none, the oldest first. Ctrl-C leaves those that are written."""
    step = duration(every)
    captures.check(since, until)
    connection = connect_deployed(stage)
    wanted = backfills.windows(captures.window(since, until, connection.now()), step)
    todo = backfills.missing(connection, wanted)
    screen.say(f"{len(wanted)} windows of {every}, {len(wanted) - len(todo)} have a report")
    written: list[backfills.BackfilledReport] = []
    interrupted = False
    try:
        with screen.pipeline_view("monitoring pipeline") as show:
            for each in backfills.fill(connection, todo, show):
                written.append(each)
                screen.say(f"{len(written)} of {len(todo)}: {each.window.start:%Y-%m-%d %H:%M} UTC: {each.verdict}")
    except KeyboardInterrupt:
        interrupted = True
    if as_json:
        document = {"windows": len(wanted), "written": [each.as_json() for each in written]}
        screen.print_json(document)
    else:
        screen.out.print(f"{len(written)} reports written, {len(todo) - len(written)} are missing", markup=False)
    if interrupted:
        raise typer.Exit(INTERRUPTED)


def _shares(given: list[str], option: str, otherwise: float | None = None) -> Mapping[str, float]:
    shares: dict[str, float] = {}
    for text in given:
        name, equals, number = text.strip().partition("=")
        try:
            if not name or name in shares or (not equals and otherwise is None):
                raise ValueError
            shares[name] = float(number) if equals else float(otherwise or 0)
        except ValueError as error:
            form = "NAME=SHARE" if otherwise is None else "NAME or NAME=SHARE"
            raise SconesError(f"{option} takes {form}, each name once, got {text!r}") from error
    return shares


def _pace(connection: Connection) -> Pace:
    running = control.status(state_dir()) if connection.settings.endpoint_url else None
    if running is None or running.endpoint_url != connection.settings.endpoint_url or not running.clock["movable"]:
        return RealTime()

    def move(seconds: float) -> datetime:
        told = control.advance_clock_at(running.state_dir, running.port, seconds)["clock"]["now"]
        return datetime.fromisoformat(told).astimezone(UTC)

    return MovedTime(move, lambda now: await_reports(connection, now))
