"""``scones demo``: the whole loop on a fresh stand-in account."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scones import demo
from scones.commands.data import DataPath, Sample
from scones.commands.pipeline import Parameter
from scones.runs.start_training import parse_parameters


def run_demo(  # noqa: PLR0917 - typer reads options from the signature
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
    plan = demo.DemoPlan(
        path, sample, images, seed, parse_parameters(parameter, own_pictures=path is not None), report_dir, keep
    )
    demo.main(plan, json_file, stop=stop)
