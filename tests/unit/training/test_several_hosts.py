"""Two hosts train what one trains, and say so when one is gone. Each is a process with the container's variables."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imaging.dataset import load_split
from processing import filter_cifar
from serving.inference import model_fn, predict_fn
from tests.places import ROOT
from tests.realdata import cifar_archive
from tests.unit.training.test_training_recipes import keep_rows
from training.hosts import WAIT_VARIABLE, Hosts
from training.loop import TrainingError

NAMES = ("127.0.0.1", "127.0.0.2")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty training and ten validation images."""
    folder = tmp_path_factory.mktemp("hosts") / "dataset"
    assert filter_cifar.main(["--source", str(cifar_archive()), "--output", str(folder)]) == 0
    for split, count in (("train", 20), ("validation", 10)):
        keep_rows(folder, split, lambda number, _label, count=count: number < count)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(dataset: Path, folder: Path, host: str, port: int, *options: str) -> subprocess.Popen[str]:
    places = ["--dataset", str(dataset), "--model-dir", str(folder / host), "--output-dir", str(folder / "out")]
    told = {"SM_HOSTS": json.dumps(NAMES), "SM_CURRENT_HOST": host, "MASTER_ADDR": NAMES[0], "MASTER_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, "training/train.py", *places, *options],
        cwd=ROOT,
        env={**os.environ, **told, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def alone(dataset: Path, folder: Path, *options: str) -> None:
    places = ["--dataset", str(dataset), "--model-dir", str(folder / "alone"), "--output-dir", str(folder / "out")]
    command = [sys.executable, "training/train.py", *places, *options]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["frozen", "fine-tuned"])
def test_two_hosts_train_the_model_that_one_trains(dataset: Path, tmp_path: Path, mode: str) -> None:
    options = ("--recipe", "pretrained", "--pretrained-mode", mode, "--epochs", "1")
    alone(dataset, tmp_path, *options)
    port = free_port()
    hosts = [start(dataset, tmp_path, name, port, *options) for name in NAMES]
    said = [host.communicate()[0] for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], said
    assert not (tmp_path / NAMES[1]).exists()
    assert f"{NAMES[0]} writes the model" in said[1]
    images, _ = load_split(dataset, "test")
    answers = [predict_fn(images[:20], model_fn(str(tmp_path / name))) for name in ("alone", NAMES[0])]
    # Features do not depend on whose core it was, but for rounding; fine-tuned networks see views of their own.
    assert np.abs(answers[0] - answers[1]).max() < (1e-3 if mode == "frozen" else 0.5)


@pytest.mark.slow
def test_a_host_that_dies_is_named_by_the_other(dataset: Path, tmp_path: Path) -> None:
    options = ("--recipe", "pretrained", "--pretrained-mode", "fine-tuned", "--epochs", "1000")
    port = free_port()
    first, second = (start(dataset, tmp_path, name, port, *options) for name in NAMES)
    with first, second:
        assert second.stdout is not None
        assert first.stdout is not None
        while "epoch=2/1000" not in second.stdout.readline():
            pass
        second.kill()
        said = first.stdout.read()
    assert first.returncode == 1
    assert f"host {NAMES[1]} is gone in mid-training, says {NAMES[0]}" in said


@pytest.mark.parametrize(("rank", "missing"), [(0, 1), (1, 0)])
def test_a_host_that_never_comes_is_named_after_the_wait(
    monkeypatch: pytest.MonkeyPatch, rank: int, missing: int
) -> None:
    for name, value in {"MASTER_ADDR": NAMES[0], "MASTER_PORT": str(free_port()), WAIT_VARIABLE: "0.01"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TrainingError) as stopped, Hosts(NAMES, rank).together("frozen"):
        pass
    reason = f"did not come within 0.01 minutes (SCONES_HOST_WAIT_MINUTES), says {NAMES[rank]}"
    assert str(stopped.value) == f"host {NAMES[missing]} {reason}"


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_wait_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(WAIT_VARIABLE, text)
    with pytest.raises(TrainingError, match="must be a number of minutes above 0"), Hosts(NAMES).together("frozen"):
        pass


@pytest.mark.parametrize("count", [0, 1, 7, 10])
def test_hosts_share_everything_once(count: int) -> None:
    shares = [Hosts(("a", "b", "c"), rank).share(count).tolist() for rank in range(3)]
    assert sorted(number for share in shares for number in share) == list(range(count))


def test_a_recipe_that_cannot_be_shared_is_refused_before_it_trains(dataset: Path, tmp_path: Path) -> None:
    host = start(dataset, tmp_path, NAMES[0], free_port(), "--recipe", "scratch")
    said, _ = host.communicate()
    assert host.returncode == 1
    assert "scratch trains on one instance, there are 2: set training_instances to 1" in said
