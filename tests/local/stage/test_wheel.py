"""A wheel that was built and installed does what a checkout does, and keeps its files where it is called."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.local.conftest import free_port
from tests.places import ROOT

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel of the tracked files was installed into."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    wheel = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "source")]
    subprocess.run(wheel, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    subprocess.run([*PIP, "install", "--no-deps", "--target", str(folder / "site"), str(built)], check=True)
    return folder / "site"


def scones(path: Path, working_folder: Path, *arguments: str, **variables: str) -> str:
    """What the command that is installed in ``path`` prints in a folder of the user's."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SCONES_"))}
    finished = subprocess.run(
        [sys.executable, "-P", "-c", "from scones.cli import main; main()", *arguments],
        cwd=working_folder,
        env=environment | {"PYTHONPATH": str(path)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_it_builds_the_artefacts_that_a_checkout_builds(installed: Path, tmp_path: Path) -> None:
    scones(installed, tmp_path, "build")
    scones(ROOT, tmp_path, "build", "--out", "own")
    built, own = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "build" / "artifacts", tmp_path / "own")
    )
    assert built.keys() == own.keys() and "stack.yaml" in map(str, own)
    assert [name for name in own if built[name] != own[name]] == []


def test_its_state_lies_where_it_is_called(installed: Path, tmp_path: Path) -> None:
    address = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    scones(installed, tmp_path, "account", "start", **address)
    try:
        found = json.loads(scones(installed, tmp_path, "account", "status", "--json", **address))
    finally:
        scones(installed, tmp_path, "account", "stop", **address)
    assert found["pid"]
    assert (tmp_path / ".scones" / "account" / "services").is_dir()
    assert not (installed / ".scones").exists()
