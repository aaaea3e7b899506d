"""``scones delivery``: the pipeline that brings a commit through tests and staging to production."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import typer

from infrastructure import delivery
from infrastructure.change_set import PlannedChange, summary
from scones import screen
from scones.commands import Json, Stage
from scones.errors import SconesError
from scones.runs import delivery_runs
from scones.stage.connection import Connection, connect

app = typer.Typer(no_args_is_help=True, help="The pipeline that brings a commit through staging to production.")

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Execution = Annotated[str | None, typer.Option(help="Execution id; without it, the latest.")]


@app.command()
def deploy(stage: Stage = "local", yes: Yes = False, as_json: Json = False) -> None:
    """Deploy the delivery pipeline into the stage's account. Doing it twice changes nothing."""
    connection = connect(stage)

    def agree(changes: Sequence[PlannedChange]) -> bool:
        screen.say(f"stack {connection.names.delivery}: {summary(changes)}")
        return yes or connection.settings.endpoint_url is not None or typer.confirm("Deploy this?")

    outputs = delivery.deploy(connection, screen.say, agree)
    if outputs is None:
        raise SconesError("nothing was changed")
    if as_json:
        screen.print_json(outputs)
    else:
        screen.out.print(screen.table("", "", rows=[row for row in outputs.items() if row[1]]))


@app.command()
def start(
    stage: Stage = "local",
    ref: Annotated[str, typer.Option(help="The commit to deliver from S3; a connection delivers its branch.")] = "HEAD",
    tests: Annotated[str | None, typer.Option(help="What pytest is given instead of all tests.")] = None,
    wait_for_training: Annotated[
        bool, typer.Option("--wait-for-training", help="Each deployment lasts until its training pipeline has ended.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start an execution; where the source is S3, the committed files are packed and uploaded first."""
    connection = connect(stage)
    bucket = delivery.outputs(connection)["ArtifactBucketName"]
    if connection.settings.delivery.source == "s3" and ref == "HEAD" and delivery_runs.uncommitted():
        screen.say("files differ from the last commit: what is not committed is not delivered")
    variables = {"WAIT": "1"} if wait_for_training else {}
    if tests is not None:
        variables["TESTS"] = tests
    execution, source = delivery_runs.start(connection, bucket, ref, variables)
    if as_json:
        screen.print_json({"execution": execution, "source": source})
    else:
        screen.say(f"started {execution} on {source}; follow it with `scones delivery status`")


@app.command()
def status(stage: Stage = "local", execution: Execution = None, as_json: Json = False) -> None:
    """Show the actions of an execution, with times. Exit code 1 when it failed."""
    found = _execution(connect(stage), execution)
    if as_json:
        actions = [dataclasses.asdict(action) | {"seconds": action.seconds} for action in found.actions]
        screen.print_json(dataclasses.asdict(found) | {"actions": actions})
    else:
        screen.out.print(f"{found.execution_id}: ", screen.styled(found.status), f" {found.source}", sep="")
        screen.out.print(screen.table("stage", "action", "status", "started", "took", "", rows=_rows(found)))
    if found.status == "Failed":
        raise SconesError("; ".join(a.message for a in found.actions if a.status == "Failed") or "the execution failed")


def _rows(found: delivery_runs.Execution) -> list[tuple[object, ...]]:
    return [
        (
            action.stage,
            action.name,
            "waits for approval" if action.token else screen.styled(action.status),
            f"{action.started:%H:%M:%S}",
            "" if action.seconds is None else f"{action.seconds:.0f} s",
            action.message,
        )
        for action in found.actions
    ]


@app.command()
def approve(
    stage: Stage = "local",
    execution: Execution = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the execution.")] = "",
    reject: Annotated[bool, typer.Option("--reject", help="Reject instead: the execution ends.")] = False,
) -> None:
    """Let an execution that waits for an approval go on to production."""
    connection = connect(stage)
    found = _execution(connection, execution)
    action = delivery_runs.waiting_approval(found)
    decision = "rejected" if reject else "approved"
    delivery_runs.decide(connection, action, reason or f"{decision} with scones", approved=not reject)
    screen.say(f"{decision} {found.execution_id}")


@app.command()
def logs(
    pipeline_stage: Annotated[
        str | None, typer.Argument(help="Build, Staging or Production; without it, the last build.")
    ] = None,
    stage: Stage = "local",
    execution: Execution = None,
) -> None:
    """Print the log of a build."""
    connection = connect(stage)
    for line in delivery_runs.log_lines(connection, _execution(connection, execution), pipeline_stage):
        screen.print_line(line)


@app.command()
def destroy(stage: Stage = "local", yes: Yes = False) -> None:
    """Remove the delivery pipeline, its builds and its bucket. The stages that it deployed stay."""
    connection = connect(stage)
    if not yes:
        typer.confirm(f"Delete stack {connection.names.delivery} in {connection.names.account_id}?", abort=True)
    if not delivery.destroy(connection, screen.say):
        screen.say("there was nothing to remove")


def _execution(connection: Connection, execution: str | None) -> delivery_runs.Execution:
    return delivery_runs.describe(connection, execution or delivery_runs.latest(connection))
