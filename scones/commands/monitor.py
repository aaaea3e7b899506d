"""``scones monitor``: reports on captured traffic, and what it is held against."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from reporting.documents.report import Report
from scones import outputs, screen
from scones.commands import Json, Stage, traffic
from scones.errors import SconesError
from scones.serving_versions import live_version
from scones.stage.connection import connect_deployed
from scones.stage.monitoring_settings import OFF, check_every
from scones.traffic import captures, listed_reports, schedule
from scones.traffic import collect as shares
from scones.traffic import query as table
from scones.traffic import transform as transforms

app = typer.Typer(no_args_is_help=True, help="Reports on captured traffic.")
app.command()(traffic.simulate)
app.command()(traffic.backfill)


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
    captures.check(since, until)
    outputs.check_folder(out)
    connection = connect_deployed(stage)
    chosen = captures.window(since, until, connection.now())
    with screen.pipeline_view("monitoring pipeline") as show:
        document = captures.write_report(connection, chosen, out, show)
    _say_report(document, out, as_json)


@app.command()
def transform(
    job: Annotated[str, typer.Argument(help="A batch transform job that was started with a DataCaptureConfig.")],
    stage: Stage = "local",
    out: Annotated[Path, typer.Option(help="Folder for report.html, report.json and the plots.")] = Path(
        "reports/transform"
    ),
    as_json: Json = False,
) -> None:
    """Take over what a batch transform job captured, and write a report about it."""
    outputs.check_folder(out)
    connection = connect_deployed(stage)
    taken = transforms.take(connection, job)
    with screen.pipeline_view("monitoring pipeline") as show:
        document = captures.write_report(connection, taken.chosen, out, show, taken.parameters)
    _say_report(document, out, as_json)


def _say_report(document: Report, out: Path, as_json: bool) -> None:
    if as_json:
        screen.print_json(msgspec.to_builtins(document))
    else:
        screen.out.print(document.verdict, markup=False)
        screen.out.print(f"report: {out / 'report.html'}", markup=False)


@app.command(name="list")
def list_reports(
    stage: Stage = "local",
    only_open: Annotated[bool, typer.Option("--open", help="Only those with an alarm.")] = False,
    as_json: Json = False,
) -> None:
    """List the reports, the newest first: their alarms, and the accuracy that was expected and measured."""
    found = listed_reports.reports(connect_deployed(stage), only_open=only_open)
    if as_json:
        screen.print_json([msgspec.to_builtins(each) for each in found])
        return
    rows = [
        [
            each.end,
            "" if each.records is None else f"{each.records:,}",
            ", ".join(each.alarms) or "-",
            *("-" if share is None else f"{share:.1%}" for share in (each.estimated, each.measured)),
            each.name,
        ]
        for each in found
    ]
    screen.out.print(screen.table("until", "predictions", "alarms", "expected", "measured", "report", rows=rows))


@app.command()
def collect(
    stage: Stage = "local",
    since: Annotated[str, typer.Option(help="Start: 24h, 30d ago, or ISO 8601.")] = "7d",
    until: Annotated[str | None, typer.Option(help="End, exclusive; without it, now.")] = None,
    instances: Annotated[int, typer.Option(help="How many share the hours.")] = 2,
    as_json: Json = False,
) -> None:
    """Read many captures on several instances, so that reports and queries find them read."""
    captures.check(since, until)
    connection = connect_deployed(stage)
    chosen = captures.window(since, until, connection.now())
    with screen.pipeline_view("collecting pipeline") as show:
        found = shares.collect(connection, chosen, instances, show)
    if as_json:
        screen.print_json(asdict(found))
    else:
        screen.out.print(f"{found.folders:,} hours of captures were read on {found.instances} instances", markup=False)


@app.command()
def query(
    sql: Annotated[
        str, typer.Argument(help="About the table `predictions`; docs/monitoring.md has six to begin with.")
    ],
    stage: Stage = "local",
    since: Annotated[str, typer.Option(help="Here, of days from: 30d, 24h ago, or ISO 8601.")] = "30d",
    as_json: Json = False,
) -> None:
    """Ask the captured traffic in SQL: Athena on AWS, DuckDB on this machine."""
    captures.check(since)
    connection = connect_deployed(stage)
    answer = table.ask(connection, sql, captures.window(since, None, connection.now()).start)
    for name in answer.left_out:
        screen.err.print(f"left out: {name} is no whole Parquet file; the next report writes it anew", markup=False)
    if answer.cut:
        screen.err.print(f"only the first {table.MOST_ROWS:,} rows: add a LIMIT or group them", markup=False)
    if as_json:
        screen.print_json([dict(zip(answer.columns, row, strict=True)) for row in answer.rows])
    else:
        rows = [["" if value is None else value for value in row] for row in answer.rows]
        screen.out.print(screen.table(*answer.columns, rows=rows))


@app.command()
def baseline(
    stage: Stage = "local",
    from_traffic: Annotated[
        str | None, typer.Option(help="Make it anew from traffic known to be healthy, since 7d, 24h ago, or ISO 8601.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what the live version's traffic is held against, or make it anew from traffic."""
    connection = connect_deployed(stage)
    if from_traffic is not None:
        version = live_version.live(connection)
        if version is None:
            raise SconesError("no version serves: approve one with `scones model approve`")
        more = {"NewBaselineUri": connection.names.traffic_baseline_uri(version.version)}
        with screen.pipeline_view("monitoring pipeline") as show, tempfile.TemporaryDirectory() as folder:
            healthy = captures.window(from_traffic, None, connection.now())
            captures.write_report(connection, healthy, Path(folder), show, more)
    found = live_version.baseline(connection)
    document = found.document
    if as_json:
        figures = {name: value for name, value in msgspec.to_builtins(document).items() if name != "records"}
        screen.print_json({"uri": found.uri, **figures})
        return
    shares = ", ".join(f"{name} {share:.0%}" for name, share in document.class_shares.items())
    screen.out.print(
        f"{document.count:,} predictions of the {document.origin}: mean confidence "
        f"{document.mean_confidence:.3f}, {document.share_below_threshold:.1%} below the threshold "
        f"{document.threshold:g}; {shares}",
        markup=False,
    )
    screen.out.print(f"baseline: {found.uri}", markup=False)


@app.command(name="schedule")
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
