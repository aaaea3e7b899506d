"""The pages of docs/ as a site, and the commands that they and the README name."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.pages.diagrams import FOLDER, diagrams, picture_of
from scones.cli import VERBS
from scones.lazy_verbs import whole_group
from scones.stage.settings import PROJECT_ROOT
from tests.documented import PAGES, commands

WHOLE = whole_group(VERBS)


def parse(words: list[str]) -> None:
    """Read a command line as the program would, and run nothing. Raises LookupError where it could not."""
    command: Any = WHOLE
    context = command.context_class(command, info_name="scones")
    while hasattr(command, "get_command") and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None:
            raise LookupError(f"scones has no {words[0]}")
        command, words = found, words[1:]
        context = command.context_class(command, info_name=command.name, parent=context)
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    strange = [
        word for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in {*known, "--help"}
    ]
    if strange:
        raise LookupError(f"{command.name} has no {strange[0]}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_program_knows_every_command_that_a_page_names(page: Path) -> None:
    wrong = []
    for line in commands(page):
        try:
            parse(shlex.split(line)[1:])
        except (LookupError, ValueError) as error:
            wrong.append(f"{line}: {error}")
    assert wrong == []


def test_the_site_is_built_and_has_every_page(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path)],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [page.name for page in tmp_path.rglob("*.html") if "language-mermaid" in page.read_text()] == []
    assert (tmp_path / "workflow.html").read_text().count("<svg") == 2
    listed = str(yaml.safe_load((PROJECT_ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    pages = [path.relative_to(PROJECT_ROOT / "docs") for path in PROJECT_ROOT.glob("docs/**/*.md")]
    assert [str(page) for page in pages if page.parts[0] != "upstream" and str(page) not in listed] == []


def test_each_diagram_is_drawn_as_its_text_stands() -> None:
    """Else: python -m benchmarks.pages.diagrams."""
    assert {picture_of(text) for text in diagrams()} == set(FOLDER.glob("*.svg"))
