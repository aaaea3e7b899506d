"""Trainings of the stand-in account in MLflow: what the jobs log is read back, and `scones mlflow` shows it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.local.conftest import free_port
from tests.realdata import cifar_archive

SERVER = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/team"
SCONES = str(Path(sys.executable).with_name("scones"))


def environment(home: Path, port: int, address: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SCONES_", "MLFLOW_"))}
    told = {"SCONES_HOME": str(home), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "NO_COLOR": "1", "COLUMNS": "300"}
    return {**kept, **told, "MLFLOW_TRACKING_URI": address}


def scones(told: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCONES, *arguments], env=told, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "stage local logs no trainings to MLflow: set `mlflow` in stages/local.toml, or MLFLOW_TRACKING_URI"),
        ("runs", "mlflow (or MLFLOW_TRACKING_URI) must be arn:aws:sagemaker:"),
        (
            "arn:aws:sagemaker:us-east-1:1:mlflow-app/app-1",
            "mlflow (or MLFLOW_TRACKING_URI) must be arn:aws:sagemaker:",
        ),
        ("local", "(no training was logged to .*mlflow.db yet|MLflow is not installed: python -m pip)"),
    ],
)
def test_pages_that_cannot_be_opened_are_one_line(tmp_path: Path, address: str, said: str) -> None:
    done = scones(environment(tmp_path, free_port(), address), "mlflow")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert re.search(said if said.startswith("(") else re.escape(said), line)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's and its libraries' own
def test_a_run_of_the_pipeline_is_a_run_in_mlflow(tmp_path: Path) -> None:
    mlflow: Any = pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    told = environment(tmp_path, free_port(), "local") | {"SCONES_DATA": str(cifar_archive())}
    try:
        # No more of the pipeline than it takes: a gate that one epoch passes.
        chosen = ["Recipe=scratch", "Epochs=2", "Members=2", "AccuracyGate=0.1"]
        for verb in (["account", "start"], ["deploy"], ["pipeline", "run", *(f"-p{each}" for each in chosen)]):
            done = scones(told, *verb)
            assert done.returncode == 0, done.stderr
        client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow/mlflow.db")
        (run,) = client.search_runs([client.get_experiment_by_name("scones-local").experiment_id])
        assert run.info.status == "FINISHED"
        assert (run.data.params["recipe"], run.data.params["epochs"]) == ("scratch", "2")
        assert [each.step for each in client.get_metric_history(run.info.run_id, "validation_accuracy")] == [1, 2]
        assert 0.1 < run.data.metrics["test_accuracy"] <= 1.0
        kept = {
            each.path for folder in ("evaluation", "model") for each in client.list_artifacts(run.info.run_id, folder)
        }
        assert kept >= {"evaluation/evaluation.json", "evaluation/evaluation.html", "model/model.tar.gz"}
        assert "test_accuracy" in the_pages_know(told, run.info.run_id)
    finally:
        scones(told, "account", "stop")


def the_pages_know(told: dict[str, str], run_id: str) -> str:
    """What the server of `scones mlflow` answers about a run; it ends with Ctrl-C."""
    with subprocess.Popen([SCONES, "mlflow", "--port", "0"], env=told, stderr=subprocess.PIPE, text=True) as pages:
        try:
            url = next(line.strip() for line in pages.stderr or () if line.startswith("http://127.0.0.1:"))
            with urllib.request.urlopen(f"{url}/api/2.0/mlflow/runs/get?run_id={run_id}") as answer:  # noqa: S310
                return str(answer.read().decode())
        finally:
            pages.send_signal(signal.SIGINT)
