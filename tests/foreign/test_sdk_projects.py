"""Users' projects on versions 2 and 3 of the SageMaker SDK, in the environments that users would have."""

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
VERSION_2 = "sagemaker<3 pillow"
OF_THE_EXERCISE = {"metrics", "attached", "classes", "captured", "invocations", "tuned", "transformed"}


@pytest.fixture(scope="module")
def environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment with one version of the SDK alone."""
    venv = tmp_path_factory.mktemp("sdk") / "venv"
    python = str(venv / "bin" / "python")
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(venv)], check=True)
    subprocess.run([*uv, "pip", "install", "--python", python, *request.param.split(" ")], check=True)
    return python


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
@pytest.mark.parametrize("environment", [VERSION_2], indirect=True)
def test_a_project_on_version_2_trains_deploys_and_runs_a_pipeline(account: RunningAccount, environment: str) -> None:
    said = run(account, environment, "of_sdk_v2.py", ROLE)
    assert "endpoint answers [20.0, 60.0]" in said
    assert "pipeline Succeeded ['Succeeded']" in said


@pytest.mark.slow
@pytest.mark.parametrize("environment", [VERSION_2], indirect=True)
def test_the_exercise_goes_from_pictures_to_captured_answers(
    fresh_account: Callable[..., RunningAccount], environment: str, real_archive: Path
) -> None:
    # What stands for the built-in algorithm, as `scones account start` has it.
    stands_in = json.dumps(images(Settings.load("local")))
    account = fresh_account(None, None, "--images", stands_in)
    said = run(account, environment, "exercise.py", str(real_archive)).splitlines()
    assert [line for line in said if line.split(" ")[0] in OF_THE_EXERCISE] == [
        "metrics 1",
        "attached True 2",
        "classes 2",
        "captured 10 image/png",
        "invocations 10.0",
        "tuned True",
        "transformed 20",
    ]


@pytest.mark.slow  # installs 700 MB
@pytest.mark.parametrize("environment", ["sagemaker>=3,<4"], indirect=True)
def test_a_pipeline_on_version_3_splits_trains_evaluates_decides_and_registers(
    account: RunningAccount, environment: str
) -> None:
    """In the style of the SDK's own integration tests: ModelTrainer, ModelBuilder, `sagemaker.mlops.workflow`."""
    said = run(account, environment, "of_sdk_v3.py", ROLE)
    first, second, approvals = (json.loads(line) for line in said.splitlines() if line[:1] in "[{")
    assert (first["status"], first["reason"], first["reused"]) == ("Succeeded", "", [])
    made = {"Split", "Fit", "Evaluate", "Decide", "Create", "Register"}
    assert first["steps"] == dict.fromkeys(made, "Succeeded")
    assert (second["status"], second["reused"]) == ("Failed", ["Fit", "Split"])
    assert second["steps"]["Refuse"] == "Failed" and "the error is above -1.0" in second["reason"]
    assert approvals == ["PendingManualApproval"]
