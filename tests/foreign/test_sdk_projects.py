"""A user's project on version 2 of the SageMaker SDK, in the environment that a user would have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from local_account.server import control
from scones.stage.settings import Settings
from scones.stand_in import images
from tests.local.conftest import RunningAccount
from tests.local.sagemaker_requests import ROLE

PROJECTS = Path(__file__).with_name("projects")
OF_THE_EXERCISE = {"metrics", "attached", "classes", "captured", "invocations", "tuned", "transformed"}


@pytest.fixture(scope="module")
def with_version_2(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment with version 2 alone."""
    venv = tmp_path_factory.mktemp("sdk") / "v2"
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(venv)], check=True)
    wanted = ("sagemaker<3", "pillow")
    subprocess.run([*uv, "pip", "install", "--python", str(venv / "bin" / "python"), *wanted], check=True)
    return str(venv / "bin" / "python")


def run(account: RunningAccount, python: str, name: str, argument: str) -> str:
    """What a project prints in a shell that evaluated `scones account env`."""
    exported = control.environment(account.state_dir, account.port)
    kept = {name: value for name, value in os.environ.items() if name not in control.left_out(exported)}
    done = subprocess.run(
        [python, "-W", "ignore", str(PROJECTS / name), argument],
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
    said = run(account, with_version_2, "of_sdk_v2.py", ROLE)
    assert "endpoint answers [20.0, 60.0]" in said
    assert "pipeline Succeeded ['Succeeded']" in said


@pytest.mark.slow
def test_the_exercise_goes_from_pictures_to_captured_answers(
    fresh_account: Callable[..., RunningAccount], with_version_2: str, real_archive: Path
) -> None:
    stands_in = json.dumps(
        images(Settings.load("local"))
    )  # for the built-in algorithm, as `scones account start` has it
    account = fresh_account(None, None, "--images", stands_in)
    said = run(account, with_version_2, "exercise.py", str(real_archive)).splitlines()
    assert [line for line in said if line.split(" ")[0] in OF_THE_EXERCISE] == [
        "metrics 1",
        "attached True 2",
        "classes 2",
        "captured 10 image/png",
        "invocations 10.0",
        "tuned True",
        "transformed 20",
    ]
