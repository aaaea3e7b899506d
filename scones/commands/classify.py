"""``scones classify`` and ``scones test-cases``: single images through the inference workflow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scones import screen
from scones.commands import Json, Stage
from scones.commands.batch import OnLowConfidence
from scones.runs import executions
from scones.runs.executions import ImageOutcome
from scones.serving_versions import endpoint, registry
from scones.stage.connection import connect_deployed


def classify(
    image: Annotated[list[Path], typer.Argument(help="PNG or JPEG files.")],
    on_low_confidence: Annotated[
        OnLowConfidence | None,
        typer.Option(
            help="`fail` the execution, or end it well and wait for a `review`; without it, as the stage says."
        ),
    ] = None,
    stage: Stage = "local",
    as_json: Json = False,
) -> None:
    """Send images through the inference workflow. Exit code 1 unless every one passed or, when asked for, waits."""
    connection = connect_deployed(stage)
    endpoint.live(connection)
    outcomes = executions.run(
        connection, executions.upload_images(connection, image), on_low_confidence=on_low_confidence
    )
    _print(outcomes, as_json)
    good = {"SUCCEEDED", "LOW_CONFIDENCE"} if on_low_confidence is OnLowConfidence.review else {"SUCCEEDED"}
    if any(outcome.status not in good for outcome in outcomes):
        raise typer.Exit(1)


def test_cases(
    count: Annotated[int, typer.Option("-n", min=1, help="How many test images.")] = 20,
    seed: Annotated[int | None, typer.Option(help="Choose the same images again.")] = None,
    stage: Stage = "local",
    as_json: Json = False,
) -> None:
    """Run random test images through the deployed workflow. Exit code 1 when one fails for a technical reason."""
    connection = connect_deployed(stage)
    version = registry.deployed(connection, endpoint.live(connection).model_package_arn)
    images = executions.pick_test_images(connection, version.metadata["dataset_s3_uri"], count, seed)
    outcomes = executions.run(connection, images)
    _print(outcomes, as_json)
    if any(o.status == "FAILED" for o in outcomes):
        raise typer.Exit(1)


def _print(outcomes: list[ImageOutcome], as_json: bool) -> None:
    if as_json:
        screen.print_json([outcome.as_json() for outcome in outcomes])
        return
    screen.out.print(screen.outcomes_table(outcomes))
    screen.out.print(screen.outcomes_summary(outcomes), markup=False)
