"""One name, one thing: a class name stands for one class in the whole repository."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ROOMS = [
    "benchmarks",
    "console",
    "imaging",
    "inference_workflow",
    "infrastructure",
    "lambdas",
    "local_account",
    "monitoring",
    "notebooks",
    "pipelines",
    "processing",
    "reporting",
    "scones",
    "serving",
    "training",
]


def public_classes() -> dict[str, list[str]]:
    """Where each class name stands; one that begins with ``_`` belongs to its file alone."""
    found = defaultdict(list)
    for path in sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def test_a_class_name_stands_for_one_class() -> None:
    found = public_classes()
    assert len(found) > 300, "the rooms were not found"
    doubles = {name: places for name, places in found.items() if len(places) > 1}
    assert doubles == {}, "rename all but one: a reader meets both under the same word"
