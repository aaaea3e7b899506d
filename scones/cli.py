"""The command line: ``scones``, the same verbs on every stage.

Runs on a laptop or in CodeBuild. An expected error is one line and exit code 1; anything else keeps its traceback. The
verbs' code is imported when they are called: the list of them, and the version, cost next to nothing.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, NoReturn

import typer

from scones.lazy_verbs import LazyVerb, lazy_group

_COMMANDS, _STAGES = "scones.commands", "scones.commands.stages"
VERBS = {
    "status": LazyVerb(f"{_STAGES}.status:status", "Say in one look how the stage stands."),
    "console": LazyVerb(f"{_STAGES}.console:console", "Open the stage's pages in the browser, on this machine alone."),
    "account": LazyVerb(f"{_COMMANDS}.account:app", "The stand-in AWS account on this machine."),
    "data": LazyVerb(f"{_COMMANDS}.data:app", "The images that the pipeline starts from."),
    "pipeline": LazyVerb(f"{_COMMANDS}.pipeline:app", "The training pipeline."),
    "model": LazyVerb(f"{_COMMANDS}.model:app", "The model registry."),
    "endpoint": LazyVerb(f"{_COMMANDS}.endpoint:app", "The endpoint."),
    "workflow": LazyVerb(f"{_COMMANDS}.workflow:app", "The state machines of inference."),
    "threshold": LazyVerb(f"{_COMMANDS}.threshold:app", "The confidence threshold."),
    "delivery": LazyVerb(f"{_STAGES}.delivery:app", "The pipeline that brings a commit through staging to production."),
    "review": LazyVerb(f"{_COMMANDS}.review:app", "Images whose confidence was too low."),
    "monitor": LazyVerb(f"{_COMMANDS}.monitor:app", "Reports on captured traffic."),
    "batch": LazyVerb(f"{_COMMANDS}.batch:run_batch", "Send many images through the workflow."),
    "mlflow": LazyVerb(f"{_STAGES}.mlflow:mlflow", "Open MLflow's pages about the stage's trainings."),
    "cost": LazyVerb(f"{_STAGES}.cost:cost", "Estimate what the stage costs a month, a pipeline run and 1,000 images."),
    "deploy": LazyVerb(f"{_STAGES}.deploy:deploy", "Show what will change, ask on an AWS stage, then deploy."),
    "destroy": LazyVerb(f"{_STAGES}.deploy:destroy", "Remove everything of the stage that costs money."),
    "demo": LazyVerb(f"{_STAGES}.demo:run_demo", "Run the whole loop on a fresh stand-in account."),
    "build": LazyVerb(f"{_STAGES}.build:build", "Build the artefacts that go to AWS."),
    "classify": LazyVerb(f"{_COMMANDS}.classify:classify", "Send images through the inference workflow."),
    "test-cases": LazyVerb(f"{_COMMANDS}.classify:test_cases", "Run random test images through the deployed workflow."),
}

app = typer.Typer(cls=lazy_group(VERBS), no_args_is_help=True, pretty_exceptions_enable=False)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"scones {version('scones-mlops')}")
        raise typer.Exit


@app.callback()
def scones(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """From labelled images to a monitored production classifier on SageMaker, and the same loop on this machine."""


def main() -> None:
    """Entry point of the ``scones`` command; usage errors and Ctrl-C are typer's to report."""
    # The SageMaker SDK turns the root logger to INFO, and botocore then tells of every endpoint it finds.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # while a full disk can still be told
    except Exception as error:
        from scones import failures

        message = failures.told(error)
        if message is None:
            raise
        _fail(message)


def _fail(message: str) -> NoReturn:
    from rich.markup import escape

    from scones import screen

    try:
        screen.err.print(f"[red]error:[/red] {escape(' '.join(message.split()))}")
        sys.stdout.flush()
    except OSError:  # nobody can be told, and the interpreter must not try again
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(1)
