"""What of the SageMaker SDK is imported: version 3 alone."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

from tests.places import ROOT

OF_VERSION_3 = {"core", "mlops", "serve", "train"}
# A user's project on version 2, which a test runs in an environment of its own.
EXCEPTED = {"tests/foreign/projects/of_sdk_v2.py", "tests/foreign/projects/exercise.py"}


def imported(path: Path) -> set[str]:
    """Every module of the SDK that a file imports, wherever in it."""
    found: set[str] = set()
    text = path.read_text(encoding="utf-8")
    if not re.search(r"^\s*(from|import) sagemaker\b", text, re.MULTILINE):
        return found
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "sagemaker"}


def of_version_2(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[1:2] == [] or name.split(".")[1] not in OF_VERSION_3}


def test_nothing_imports_version_2_of_the_sdk() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = {name: imported(ROOT / name) for name in listed.splitlines() if (ROOT / name).is_file()}
    assert sum(map(bool, found.values())) > 5
    assert {
        name: old for name, modules in found.items() if (old := of_version_2(modules)) and name not in EXCEPTED
    } == {}


def test_what_version_2_is_called_would_be_noticed(tmp_path: Path) -> None:
    module = tmp_path / "old.py"
    module.write_text("import sagemaker\ndef f():\n    from sagemaker.workflow.steps import TrainingStep\n")
    assert of_version_2(imported(module)) == {"sagemaker", "sagemaker.workflow.steps.TrainingStep"}
