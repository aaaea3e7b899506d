"""``scones deploy`` and ``scones destroy``: a whole stage comes and goes."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from infrastructure import stack
from infrastructure.change_set import PlannedChange, summary
from scones import screen
from scones.commands import Json, Stage
from scones.errors import SconesError
from scones.stage.connection import Connection, connect

_STYLE = {"add": "green", "change": "yellow", "replace": "red", "perhaps replace": "red", "remove": "red"}

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def deploy(
    stage: Stage = "local",
    yes: Yes = False,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would change, and change nothing of it.")] = False,
    as_json: Json = False,
) -> None:
    """Show what will change, ask on an AWS stage, then deploy: the stack, its functions, workflows and pipelines.

    Doing it twice changes nothing.
    """
    connection = connect(stage)
    seen: list[PlannedChange] = []

    def agree(changes: Sequence[PlannedChange]) -> bool:
        seen.extend(changes)
        # Without a terminal, tables take the width they need: nothing that a program reads is cut.
        screen.err.print(changes_table(changes), width=None if screen.err.is_terminal else 400)
        screen.say(f"stack {connection.names.stack}: {summary(changes)}")
        return not plan and (yes or connection.settings.endpoint_url is not None or _asked(connection))

    found = stack.deploy(connection, screen.say, agree, plan=plan)
    if found and connection.settings.endpoint.variant == "serverless":
        screen.say("the endpoint is serverless: SageMaker captures none of its traffic, so there is nothing to monitor")
    if as_json:
        document = {
            "stage": stage,
            "stack": connection.names.stack,
            "deployed": found is not None,
            "changes": [dataclasses.asdict(change) for change in seen],
            "outputs": dataclasses.asdict(found) if found else {},
        }
        screen.print_json(document)
    elif found:
        screen.out.print(screen.table("", "", rows=list(dataclasses.asdict(found).items())))
    if found is None and not plan:
        raise SconesError("nothing was changed")


def destroy(stage: Stage = "local", yes: Yes = False, as_json: Json = False) -> None:
    """Remove everything of the stage that costs money, images and models included; says what it kept and why."""
    connection = connect(stage)
    prefix, account = connection.names.prefix, connection.names.account_id
    if not yes:
        _check_terminal("--yes")
        answer = typer.prompt(f"This deletes everything of {prefix} in account {account}. Type {stage!r} to go on")
        if answer.strip() != stage:
            raise SconesError(f"nothing was removed: expected {stage!r}, got {answer!r}")
    done = stack.destroy(connection, screen.say)
    for what, why in done.kept:
        screen.say(f"kept {what}: {why}")
    if not done.removed:
        screen.say(f"nothing of {prefix} was left to remove")
    if as_json:
        screen.print_json({"removed": done.removed, "kept": [{"what": what, "why": why} for what, why in done.kept]})


def changes_table(changes: Sequence[PlannedChange]) -> Table:
    """Lay out what a change set would do, resource by resource."""
    rows = [
        (
            Text(change.action, style=_STYLE.get(change.action, "")),
            change.logical_id,
            change.kind,
            ", ".join(change.properties),
        )
        for change in changes
    ]
    return screen.table("", "resource", "type", "what differs", rows=rows)


def _asked(connection: Connection) -> bool:
    _check_terminal("--yes to go on, or --plan to look only")
    return typer.confirm(f"Change this in account {connection.names.account_id}?")


def _check_terminal(instead: str) -> None:
    if not sys.stdin.isatty():
        raise SconesError(f"there is nobody to ask: use {instead}")
