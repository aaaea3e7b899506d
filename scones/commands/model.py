"""``scones model``: the versions in the registry, and approving one."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from scones import endpoint, registry, screen
from scones.commands import Json, Stage
from scones.connection import Connection, connect_deployed
from scones.registry import ModelVersion

app = typer.Typer(no_args_is_help=True, help="The model registry.")

VersionArgument = Annotated[int | None, typer.Argument(help="Version number; without it, the newest.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the version.")]


@app.command(name="list")
def list_versions(stage: Stage = "local", as_json: Json = False) -> None:
    """List the versions, the newest first."""
    connection = connect_deployed(stage)
    found = registry.versions(connection)
    if as_json:
        screen.print_json([dataclasses.asdict(v) for v in found])
        return
    live = endpoint.status(connection)
    rows = [
        (
            v.version,
            v.approval,
            f"{v.created:%Y-%m-%d %H:%M}",
            f"{registry.accuracy(registry.evaluation(connection, v)):.3f}" if v.evaluation_uri else "-",
            "live" if live and live.model_package_arn == v.arn else "",
        )
        for v in found
    ]
    screen.out.print(screen.table("version", "approval", "created", "test accuracy", "", rows=rows))


@app.command()
def show(version: VersionArgument = None, stage: Stage = "local", as_json: Json = False) -> None:
    """Show a version with its metadata and its evaluation."""
    connection = connect_deployed(stage)
    found = registry.find(connection, version)
    document = registry.evaluation(connection, found)
    if as_json:
        screen.print_json({**dataclasses.asdict(found), "evaluation": document})
        return
    rows = [
        ("arn", found.arn),
        ("approval", f"{found.approval} {found.description}".strip()),
        ("created", f"{found.created:%Y-%m-%d %H:%M:%S}"),
        ("test accuracy", f"{registry.accuracy(document):.4f}"),
        *sorted(found.metadata.items()),
    ]
    screen.out.print(screen.table("", "", rows=rows))


@app.command()
def approve(
    version: VersionArgument = None,
    stage: Stage = "local",
    reason: Reason = "approved on the command line",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the endpoint serves it.")] = True,
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds to wait for the endpoint.")] = 1200,
) -> None:
    """Approve a version: the approval event puts it behind the endpoint."""
    connection = connect_deployed(stage)
    found = registry.find(connection, version)
    set_approval(connection, found, "Approved", reason)
    if wait:
        live = endpoint.wait_for(connection, found.arn, timeout_s)
        screen.say(f"endpoint {live.name} serves version {found.version}")


@app.command()
def reject(version: VersionArgument = None, stage: Stage = "local", reason: Reason = "") -> None:
    """Reject a version. What serves now goes on serving."""
    connection = connect_deployed(stage)
    set_approval(connection, registry.find(connection, version), "Rejected", reason or "rejected on the command line")


def set_approval(connection: Connection, version: ModelVersion, status: str, reason: str) -> None:
    registry.set_approval(connection, version, status, reason)
    screen.say(f"version {version.version} is {status}")
