"""The stand-in for SageMaker's built-in image classification: what it refuses, and what it makes of four channels."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from imaging.dataset import load_split, read_manifest
from training import built_in

GOOD = {"num_classes": "2", "num_training_samples": "4", "epochs": "1", "image_shape": "3,32,32"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The /opt/ml of a job: two classes, two training images each and one to validate."""
    (tmp_path / "input/config").mkdir(parents=True)
    give(tmp_path, GOOD)
    for split, names in {"train": ("a0", "a1", "b0", "b1"), "validation": ("a2", "b2")}.items():
        images, lists = tmp_path / "input/data" / split, tmp_path / f"input/data/{split}_lst"
        images.mkdir(parents=True)
        lists.mkdir()
        rows = [f"{index}\t{int(name[0] == 'b')}\t{name}.png\n" for index, name in enumerate(names)]
        (lists / f"{split}.lst").write_text("".join(rows), encoding="utf-8")
        for name in names:
            write_picture(images / f"{name}.png")
    return tmp_path


def write_picture(path: Path) -> None:
    Image.new("RGB", (32, 32), (len(path.stem), ord(path.stem[0]), 7)).save(path)


def give(root: Path, parameters: dict[str, str]) -> None:
    (root / "input/config/hyperparameters.json").write_text(json.dumps(parameters), encoding="utf-8")


def failure(root: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert built_in.main(["--root", str(root)]) == 1
    reason = (root / "output/failure").read_text(encoding="utf-8")
    assert reason.removeprefix("ClientError: ") in capsys.readouterr().err
    return reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": None}, "the hyperparameters lack num_classes"),
        ({"colour": "red"}, r"additional hyperparameters are not allowed \(colour\)"),
        ({"epochs": "0"}, "epochs must be a positive integer, got '0'"),
        ({"num_training_samples": "many"}, "num_training_samples must be a positive integer, got 'many'"),
        ({"use_pretrained_model": "yes"}, "use_pretrained_model must be 0 or 1, got 'yes'"),
        ({"num_classes": "1"}, "train.lst: expected index, label below 1"),
    ],
)
def test_wrong_hyperparameters_are_the_clients_error(
    root: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str | None], message: str
) -> None:
    give(root, {k: v for k, v in {**GOOD, **change}.items() if v is not None})
    assert re.search(message, failure(root, capsys))


def test_a_missing_channel_is_the_clients_error(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(root / "input/data/validation_lst")
    assert "expected the channels validation with images and validation_lst" in failure(root, capsys)


def test_the_channels_become_the_dataset_that_our_training_reads(root: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    built_in.assemble_dataset(root / "input/data", dataset, GOOD)
    assert read_manifest(dataset).classes == ["0", "1"]
    images, labels = load_split(dataset, "train")
    assert images.shape == (4, 32, 32, 3)
    assert labels.tolist() == [0, 0, 1, 1]


def test_it_says_what_it_is_and_what_it_leaves_aside(capsys: pytest.CaptureFixture[str]) -> None:
    built_in.check({**GOOD, "num_layers": "18"})
    line = capsys.readouterr().out
    assert line.startswith("training.built_in stands in for SageMaker's image-classification")
    assert line.rstrip().endswith("aside: num_layers.")
