"""``scones model``: the versions in the registry, and approving one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from scones import outputs, screen
from scones.commands import Json, Stage
from scones.errors import SconesError
from scones.serving_versions import deployments, endpoint, evaluation_facts, registry
from scones.serving_versions.deployments import DeploymentsState
from scones.serving_versions.registry import ModelVersion
from scones.stage.connection import Connection, connect_deployed, split_uri

app = typer.Typer(no_args_is_help=True, help="The model registry.")

VersionArgument = Annotated[int | None, typer.Argument(help="Version number; without it, the newest.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the version.")]


@app.command(name="list")
def list_versions(stage: Stage = "local", as_json: Json = False) -> None:
    """List the versions, the newest first."""
    connection = connect_deployed(stage)
    found = registry.versions(connection)
    live = endpoint.status(connection)
    facts = [(v, _accuracy(connection, v), bool(live and live.model_package_arn == v.arn)) for v in found]
    if as_json:
        screen.print_json(
            [{**dataclasses.asdict(v), "accuracy": accuracy, "live": serves} for v, accuracy, serves in facts]
        )
        return
    rows = [
        (
            v.version,
            v.approval,
            f"{v.created:%Y-%m-%d %H:%M}",
            "-" if accuracy is None else f"{accuracy:.3f}",
            "live" if serves else "",
        )
        for v, accuracy, serves in facts
    ]
    screen.out.print(screen.table("version", "approval", "created", "test accuracy", "", rows=rows))


def _accuracy(connection: Connection, version: ModelVersion) -> float | None:
    """On its test images; None for a version that was registered without an evaluation."""
    return registry.evaluation(connection, version).accuracy if version.evaluation_uri else None


@app.command()
def show(
    version: VersionArgument = None,
    stage: Stage = "local",
    as_json: Json = False,
    page: Annotated[Path | None, typer.Option(help="Save the evaluation's page, with its plots, to this file.")] = None,
) -> None:
    """Show a version with its metadata and its evaluation."""
    if page:
        outputs.check_file(page)
    connection = connect_deployed(stage)
    found = registry.find(connection, version)
    written = registry.evaluation_text(connection, found)
    page_uri = registry.evaluation_page(connection, found)
    if page:
        save_page(connection, found, page_uri, page)
    if as_json:
        screen.print_json({**dataclasses.asdict(found), "evaluation": json.loads(written), "evaluation_page": page_uri})
        return
    rows = [
        ("arn", found.arn),
        ("approval", f"{found.approval} {found.description}".strip()),
        ("created", f"{found.created:%Y-%m-%d %H:%M:%S}"),
        ("classes", ", ".join(found.classes)),
        *evaluation_facts.rows(registry.evaluation(connection, found)),
        ("evaluation page", page_uri or "none"),
        *sorted(found.metadata.items()),
    ]
    screen.out.print(screen.table("", "", rows=rows))


def save_page(connection: Connection, version: ModelVersion, uri: str | None, target: Path) -> None:
    """Download the evaluation's page; SconesError when the version has none."""
    if uri is None:
        raise SconesError(f"version {version.version} has no evaluation page: it was evaluated before there was one")
    bucket, key = split_uri(uri)
    target.parent.mkdir(parents=True, exist_ok=True)
    connection.client("s3").download_file(bucket, key, str(target))
    screen.say(f"wrote {target}")


Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the endpoint has followed.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait for the endpoint.")]


@app.command()
def approve(
    version: VersionArgument = None,
    *,
    stage: Stage = "local",
    reason: Reason = "approved on the command line",
    shadow: Annotated[bool, typer.Option(help="Copies of the traffic first: see `scones endpoint shadow`.")] = False,
    wait: Wait = True,
    timeout_s: Timeout = 1800,
    as_json: Json = False,
) -> None:
    """Approve a version: the approval event puts it behind the endpoint, and known images test it there."""
    connection = connect_deployed(stage)
    found = registry.find(connection, version)
    if shadow and connection.settings.endpoint.variant == "serverless":
        raise SconesError("SageMaker copies no traffic to or from serverless variants: approve without --shadow")
    if shadow:
        endpoint.live(connection)  # there has to be traffic to copy
    at = set_approval(connection, found, "Approved", reason, shadow=shadow)
    outcome = "approved"
    if wait:
        live = endpoint.wait_for(connection, found.arn, timeout_s, at, screen.say)
        serves = live.model_package_arn == found.arn
        outcome = "deployed" if serves else "shadowing"
        screen.say(f"endpoint {live.name} {'serves' if serves else 'copies its traffic to'} version {found.version}")
    if as_json:
        screen.print_json({"version": found.version, "model_package_arn": found.arn, "outcome": outcome})


@app.command()
def reject(
    version: VersionArgument = None,
    *,
    stage: Stage = "local",
    reason: Reason = "rejected on the command line",
    wait: Wait = True,
    timeout_s: Timeout = 1800,
    as_json: Json = False,
) -> None:
    """Reject a version. When it serves, the newest version that is still approved takes its place."""
    connection = connect_deployed(stage)
    found = registry.find(connection, version)
    at = set_approval(connection, found, "Rejected", reason)
    outcome = "rejected"
    if wait and endpoint.status(connection):
        outcome = after_rejection(connection, found.version, at, timeout_s)
    if as_json:
        screen.print_json({"version": found.version, "model_package_arn": found.arn, "outcome": outcome})


def after_rejection(connection: Connection, version: int, at: str, timeout_s: float) -> str:
    """Wait until the endpoint serves something else, or is known to have nothing else."""

    def done(found: DeploymentsState) -> str | None:
        if not found.quiet or found.decisions.get(version, {}).get("at", at) < at:
            return None
        live = found.live
        if live is None:
            return "version 0 serves"
        if live["unwanted"]:
            return f"version {live['version']} serves on, because no other version is approved"
        serves = version in (int(live["version"]), int(live["shadow_version"]))
        return None if serves else f"version {live['version']} serves"

    outcome = deployments.follow(connection, done, f"the end of version {version}", timeout_s, screen.say)
    screen.say(outcome)
    return outcome


def set_approval(
    connection: Connection,
    version: ModelVersion,
    status: Literal["Approved", "Rejected"],
    reason: str,
    *,
    shadow: bool = False,
) -> str:
    """Approve or reject a version and say so; returns when, as the deployments tell it."""
    at = registry.set_approval(connection, version, status, reason, shadow=shadow)
    screen.say(f"version {version.version} is {status}")
    return at
