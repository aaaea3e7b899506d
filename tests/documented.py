"""The commands that the README and the pages of docs/ name."""

from __future__ import annotations

import re
from pathlib import Path

from tests.places import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
IN_LINE = re.compile(r"`(scones [a-z][^`]*)`")
STAGE = re.compile(r" --stage \S+")


def commands(page: Path) -> list[str]:
    """Every command line of ours that a page names, without what is to be filled in or goes on in the shell."""
    text = page.read_text(encoding="utf-8")
    lines = [line.strip() for block in FENCED.findall(text) for line in block.splitlines()] + IN_LINE.findall(text)
    ours = [line.removeprefix(".venv/bin/").partition("  #")[0] for line in lines]
    return sorted({re.split(r"\s[|>&]", line)[0].rstrip() for line in ours if line.startswith("scones ")})


def without_stage() -> set[str]:
    """Every page's commands as they are for the stage `local`: the stages on AWS take the same ones."""
    return {STAGE.sub("", line) for page in PAGES for line in commands(page)}
