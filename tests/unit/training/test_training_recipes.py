"""The recipes on a handful of real images: pretrained weights, interruptions, and datasets one cannot learn from."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from imaging.dataset import load_split
from processing import filter_cifar
from tests.places import ROOT
from tests.realdata import cifar_archive
from training import member, train
from training.job import read_result
from training.networks.backbone import Pretrained, create
from training.networks.network import Resize, to_tensors
from training.recipes import blend
from training.recipes.pretrained import pixels


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen training and ten validation images."""
    folder = tmp_path_factory.mktemp("recipes") / "dataset"
    assert filter_cifar.main(["--source", str(cifar_archive()), "--output", str(folder)]) == 0
    for split, count in (("train", 16), ("validation", 10)):
        keep_rows(folder, split, lambda number, _label, count=count: number < count)
    return folder


def keep_rows(folder: Path, split: str, wanted: object) -> None:
    """Leave only some rows of a split's list."""
    assert callable(wanted)
    path = folder / f"{split}.lst"
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join(row for number, row in enumerate(rows) if wanted(number, int(row.split("\t")[1]))))


def main(dataset: Path, folder: Path, *more: str) -> int:
    places = ["--dataset", str(dataset), "--model-dir", str(folder / "model"), "--output-dir", str(folder / "output")]
    return train.main([*places, *more])


def member_arguments(dataset: Path, folder: Path, task: str) -> list[str]:
    """One process of three epochs, with its checkpoint in the folder."""
    places = [
        "--dataset",
        str(dataset),
        "--output",
        str(folder / "result.pt"),
        "--checkpoint",
        str(folder / "state.pt"),
    ]
    return [*places, "--task", task, "--epochs", "3", "--seed", "1", "--member", "0"]


def start_member(dataset: Path, folder: Path, task: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "training.member", *member_arguments(dataset, folder, task)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_the_weights_know_bicycles_from_motorcycles_before_any_training(dataset: Path) -> None:
    images, labels = (tensor[:40] for tensor in to_tensors(*load_split(dataset, "test")))
    with torch.inference_mode():
        scores = create(Pretrained())(Resize(128, 32)(pixels(images)))
    bicycles, motorcycles = scores[:, [444, 671]].amax(dim=1), scores[:, [665, 670]].amax(dim=1)
    assert ((motorcycles > bicycles) == (labels == 1)).double().mean() > 0.75


@pytest.mark.parametrize("task", ["scratch", pytest.param("fine-tuned", marks=pytest.mark.slow)])
def test_a_killed_training_goes_on_and_ends_with_the_same_weights(dataset: Path, tmp_path: Path, task: str) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    with start_member(dataset, whole, task) as uninterrupted:
        uninterrupted.communicate()
    with start_member(dataset, cut, task) as interrupted:
        assert interrupted.stdout is not None
        lines = [interrupted.stdout.readline() for _ in range(2)]
        interrupted.kill()
    assert [line.split()[0] for line in lines] == ["epoch=1/3", "epoch=2/3"]
    with start_member(dataset, cut, task) as resumed:
        output, _ = resumed.communicate()
    assert output.startswith("member=0 goes on after ")
    assert "epoch=1/3" not in output
    results = [read_result(folder / "result.pt") for folder in (whole, cut)]
    assert results[0]["history"] == results[1]["history"]
    assert set(results[0]["tensors"]) == set(results[1]["tensors"])
    for name, tensor in results[0]["tensors"].items():
        assert torch.equal(tensor, results[1]["tensors"][name]), name


def test_the_members_end_with_a_training_that_is_killed(dataset: Path, tmp_path: Path) -> None:
    places = ["--dataset", str(dataset), "--model-dir", str(tmp_path / "model"), "--output-dir", str(tmp_path)]
    command = [sys.executable, "training/train.py", *places, "--epochs", "1000000"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        started: set[str] = set()
        while started != {"member=0", "member=1"}:
            started.add(training.stdout.readline().split()[1])
        training.kill()
        for _line in training.stdout:  # ends when the last process that prints here is gone
            pass
    assert training.returncode == -signal.SIGKILL


def test_a_line_of_progress_is_written_at_once() -> None:
    """Members share a pipe, and containers run Python unbuffered: in two pieces, lines would run into each other."""
    row = "dict(epoch=1, member=0, train_loss=0.5, train_accuracy=0.5, validation_loss=0.5, validation_accuracy=0.5)"
    reading, writing = os.pipe2(os.O_DIRECT)  # a read gives what one write gave
    try:
        command = [sys.executable, "-u", "-c", f"from training.loop import print_epoch; print_epoch({row}, 2)"]
        subprocess.run(command, cwd=ROOT, stdout=writing, check=True)
        assert os.read(reading, 4096).decode().endswith("validation_accuracy=0.5000\n")
    finally:
        os.close(reading)
        os.close(writing)


def test_a_foreign_or_broken_checkpoint_is_left_alone_and_named(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = member_arguments(dataset, tmp_path, "scratch")
    assert member.main(arguments) == 0
    capsys.readouterr()
    assert member.main([*arguments, "--learning-rate", "0.01"]) == 0
    output = capsys.readouterr().out
    assert output.startswith(f"checkpoint {tmp_path / 'state.pt'} is ignored")
    assert "another configuration or dataset" in output
    assert "epoch=1/3" in output
    (tmp_path / "state.pt").write_bytes(b"half a file")
    assert member.main(arguments) == 0
    assert "cannot be read" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize(
    "mode", [*(pytest.param(mode, marks=pytest.mark.slow) for mode in ("distilled", "fine-tuned")), "frozen"]
)
def test_a_pretrained_model_is_exported_with_its_history(dataset: Path, tmp_path: Path, mode: str) -> None:
    options = ["--recipe", "pretrained", "--pretrained-mode", mode, "--members", "1", "--epochs", "1"]
    assert main(dataset, tmp_path, *options) == 0
    record = json.loads((tmp_path / "model" / "training.json").read_text())
    assert record["recipe"].startswith(f"pretrained {mode}")
    assert [set(row) for row in record["history"]] == [
        {"member", "epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"}
    ]
    assert record["cpu_seconds"] > sum(record["process_cpu_seconds"]) > 0
    assert 0.1 < record["temperature"] < 10


@pytest.mark.parametrize(
    ("network", "size", "installed", "expected"),
    [
        (Pretrained(), 32, True, "tf_efficientnet_lite2"),
        (Pretrained(), 32, False, "tf_efficientnet_lite0"),
        (Pretrained(), 224, True, "tf_efficientnet_lite0"),
        (Pretrained("tf_efficientnet_lite1"), 32, True, "tf_efficientnet_lite1"),
        (Pretrained(weights="s3://bucket/own.safetensors"), 32, True, "tf_efficientnet_lite0"),
    ],
)
def test_a_larger_network_stands_beside_the_one_that_is_tuned_where_it_was_measured(
    network: Pretrained, size: int, installed: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blend, "is_installed", lambda _: installed)
    found = blend.beside(network, size)
    assert found.network.name == expected
    assert found.share == (0.3 if found.network == network else 0.5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("train", lambda _number, label: label == 0), "class motorcycle has 0 train images, at least 5 are needed"),
        (("train", lambda number, label: label == 0 or number < 5), "class motorcycle has 2 train images"),
        (("validation", lambda _number, label: label == 1), "class bicycle has 0 validation images"),
        (("validation", lambda _number, _label: False), "validation.lst is empty: the validation split has no image"),
    ],
)
def test_a_dataset_one_cannot_learn_from_is_refused_in_one_line(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: tuple[str, object], message: str
) -> None:
    split, wanted = rows
    folder = tmp_path / "dataset"
    shutil.copytree(dataset, folder, copy_function=os.link)
    (folder / f"{split}.lst").unlink()
    shutil.copyfile(dataset / f"{split}.lst", folder / f"{split}.lst")
    keep_rows(folder, split, wanted)
    assert main(folder, tmp_path) == 1
    failure = (tmp_path / "output" / "failure").read_text()
    assert message in failure
    assert capsys.readouterr().err == f"train: {failure}\n"
    assert not (tmp_path / "model").exists()


def test_a_dataset_of_one_class_is_refused(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    shutil.copytree(dataset, folder)
    manifest = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**manifest, "classes": ["bicycle"]}))
    assert main(folder, tmp_path) == 1
    assert "at least two classes" in (tmp_path / "output" / "failure").read_text()
