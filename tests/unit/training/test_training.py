"""Training, calibration and export; one epoch each, on the real images where it matters that they are real."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from monitoring.store.novelty import NoveltyModel
from processing import filter_cifar
from reporting.documents.json import from_bytes
from reporting.documents.training import TrainingRecord
from serving.inference import identify, model_fn, predict_fn
from tests.places import ROOT
from tests.realdata import cifar_archive
from training import train
from training.calibration import fit_temperature
from training.export.archive import ExampleImages, write_model
from training.export.onnx_file import write_onnx
from training.export.quantise import Int8Trial
from training.loop import TrainingError
from training.networks.augment import alternating_flip, mixed, random_cutout, random_shift
from training.networks.network import Ensemble, Network, normalise
from training.novelty import Seen, WithFeatures, look_at

SAMPLES = ROOT / "tests" / "samples"
RECORD = from_bytes((SAMPLES / "training.json").read_bytes(), TrainingRecord)
METRIC = (
    r"epoch=1/1 member=0 train_loss=[0-9.]+ validation_loss=[0-9.]+ train_accuracy=[0-9.]+ validation_accuracy=[0-9.]+"
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset of real images: the classes' 60 training images each make an epoch cheap."""
    folder = tmp_path_factory.mktemp("training") / "dataset"
    assert filter_cifar.main(["--source", str(cifar_archive()), "--output", str(folder)]) == 0
    for split, count in (("train", 120), ("validation", 40)):
        rows = (folder / f"{split}.lst").read_text().splitlines(keepends=True)
        (folder / f"{split}.lst").write_text("".join(rows[:count]))
    return folder


def arguments(dataset: Path, folder: Path, *more: str) -> list[str]:
    places = ["--dataset", str(dataset), "--model-dir", str(folder / "model"), "--output-dir", str(folder / "output")]
    return [*places, "--epochs", "1", "--members", "1", *more]


def test_the_script_runs_as_sagemaker_starts_it(dataset: Path, tmp_path: Path) -> None:
    """`python training/train.py` with the code root as working folder and on PYTHONPATH; the rest from SM_*."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SM_CHANNEL_DATASET": str(dataset)}
    environment |= {"SM_MODEL_DIR": str(tmp_path / "model"), "SM_OUTPUT_DIR": str(tmp_path / "output")}
    command = [sys.executable, "-W", "error", "training/train.py", "--epochs", "1", "--seed", "5", "--members", "2"]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    model = tmp_path / "model"
    assert sorted(path.name for path in model.iterdir()) == ["code", "labels.json", "model.onnx", "training.json"]
    assert not (tmp_path / "output").exists()
    lines = [line for line in result.stdout.splitlines() if line.startswith("epoch=")]
    assert sorted(line.split()[1] for line in lines) == ["member=0", "member=1"]
    record = json.loads((model / "training.json").read_text())
    sample = json.loads((SAMPLES / "training.json").read_text())
    assert {key: set(value) for key, value in record.items() if isinstance(value, dict)} == {
        key: set(value) for key, value in sample.items() if isinstance(value, dict)
    }
    assert set(record) == set(sample)
    assert record["arguments"]["seed"] == 5


def test_the_model_archive_serves_itself(dataset: Path, tmp_path: Path) -> None:
    """Its code/ alone is enough: run outside the repository, as the hosting container does."""
    assert train.main(arguments(dataset, tmp_path)) == 0
    script = (
        "import sys, inference, pathlib\n"
        "model = inference.model_fn(sys.argv[1])\n"
        "data = inference.input_fn(pathlib.Path(sys.argv[2]).read_bytes(), 'image/png')\n"
        "print(inference.__file__, inference.output_fn(inference.predict_fn(data, model), 'application/json'))\n"
    )
    image = next((dataset / "test").iterdir())
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "model" / "code")}
    command = [sys.executable, "-c", script, str(tmp_path / "model"), str(image)]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    where, answer = result.stdout.split(maxsplit=1)
    assert where == str(tmp_path / "model" / "code" / "inference.py")
    assert not (tmp_path / "model" / "code" / "imaging" / "dataset.py").exists(), "it needs what is not in the archive"
    assert sum(json.loads(answer)) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model_and_another_seed_another(dataset: Path, tmp_path: Path) -> None:
    for name, seed in (("one", "0"), ("two", "0"), ("three", "1")):
        assert train.main(arguments(dataset, tmp_path / name, "--seed", seed)) == 0
    models = [(tmp_path / name / "model" / "model.onnx").read_bytes() for name in ("one", "two", "three")]
    assert models[0] == models[1]
    assert models[0] != models[2]


def test_a_diverging_loss_ends_the_job_with_the_reason(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(arguments(dataset, tmp_path, "--learning-rate", "1e30")) == 1
    failure = (tmp_path / "output" / "failure").read_text()
    assert "loss became nan" in failure
    assert "lower --learning-rate" in failure
    assert failure in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_a_missing_dataset_ends_the_job_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(arguments(tmp_path / "nowhere", tmp_path)) == 1
    assert "dataset.json is missing" in (tmp_path / "output" / "failure").read_text()
    assert capsys.readouterr().err.count("\n") == 1


def test_a_negative_number_of_epochs_is_refused() -> None:
    with pytest.raises(SystemExit) as stopped:
        train.main(["--epochs", "-1"])
    assert stopped.value.code == 2


def untrained(members: int = 2, size: int = 32) -> Ensemble:
    torch.manual_seed(0)
    return Ensemble([Network(2) for _ in range(members)], size, temperature=0.8).eval()


def random_images(count: int, size: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def seen(model: Ensemble, images: torch.Tensor) -> Seen:
    """What it makes of training images."""
    return look_at(model, 2, validation=images[:1], train=images).trained_on


def test_what_is_exported_keeps_no_maps_for_a_gradient(tmp_path: Path) -> None:
    network = WithFeatures(untrained(), 2)
    outputs = ["probabilities", "features"]
    write_onnx(network, random_images(2), tmp_path / "model.onnx", outputs, dict.fromkeys(["images", *outputs], 0))
    assert [each.requires_grad for seen in network._seen.values() for each in seen] == [False] * 2


@pytest.mark.parametrize("size", [32, 50, 150])
def test_the_exported_model_agrees_with_torch_on_any_number_of_images(tmp_path: Path, size: int) -> None:
    ensemble, images = untrained(size=size), random_images(9, size)
    write_model(ensemble, ["a", "b"], RECORD, ExampleImages(images, seen(ensemble, random_images(40, size))), tmp_path)
    served = predict_fn(images.numpy(), model_fn(str(tmp_path)))
    with torch.inference_mode():
        assert np.abs(served - ensemble(images).numpy()).max() < 1e-5
    assert np.allclose(served.sum(axis=1), 1.0, atol=1e-5)


def test_the_exported_model_says_how_far_an_image_is_from_the_training_images(tmp_path: Path) -> None:
    trained_on = random_images(60)
    write_model(
        untrained(), ["a", "b"], RECORD, ExampleImages(random_images(4), seen(untrained(), trained_on)), tmp_path
    )
    novelty = NoveltyModel.of(tmp_path / "model.onnx")
    assert novelty is not None
    flat = torch.full((3, 32, 32, 3), 200, dtype=torch.uint8)
    own, other = novelty(trained_on.numpy()), novelty(flat.numpy())
    assert own.shape == (60,)
    assert 0.2 < np.median(own) < 2.0
    assert other.min() > 3 * own.max()
    # Each image by itself, whatever stands beside it.
    assert novelty(np.concatenate([flat.numpy(), trained_on.numpy()]))[3:] == pytest.approx(own, rel=1e-3)


@pytest.mark.parametrize("images", [1, 2, 5])
def test_a_few_training_images_are_enough_to_measure_from(tmp_path: Path, images: int) -> None:
    write_model(
        untrained(),
        ["a", "b"],
        RECORD,
        ExampleImages(random_images(4), seen(untrained(), random_images(images))),
        tmp_path,
    )
    novelty = NoveltyModel.of(tmp_path / "model.onnx")
    assert novelty is not None
    assert np.isfinite(novelty(random_images(8).numpy())).all()


def test_a_mirrored_image_gets_the_same_answer_of_a_single_network() -> None:
    images = random_images(4)
    with torch.inference_mode():
        assert torch.allclose(untrained(members=1)(images), untrained(members=1)(images.flip(2)), atol=1e-6)


def test_a_model_that_cannot_be_trusted_is_not_written(tmp_path: Path) -> None:
    ensemble = untrained()
    ensemble.temperature = math.nan
    with pytest.raises(TrainingError, match="differs from torch"):
        write_model(
            ensemble,
            ["a", "b"],
            RECORD,
            ExampleImages(random_images(4), seen(ensemble, random_images(9))),
            tmp_path,
        )
    assert not list(tmp_path.iterdir())


def test_an_int8_model_is_served_as_one_and_one_that_lost_accuracy_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused where float32 is said to have been right about what this network gets wrong."""
    ensemble, images = untrained(members=1), random_images(200)
    with torch.inference_mode():
        said = ensemble(images).argmax(dim=1)
    examples = ExampleImages(images[:4], seen(ensemble, images[:40]))
    for folder, predicted in (("refused", 1 - said), ("taken", said)):
        trial = Int8Trial(images, images, predicted, labels=1 - said)
        write_model(ensemble, ["a", "b"], RECORD, dataclasses.replace(examples, trial=trial), tmp_path / folder)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("int8 is refused and the model stays float32: ")
    assert lines[0].endswith(" of 200 held-out images right, float32 100.00%, and at most 0.3% may be lost")
    assert lines[1].startswith("precision=int8: ")
    for folder, precision in (("refused", "float32"), ("taken", "int8")):
        record = json.loads((tmp_path / folder / "training.json").read_text())
        assert (record["precision"], record["int8"]["taken"]) == (precision, precision == "int8")
        assert record["int8"]["float32_accuracy"] == (precision == "float32")
        assert identify(str(tmp_path / folder)).precision == precision
    refused, taken = (model_fn(str(tmp_path / folder)) for folder in ("refused", "taken"))
    assert np.abs(predict_fn(images.numpy(), refused) - predict_fn(images.numpy(), taken)).max() < 0.05
    sizes = [(tmp_path / folder / "model.onnx").stat().st_size for folder in ("refused", "taken")]
    assert sizes[1] < sizes[0] / 2


def test_whitening_decorrelates_the_patches() -> None:
    images = normalise(random_images(50))
    network = Network(2)
    network.set_whitening(images)
    responses = network.whitening(images)[:, :12].transpose(0, 1).reshape(12, -1)
    covariance = responses @ responses.T / responses.shape[1]
    assert torch.allclose(covariance, torch.eye(12), atol=0.02)
    assert not network.whitening.weight.requires_grad


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 2.0])
def test_the_fitted_temperature_is_the_true_one(true_temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = 3 * torch.randn(5000, 2, generator=generator)
    labels = torch.multinomial(torch.softmax(scores, dim=1), 1, generator=generator).squeeze(1)
    assert fit_temperature(scores * true_temperature, labels) == pytest.approx(true_temperature, rel=0.1)


def test_perfect_validation_answers_do_not_make_the_model_certain() -> None:
    logits = torch.tensor([[2.0, -2.0]] * 100)
    assert fit_temperature(logits, torch.zeros(100, dtype=torch.int64)) > 0.15


def test_mixed_images_and_what_they_show_are_mixed_by_one_share() -> None:
    classes = torch.eye(5)
    images = classes.view(5, 1, 1, 5).expand(5, 3, 4, 5)
    shown, targets = mixed(images, classes, 0.2, torch.Generator().manual_seed(3))
    assert torch.equal(shown[:, 0, 0], targets)
    assert torch.allclose(targets.sum(dim=1), torch.ones(5))
    again, _ = mixed(images, classes, 0.2, torch.Generator().manual_seed(3))
    assert torch.equal(shown, again)


def test_augmentation_flips_every_image_every_second_epoch_and_keeps_the_shape() -> None:
    images = normalise(random_images(8))
    first = torch.tensor([True, False] * 4)
    even, odd = (alternating_flip(images, first, epoch) for epoch in (0, 1))
    assert torch.equal(even.flip(3), odd)
    generator = torch.Generator().manual_seed(0)
    changed = random_cutout(random_shift(images, generator), generator)
    assert changed.shape == images.shape
    assert ((changed == 0).all(dim=1).sum(dim=(1, 2)) >= 64).all()


def test_progress_lines_are_what_metric_definitions_read(dataset: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "training.member",
        "--dataset",
        str(dataset),
        "--output",
        str(tmp_path / "weights"),
    ]
    command += ["--epochs", "1", "--seed", "0", "--member", "0"]
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    assert re.fullmatch(METRIC, result.stdout.strip())
