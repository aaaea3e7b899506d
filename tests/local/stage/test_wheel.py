"""A wheel that was built and installed does what a checkout does, and keeps its files where it is called."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scones.installation import Environment, index_options, pip_settings
from scones.locks import RUN_FILE, TORCH_FILE, locked
from tests.local.conftest import free_port
from tests.places import ROOT

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the tracked files."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    build = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "source")]
    subprocess.run(build, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The folder that the wheel was installed into, without what it needs."""
    folder = wheel.parent / "site"
    subprocess.run([*PIP, "install", "--no-deps", "--target", str(folder), str(wheel)], check=True)
    return folder


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


def install(venv: Path, installer: str, wheel: Path) -> None:
    """The wheel with all that it asks for, in an empty environment, as somebody does who has no checkout."""
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    python = str(venv / "bin" / "python")
    settings = index_options(pip_settings(Environment(venv, "run", locked=False)))
    if installer == "uv":
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python, *settings]
        subprocess.run([*uv, str(wheel)], check=True)
        return
    # pip alone tries versions of what the SDK asks for, for many minutes: it is given those that are locked.
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--requirement", str(ROOT / RUN_FILE)], check=True)
    subprocess.run([*pip, f"torch=={locked(ROOT / TORCH_FILE)['torch']}", str(wheel)], check=True)


@pytest.mark.slow  # installs more than a gigabyte, then runs the loop
@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_in_an_empty_environment_it_does_everything(wheel: Path, tmp_path: Path, installer: str) -> None:
    venv, folder = tmp_path / "venv", tmp_path / "somewhere"
    install(venv, installer, wheel)
    folder.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SCONES_", "PYTHON"))}
    environment = kept | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    for words, said in (
        (["--help"], "test-cases"),
        (["account", "start"], "running on"),
        (["account", "stop"], "stopped"),
        (["demo", "--sample", "--stop"], "0 failed"),
    ):
        command = [str(venv / "bin" / "scones"), *words]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout + done.stderr
    assert (folder / "reports" / "demo" / "report.html").is_file()
