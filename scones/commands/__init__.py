"""The verbs of the command line, one module for each noun. They parse, print and exit; the work is done elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

Stage = Annotated[str, typer.Option("--stage", help="Which stage: a file in stages/.", envvar="SCONES_STAGE")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for programs.")]
