"""What a training computes on: the choice, bfloat16, processes that load, and what is said when memory is lacking."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from imaging.decode import encode_png
from processing import filter_cifar
from tests.places import ROOT
from tests.realdata import cifar_archive
from tests.unit.training.test_training_recipes import keep_rows
from training import member
from training.device import CPU, Device
from training.images import open_split
from training.job import read_result
from training.loop import TrainingError
from training.networks.photo_views import PlannedBatch, loaded_views

NOT_THERE = 2**60  # bytes


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen training and eight validation thumbnails."""
    folder = tmp_path_factory.mktemp("device") / "dataset"
    assert filter_cifar.main(["--source", str(cifar_archive()), "--output", str(folder)]) == 0
    for split, count in (("train", 16), ("validation", 8)):
        keep_rows(folder, split, lambda number, _label, count=count: number < count)
    return folder


def arguments(dataset: Path, output: Path, *more: str) -> list[str]:
    places = ["--dataset", str(dataset), "--output", str(output), "--task", "fine-tuned"]
    return [*places, "--seed", "0", "--member", "0", "--epochs", "1", *more]


def test_bfloat16_learns_what_float32_learns_but_for_its_rounding(dataset: Path, tmp_path: Path) -> None:
    results = []
    for device in ("cpu", "cpu-bf16"):
        output = tmp_path / f"{device}.pt"
        assert member.main(arguments(dataset, output, "--network-side", "64", "--device", device)) == 0
        results.append(read_result(output))
    losses = [result["history"][0]["validation_loss"] for result in results]  # after the one step
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)
    assert {tensor.dtype for tensor in results[1]["tensors"].values() if tensor.is_floating_point()} == {torch.float32}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_the_choice_is_the_processor_where_there_is_no_gpu(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert Device.chosen() == CPU
    assert member.main(arguments(tmp_path, tmp_path / "result.pt", "--device", "cuda")) == 1
    assert "--device cuda: this machine has no GPU that torch can use; take auto or cpu" in capsys.readouterr().err


@pytest.mark.parametrize(
    "allocate",
    [lambda: torch.empty(NOT_THERE, dtype=torch.uint8), lambda: np.ones(NOT_THERE, dtype=np.uint8)],
    ids=["torch", "numpy"],
)
@pytest.mark.parametrize(("batch_size", "advice"), [(32, "try --batch-size 16"), (0, "try a smaller --network-side")])
def test_a_lack_of_memory_is_one_line_with_what_to_try(
    allocate: Callable[[], object], batch_size: int, advice: str
) -> None:
    with pytest.raises(TrainingError, match=f"out of memory on cpu: .*{advice}"), CPU.memory(batch_size):
        allocate()


def test_what_a_gpu_says_of_its_memory_is_known_and_other_errors_stay_what_they_are() -> None:
    with pytest.raises(TrainingError, match="try --batch-size 32"), Device("cuda").memory(64):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    with pytest.raises(RuntimeError, match="must match"), CPU.memory(64):
        torch.ones(2) + torch.ones(3)


@pytest.mark.slow
def test_a_training_with_too_little_memory_ends_with_the_batch_to_try(dataset: Path, tmp_path: Path) -> None:
    """The process may have less than four gigabytes of addresses; the first batch's maps alone would need more."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))

    options = arguments(dataset, tmp_path / "result.pt", "--network-side", "2048", "--batch-size", "16")
    command = [sys.executable, "-m", "training.member", *options]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,  # one thread
    )
    reason = "out of memory on cpu: the batch has 16 images, try --batch-size 8"
    assert (ended.returncode, ended.stderr) == (1, f"member 0: {reason}\n")


def test_processes_that_load_change_nothing_of_what_is_seen(tmp_path: Path) -> None:
    folder = photographs(tmp_path)
    images, _ = open_split(folder, "train")
    plans = [PlannedBatch(torch.arange(number, 8, 2), 64, seed=number) for number in range(2)]
    alone, loaded = (list(loaded_views(images, plans, loaders)) for loaders in (0, 2))
    assert [tuple(views.shape) for views in alone] == [(4, 64, 64, 3)] * 2
    assert all(torch.equal(own, other) for own, other in zip(alone, loaded, strict=True))


def photographs(folder: Path) -> Path:
    """A dataset folder of generated pictures of 80 pixels: more than thumbnails."""
    generator = np.random.default_rng(0)
    for label in ("a", "b"):
        for number in range(16):
            path = folder / "pictures" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(generator.integers(0, 256, (90, 100, 3), dtype=np.uint8)))
    options = ["--source", str(folder / "pictures"), "--output", str(folder / "dataset"), "--image-size", "80"]
    assert filter_cifar.main(options) == 0
    return folder / "dataset"
