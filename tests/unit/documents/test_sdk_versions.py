"""What version 3 of the SageMaker SDK writes beside what version 2 wrote of the same pipelines; nobody imports 2."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from scones.stage.settings import PROJECT_ROOT

SAMPLES = PROJECT_ROOT / "tests" / "samples"
# Of version 2, which the samples in sdk_v2/ were written with, and of 3: everything else is the same.
OF_VERSION_2 = {
    # Said by an option of its estimators. A job that says nothing of it is not profiled either (CreateTrainingJob).
    "ProfilerConfig": {"DisableProfiler": True},
}
OF_VERSION_3 = {
    # Where a pipeline reports to MLflow, which ours do not.
    "MlflowConfig": None,
}


# Where runs are tracked: newer than the samples of version 2.
TRACKED = {"TrainModel", "EvaluateModel"}
# What is ours in a definition, and may go on changing: how the SDK writes it is compared, not what it says.
OURS = {"ContainerArguments", "CustomerMetadataProperties", "HyperParameters", "Parameters", "Values"}


@pytest.mark.parametrize("name", ["training", "built_in", "monitoring"])
def test_a_definition_is_the_one_that_version_2_wrote(name: str) -> None:
    before = json.loads((SAMPLES / "sdk_v2" / f"{name}_pipeline.json").read_text(encoding="utf-8"))
    now = json.loads((SAMPLES / f"{name}_pipeline.json").read_text(encoding="utf-8"))
    assert now.pop("MlflowConfig", None) == OF_VERSION_3["MlflowConfig"]
    for step in before["Steps"]:
        if step["Type"] == "Training":
            assert step["Arguments"].pop("ProfilerConfig") == OF_VERSION_2["ProfilerConfig"]
    for step in now["Steps"]:
        if step["Name"] in TRACKED and "Environment" in step["Arguments"]:
            assert "MLFLOW_TRACKING_URI" in step["Arguments"].pop("Environment")
    assert steps(now) == steps(before)
    assert without_ours(now) == without_ours(before)


def steps(definition: dict[str, Any]) -> dict[str, Any]:
    """The steps by name, so that a difference is shown where it is."""
    return {step["Name"]: without_ours(step) for step in definition["Steps"]}


def without_ours(value: Any) -> Any:
    """A part of a definition, with the kind of what is ours in its place."""
    if isinstance(value, dict):
        return {key: type(each).__name__ if key in OURS else without_ours(each) for key, each in value.items()}
    return [without_ours(each) for each in value] if isinstance(value, list) else value


# As somebody else wrote them, run against the account in environments of their own.
OF_OTHERS = "tests/foreign/projects"


def test_nothing_imports_version_2() -> None:
    for path in files():
        if path.is_relative_to(PROJECT_ROOT / OF_OTHERS):
            continue
        for module in imported(path):
            if module.partition(".")[0] == "sagemaker":
                assert module.split(".")[1:2] in (["core"], ["train"], ["mlops"]), f"{path}: {module}"


def files() -> list[Path]:
    """The project's own code."""
    folders = [
        path for path in PROJECT_ROOT.iterdir() if path.is_dir() and path.name[0] != "." and path.name != "build"
    ]
    return [path for folder in folders for path in folder.rglob("*.py")]


def imported(path: Path) -> list[str]:
    """The modules that a file imports anywhere."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found
