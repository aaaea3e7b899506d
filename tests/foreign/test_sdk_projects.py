"""A user's project on version 2 of the SageMaker SDK, in the environment that a user would have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local_account.server import control
from tests.local.conftest import RunningAccount
from tests.local.sagemaker_requests import ROLE

PROJECTS = Path(__file__).with_name("projects")


@pytest.fixture(scope="module")
def with_version_2(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment with version 2 alone."""
    venv = tmp_path_factory.mktemp("sdk") / "v2"
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(venv)], check=True)
    subprocess.run([*uv, "pip", "install", "--python", str(venv / "bin" / "python"), "sagemaker<3"], check=True)
    return str(venv / "bin" / "python")


def run(account: RunningAccount, python: str, name: str) -> str:
    """What a project prints in a shell that evaluated `scones account env`."""
    exported = control.environment(account.state_dir, account.port)
    kept = {name: value for name, value in os.environ.items() if name not in control.left_out(exported)}
    done = subprocess.run(
        [python, "-W", "ignore", str(PROJECTS / name), ROLE],
        cwd=PROJECTS,
        env=kept | exported,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow  # installs 190 MB
def test_a_project_on_version_2_trains_deploys_and_runs_a_pipeline(
    account: RunningAccount, with_version_2: str
) -> None:
    said = run(account, with_version_2, "of_sdk_v2.py")
    assert "endpoint answers [20.0, 60.0]" in said
    assert "pipeline Succeeded ['Succeeded']" in said
