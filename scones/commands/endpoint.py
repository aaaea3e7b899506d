"""``scones endpoint``: what serves, what was deployed, going back, copied traffic, and deleting it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from scones import outputs, screen
from scones.commands import Json, Stage
from scones.errors import SconesError
from scones.plain_text import brief, unsigned
from scones.serving_versions import deployments, endpoint, registry, shadow_report
from scones.serving_versions.deployment_items import LiveItem
from scones.stage.connection import Connection, connect, connect_deployed

app = typer.Typer(no_args_is_help=True, help="The endpoint.")

Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the history.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait.")]


@app.command()
def status(stage: Stage = "local", as_json: Json = False) -> None:
    """Show what the endpoint serves, what is under way, and when it would be deleted. Exit code 1 without one."""
    connection = connect(stage)
    found = endpoint.status(connection)
    if found is None:
        raise SconesError(
            f"endpoint {connection.names.endpoint} does not exist: approve a version with `scones model approve`, or"
            " bring back the last one with `scones endpoint deploy`"
        )
    known = deployments.state(connection)
    idle = endpoint.idle_deletion(connection)
    document = {
        **dataclasses.asdict(found),
        "version": int(found.model_package_arn.rpartition("/")[2] or 0),
        "shadow_version": int(known.live["shadow_version"]) if known.live else 0,
        "remark": deployments.remark(known),
        "under_way": deployments.plain(known.current) if known.current else None,
        "deleted_when_idle": idle,
    }
    if as_json:
        screen.print_json(document)
        return
    rows = [(name.replace("_", " "), _short(value)) for name, value in document.items() if value]
    screen.out.print(screen.table("", "", rows=rows))


def _short(value: object) -> str:
    return (
        f"version {value['version']} ({value['action']}), {value['phase']}" if isinstance(value, dict) else str(value)
    )


@app.command()
def history(stage: Stage = "local", as_json: Json = False) -> None:
    """Show every deployment: what, on whose word, why, and what became of it; the newest first."""
    found = [deployments.plain(item) for item in deployments.history(connect(stage))]
    if as_json:
        screen.print_json(found)
        return
    columns = ("started", "version", "action", "outcome", "by", "reason", "detail")
    rows = [
        (
            str(r["started"])[:19].replace("T", " "),
            r["version"] or "-",
            *(r[name] for name in columns[2:4]),
            _person(str(r["by"])),
            unsigned(str(r["reason"])),
            brief(str(r.get("detail") or r.get("smoke_after", ""))),
        )
        for r in found
    ]
    screen.out.print(screen.table(*columns, rows=rows))


def _person(by: str) -> str:
    """Who gave the word: the login name, where one was noted, and the name that AWS knows; each once."""
    return ", ".join(dict.fromkeys(brief(by).split(", ")))


@app.command()
def rollback(
    *,
    stage: Stage = "local",
    to: Annotated[int | None, typer.Option("--to", help="Version; without it, the newest other approved one.")] = None,
    reason: Reason = "rolled back on the command line",
    wait: Wait = True,
    timeout_s: Timeout = 1800,
    as_json: Json = False,
) -> None:
    """Go back to another approved version, at once. The next approval counts again."""
    connection = connect_deployed(stage)
    known = deployments.state(connection)
    serves = int(known.live["version"]) if known.live else 0
    version = _approved(connection, to) if to else endpoint.newest_before(connection, known, serves)
    if version == serves:
        raise SconesError(f"version {version} serves already")
    at = deployments.order(connection, deployments.ROLLBACK, version, serves, reason)
    _await(connection, version, at, wait=wait, timeout_s=timeout_s, as_json=as_json)


@app.command()
def deploy(
    version: Annotated[int | None, typer.Argument(help="Version; without it, the newest approved one.")] = None,
    *,
    stage: Stage = "local",
    reason: Reason = "deployed on the command line",
    wait: Wait = True,
    timeout_s: Timeout = 1800,
    as_json: Json = False,
) -> None:
    """Deploy an approved version: after the endpoint was deleted, or once more after a deployment failed."""
    connection = connect_deployed(stage)
    known = deployments.state(connection)
    chosen = _approved(connection, version) if version else endpoint.newest_before(connection, known, 0)
    if known.quiet and known.status == "InService" and known.live and int(known.live["version"]) == chosen:
        raise SconesError(f"version {chosen} serves already")
    at = deployments.order(connection, deployments.DEPLOY, chosen, 0, reason)
    _await(connection, chosen, at, wait=wait, timeout_s=timeout_s, as_json=as_json)


def _approved(connection: Connection, number: int) -> int:
    found = registry.find(connection, number)
    if found.approval != "Approved":
        raise SconesError(f"version {number} is {found.approval}: approve it with `scones model approve {number}`")
    return number


def _await(connection: Connection, version: int, at: str, *, wait: bool, timeout_s: float, as_json: bool) -> None:
    outcome = "ordered"
    if wait:
        what = f"the deployment of version {version}"
        outcome = deployments.follow(
            connection, lambda found: deployments.ended_order(found, at), what, timeout_s, screen.say
        )
        screen.say(f"endpoint {connection.names.endpoint} serves version {version}")
    if as_json:
        screen.print_json({"version": version, "outcome": outcome})


@app.command()
def shadow(
    *,
    stage: Stage = "local",
    promote: Annotated[bool, typer.Option("--promote", help="Have the challenger serve.")] = False,
    page: Annotated[Path | None, typer.Option(help="Write the comparison as a page (HTML), too.")] = None,
    reason: Reason = "promoted after copied traffic",
    wait: Wait = True,
    timeout_s: Timeout = 1800,
    as_json: Json = False,
) -> None:
    """Compare the answers of the version that serves with those of the one that gets copies of its traffic."""
    if page:
        outputs.check_file(page)
    connection = connect_deployed(stage)
    known = deployments.state(connection)
    if not known.live or not known.live["shadow_version"]:
        raise SconesError("no version gets copies of the traffic: start one with `scones model approve --shadow`")
    challenger = registry.deployed(connection, _shadow_arn(known.live))
    compared = shadow_report.compare(connection, int(known.live["version"]), challenger, str(known.live["since"]))
    if page:
        from scones.serving_versions import shadow_page

        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(shadow_page.render_page(compared), encoding="utf-8", errors="replace")
        screen.say(f"page: {page}")
    if as_json:
        screen.print_json(msgspec.to_builtins(compared.report))
    else:
        screen.out.print(screen.table("", "", rows=shadow_report.rows(compared.report)))
    if not promote:
        return
    at = registry.set_approval(connection, registry.describe(connection, challenger.arn), "Approved", reason)
    if wait:
        endpoint.wait_for(connection, challenger.arn, timeout_s, at, screen.say)
        screen.say(f"endpoint {connection.names.endpoint} serves version {challenger.version}")


def _shadow_arn(live: LiveItem) -> str:
    """Versions of one group differ in the last part of their ARNs."""
    return f"{str(live['package_arn']).rpartition('/')[0]}/{live['shadow_version']}"


@app.command()
def delete(
    *,
    stage: Stage = "local",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    reason: Reason = "deleted on the command line",
    timeout_s: Timeout = 600,
    as_json: Json = False,
) -> None:
    """Delete the endpoint, its configurations and its models. An approval, or `deploy`, makes it again."""
    connection = connect(stage)
    if not yes:
        typer.confirm(
            f"Delete endpoint {connection.names.endpoint}? Classification stops until the next approval.", abort=True
        )
    outcome = endpoint.delete(connection, reason, timeout_s, screen.say)
    screen.say(f"deleted {connection.names.endpoint}")
    if as_json:
        screen.print_json({"endpoint": connection.names.endpoint, "outcome": outcome})
