"""The command line: ``scones``, the same verbs on every stage.

Runs on a laptop or in CodeBuild. An expected error is one line and exit code 1; anything else keeps its traceback.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from rich.markup import escape

from infrastructure import stack
from infrastructure.delivery import delivery_template
from infrastructure.template import stage_template
from local_account.base.errors import AccountError
from scones import demo, screen
from scones.artifacts import build as artifacts
from scones.artifacts.build import ArtifactError
from scones.commands import Json, Stage, account, data, delivery, model, monitor, pipeline, review, threshold, workflow
from scones.commands import endpoint as endpoint_commands
from scones.commands.batch import OnLowConfidence, run_batch
from scones.commands.cost import cost
from scones.commands.data import DataPath, Sample
from scones.commands.pipeline import Parameter
from scones.commands.stage import deploy, destroy
from scones.errors import SconesError
from scones.runs import executions
from scones.runs.executions import ImageOutcome
from scones.runs.start_training import parse_parameters
from scones.serving_versions import endpoint, registry
from scones.stage.connection import connect_deployed
from scones.stage.settings import WORKING_FOLDER, SettingsError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From labelled images to a monitored production classifier on SageMaker, and the same loop on this machine.",
)
app.add_typer(account.app, name="account")
app.add_typer(data.app, name="data")
app.add_typer(pipeline.app, name="pipeline")
app.add_typer(model.app, name="model")
app.add_typer(endpoint_commands.app, name="endpoint")
app.add_typer(workflow.app, name="workflow")
app.add_typer(threshold.app, name="threshold")
app.add_typer(delivery.app, name="delivery")
app.add_typer(review.app, name="review")
app.add_typer(monitor.app, name="monitor")
app.command(name="batch")(run_batch)
app.command()(cost)
app.command()(deploy)
app.command()(destroy)

_EXPECTED = (SconesError, SettingsError, ArtifactError, AccountError, ClientError, BotoCoreError, Boto3Error)


@app.command(name="demo")
def demo_command(  # noqa: PLR0917 - typer reads options from the signature
    path: DataPath = None,
    sample: Sample = False,
    images: Annotated[int, typer.Option("--images", "-n", min=2, help="Test images to classify.")] = 20,
    seed: Annotated[int, typer.Option(help="Chooses the test images.")] = 0,
    parameter: Parameter = None,
    report_dir: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("reports/demo"),
    json_file: Annotated[Path | None, typer.Option("--json", help="Write a summary to this file.")] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Go on with the account as it is instead of a fresh one.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the account at the end.")] = False,
) -> None:
    """Run the whole loop on a fresh stand-in account, then say where to look."""
    plan = demo.DemoPlan(path, sample, images, seed, parse_parameters(parameter), report_dir, keep)
    demo.main(plan, json_file, stop=stop)


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="Folder for the artefacts.")] = WORKING_FOLDER / "build" / "artifacts",
) -> None:
    """Build the artefacts that go to AWS: the Lambda zips, the container source archive and the stacks' templates."""
    written = artifacts.write(stack.build_artifacts(), out)
    templates = {out / "stack.yaml": stage_template(), out / "delivery.yaml": delivery_template()}
    for path, text in templates.items():
        path.write_text(text, encoding="utf-8")
    for path in (*written, *templates):
        screen.out.print(str(path), markup=False)


@app.command()
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


@app.command(name="test-cases")
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


def main() -> None:
    """Entry point of the ``scones`` command; usage errors and Ctrl-C are typer's to report."""
    # The SageMaker SDK turns the root logger to INFO, and botocore then tells of every endpoint it finds.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    try:
        app()
    except _EXPECTED as error:
        _fail(str(error))
    except ResponseParserError as error:
        _fail(
            f"the answer of the account is not AWS's ({error}): another program has the port, or the account broke off"
        )
    except OSError as error:
        if error.filename is None:  # not about a file: a fault of this program
            raise
        _fail(f"{error.filename}: {error.strerror}; choose another place or make room for it")


def _fail(message: str) -> NoReturn:
    screen.err.print(f"[red]error:[/red] {escape(' '.join(message.split()))}")
    sys.exit(1)


def _print(outcomes: list[ImageOutcome], as_json: bool) -> None:
    if as_json:
        screen.print_json([outcome.as_json() for outcome in outcomes])
        return
    screen.out.print(screen.outcomes_table(outcomes))
    screen.out.print(screen.outcomes_summary(outcomes), markup=False)
