"""``scones build``: what goes to AWS, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infrastructure import stack
from infrastructure.delivery import delivery_template
from infrastructure.template import stage_template
from scones import screen
from scones.artifacts import build as artifacts
from scones.stage.settings import WORKING_FOLDER


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
