"""Runs in MLflow: what is logged where there is an address, and that no job ever fails for want of it."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from processing.evaluation.tracked import evaluation_metrics, log_evaluation
from reporting.documents.evaluation import EVALUATION_FILE, Evaluation
from reporting.documents.json import from_bytes
from reporting.documents.training import TrainingRecord
from reporting.tracking import ADDRESS, RUN_FILE, TrackedMetric, tracked_run, trained_in
from tests.places import ROOT
from training.tracked import epoch_metrics, found, score_metrics

SAMPLES = ROOT / "tests" / "samples"
RECORD = from_bytes((SAMPLES / "training.json").read_bytes(), TrainingRecord)
EVALUATION = from_bytes((SAMPLES / EVALUATION_FILE).read_bytes(), Evaluation)
# The standard library alone: an environment without MLflow.
BARE = """
import os
from reporting.tracking import TrackedMetric, tracked_run
with tracked_run(os.environ, "training") as run:
    run.parameters({"seed": 1})
    run.metrics([TrackedMetric("loss", 0.5)])
    print("trained", repr(run.run_id))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def without_mlflow(address: str) -> subprocess.CompletedProcess[str]:
    nothing = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}  # that could be installed
    environment = {ADDRESS: address, "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], **nothing}
    command = [sys.executable, "-S", "-c", BARE]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_without_an_address_nothing_of_mlflow_is_needed() -> None:
    done = without_mlflow("")
    assert (done.returncode, done.stdout, done.stderr) == (0, "trained ''\n", "")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "sqlite:////nowhere/mlflow.db",
            "MLflow is not installed: python -m pip install -e '.[mlflow]' in the project's folder brings it",
        ),
        ("http://127.0.0.1:9", ""),
        ("arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-1", ""),
    ],
)
def test_a_job_without_the_client_goes_on_and_says_so_in_one_line(address: str, said: str) -> None:
    done = without_mlflow(address)
    assert (done.returncode, done.stdout) == (0, "trained ''\n"), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"mlflow: {address} cannot be logged to, the job goes on without: {said}")


def test_epochs_are_logged_by_member_and_as_their_mean() -> None:
    logged = {(each.name, each.step): each.value for each in epoch_metrics(RECORD.history)}
    members = {row.member for row in RECORD.history}
    for row in RECORD.history:
        assert logged[f"member_{row.member}/train_loss", row.epoch] == row.train_loss
    mean = sum(row.validation_accuracy or 0.0 for row in RECORD.history if row.epoch == 1) / len(members)
    assert logged["validation_accuracy", 1] == pytest.approx(mean)


def test_one_member_needs_no_name_of_its_own() -> None:
    alone = [row for row in RECORD.history if row.member == 0]
    assert {each.name for each in epoch_metrics(alone)} == {"train_loss", "validation_loss", "validation_accuracy"}


def test_what_is_logged_of_a_training_says_which_data_and_code_libraries_it_saw() -> None:
    told = found(RECORD)
    assert told["classes"] == "bicycle,motorcycle"
    assert told["dataset_sha256"] == RECORD.dataset.source_sha256
    assert told["version_torch"] == RECORD.versions["torch"]
    scores = {each.name: each.value for each in score_metrics(RECORD)}
    assert scores["ensemble_validation_accuracy"] == RECORD.scores.validation_accuracy


def test_an_evaluation_is_logged_with_the_figures_of_its_classes_and_thresholds() -> None:
    logged = {each.name: each.value for each in evaluation_metrics(EVALUATION)}
    assert logged["test_accuracy"] == EVALUATION.multiclass_classification_metrics.accuracy.value
    assert logged["coverage_at_0.93"] == next(row.coverage for row in EVALUATION.coverage if row.threshold == 0.93)
    for name, figures in EVALUATION.classes.items():
        assert logged[f"{name}/recall"] == figures.recall


def archive(folder: Path, address: str, run_id: str) -> Path:
    note = folder / RUN_FILE
    note.write_text(json.dumps({"run_id": run_id, "address": address}), encoding="utf-8")
    path = folder / "model.tar.gz"
    with tarfile.open(path, "w:gz") as opened:
        opened.add(note, arcname=f"./{RUN_FILE}")
    return path


@pytest.mark.parametrize("content", [b"not JSON", b"[]", b"{}", b'{"address": "http://one"}', None])
def test_an_archive_with_a_damaged_note_costs_the_evaluation_nothing(tmp_path: Path, content: bytes | None) -> None:
    path = archive(tmp_path, "http://one", "run-1")
    if content is None:
        path.write_bytes(path.read_bytes()[:60])
    else:
        with tarfile.open(path, "w:gz") as opened:
            note = tarfile.TarInfo(RUN_FILE)
            note.size = len(content)
            opened.addfile(note, io.BytesIO(content))
    assert trained_in(path, {ADDRESS: "http://one"}) == ""


def test_the_evaluation_finds_the_run_of_the_training_in_the_archive_of_the_same_server(tmp_path: Path) -> None:
    path = archive(tmp_path, "http://one", "run-1")
    assert trained_in(path, {ADDRESS: "http://one"}) == "run-1"
    assert trained_in(path, {ADDRESS: "http://two"}) == ""
    assert trained_in(path, {}) == ""
    assert trained_in(tmp_path / "missing.tar.gz", {ADDRESS: "http://one"}) == ""


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """MLflow's own server on a database in that folder, which hands files out and takes them in."""
    port, files = free_port(), (folder / "served").as_uri()
    store = ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--artifacts-destination", files]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen([*command, *store], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
                assert answer.status == 200
                break
            assert server.poll() is None
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def mlflow() -> Any:
    """MLflow's own client; no part of the environment for checks, since it is large."""
    return pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")


@pytest.mark.filterwarnings("ignore")  # MLflow's and its libraries' own
def test_a_server_that_cannot_be_reached_costs_a_job_one_line(mlflow: Any, capfd: pytest.CaptureFixture[str]) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    with tracked_run({ADDRESS: address}, "training") as run:
        run.parameters({"seed": 1})
        run.metrics([TrackedMetric("loss", 0.5)])
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("mlflow: ")]
    assert len(lines) == 1 and lines[0].startswith(f"mlflow: {address} cannot be logged to, the job goes on without: ")


@pytest.mark.filterwarnings("ignore")  # MLflow's and its libraries' own
@pytest.mark.slow
def test_what_was_logged_is_read_back_with_mlflows_client(
    mlflow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"sqlite:///{tmp_path / 'made' / 'mlflow.db'}"
    environment = {ADDRESS: address, "MLFLOW_EXPERIMENT_NAME": "scones-test", "TRAINING_JOB_NAME": "train-7"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    model, output = tmp_path / "model", tmp_path / "output"
    for folder in (model, output):
        folder.mkdir()
    with tracked_run(environment, "training") as run:
        run.parameters({"seed": 3, "long": "x" * 5000})
        run.metrics([*epoch_metrics(RECORD.history), *score_metrics(RECORD), TrackedMetric("schön, (1)", 1.0)])
        run.note(model)
    (output / EVALUATION_FILE).write_text("{}", encoding="utf-8")
    path = archive(model, address, json.loads((model / RUN_FILE).read_text())["run_id"])
    log_evaluation(EVALUATION, output, path)
    with pytest.raises(ValueError, match="diverged"), tracked_run(environment, "training"):
        raise ValueError("diverged")

    client = mlflow.MlflowClient(address)
    experiment = client.get_experiment_by_name("scones-test")
    failed, done = client.search_runs([experiment.experiment_id], order_by=["status"])
    assert (failed.info.status, done.info.status, done.info.run_name) == ("FAILED", "FINISHED", "train-7")
    assert done.data.params["seed"] == "3"
    assert done.data.metrics["test_accuracy"] == EVALUATION.multiclass_classification_metrics.accuracy.value
    epochs = client.get_metric_history(done.info.run_id, "validation_accuracy")
    assert sorted({each.step for each in epochs}) == sorted({row.epoch for row in RECORD.history})
    for folder, name in (("evaluation", EVALUATION_FILE), ("model", "model.tar.gz")):
        assert [each.path for each in client.list_artifacts(done.info.run_id, folder)] == [f"{folder}/{name}"]


@pytest.mark.filterwarnings("ignore")  # MLflow's and its libraries' own
@pytest.mark.slow
@pytest.mark.parametrize("arn", ["", "mlflow-tracking-server/team", "mlflow-app/app-1"])
def test_a_server_gets_the_run_and_its_files(
    mlflow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arn: str
) -> None:
    """With an ARN through SageMaker's plugin, whose requests are signed and sent where its variable says."""
    with mlflow_server(tmp_path) as url:
        address = f"arn:aws:sagemaker:us-east-1:123456789012:{arn}" if arn else url
        environment = {ADDRESS: address, "SCONES_MLFLOW_ARTIFACTS": (tmp_path / "bucket").as_uri()}
        told = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT": url}
        for name, value in {**environment, **told, "AWS_DEFAULT_REGION": "us-east-1"}.items():
            monkeypatch.setenv(name, value)
        environment["MLFLOW_EXPERIMENT_NAME"] = "scones-test"
        note = tmp_path / "note.txt"
        note.write_text("seen", encoding="utf-8")
        with tracked_run(environment, "training") as run:
            run.parameters({"seed": 3})
            run.metrics([TrackedMetric("train_loss", 0.5, 1), TrackedMetric("train_loss", 0.25, 2)])
            run.files([note], "evaluation")
        client = mlflow.MlflowClient(url)
        (done,) = client.search_runs([client.get_experiment_by_name("scones-test").experiment_id])
        assert (done.info.status, done.data.params["seed"]) == ("FINISHED", "3")
        assert [each.value for each in client.get_metric_history(done.info.run_id, "train_loss")] == [0.5, 0.25]
        kept = tmp_path / ("bucket" if arn else "served")
        assert [path.read_text() for path in kept.rglob("note.txt")] == ["seen"]
