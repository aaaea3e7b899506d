"""``scones workflow``: the state machines as JSON and as pictures, built offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scones import screen
from scones.commands import Stage
from scones.errors import SconesError
from scones.stage.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The state machines of inference.")

Name = Annotated[
    str | None, typer.Argument(help="inference-workflow, inference-express or batch-workflow.", show_default=False)
]
Language = Annotated[
    str | None, typer.Option("--query-language", help="JSONPath or JSONata instead of the stage's own.")
]


@app.command()
def definition(
    name: Name = None,
    every: Annotated[bool, typer.Option("--all", help="All of them; needs --out.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write files to this folder.", file_okay=False)] = None,
    query_language: Language = None,
    stage: Stage = "local",
) -> None:
    """Print the Amazon States Language that `scones deploy` uploads, or write it to files."""
    if every and out is None:
        raise SconesError("--all needs a folder for the files: --out DIR")
    chosen = _definitions(None if every else name or "inference-workflow", query_language, stage)
    if out is None:
        screen.out.print("".join(chosen.values()), markup=False, highlight=False, soft_wrap=True, end="")
        return
    _write(out, {f"{key}.asl.json": text for key, text in chosen.items()})


@app.command()
def show(
    name: Name = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.", file_okay=False)] = Path("reports/workflow"),
    query_language: Language = None,
    stage: Stage = "local",
) -> None:
    """Draw a state machine, or all of them: Markdown with a Mermaid flowchart, which GitHub and editors show."""
    from inference_workflow.picture import page

    chosen = _definitions(name, query_language, stage)
    _write(out, {f"{key}.md": page(key, text) for key, text in chosen.items()})


def _definitions(name: str | None, query_language: str | None, stage: str) -> dict[str, str]:
    # Here, because it imports two SDKs, which takes seconds.
    from inference_workflow.definitions import definitions
    from inference_workflow.languages import LANGUAGES

    choices = Settings.load(stage).workflow
    language = query_language or choices.query_language
    if language not in LANGUAGES:
        raise SconesError(f"--query-language must be one of {', '.join(LANGUAGES)}, got {language}")
    every = definitions(language, choices.on_low_confidence)
    if name is None:
        return every
    if name not in every:
        raise SconesError(f"there is no state machine {name}; there are: {', '.join(every)}")
    return {name: every[name]}


def _write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        screen.out.print(str(path), markup=False, soft_wrap=True)
