"""The table of hyperparameters: what a job may be given arrives, and what a recipe has no use for is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from reporting.documents.training import TrainingArguments
from scones.stage.sections import HYPERPARAMETERS
from tests.places import ROOT
from training import hyperparameters, train
from training.hyperparameters import (
    ADJUSTABLE,
    FINE_TUNED,
    FINE_TUNED_PHOTOGRAPHS,
    TABLE,
    HyperparameterError,
    resolve,
)

KEY = "from training.checkpoint import checkpoint_key; print(checkpoint_key({}, [], []))"


def test_a_stage_may_set_what_a_job_takes() -> None:
    assert HYPERPARAMETERS == ADJUSTABLE


def test_the_record_names_all_that_a_job_takes() -> None:
    network = ("backbone", "backbone_weights", "precision")
    assert TrainingArguments.__struct_fields__ == ("recipe", "pretrained_mode", "seed", *ADJUSTABLE, *network)


@pytest.mark.parametrize("task", ["scratch", "fine-tuned", "frozen", "student"])
def test_what_is_given_is_taken_and_the_rest_is_the_recipes_own(task: str) -> None:
    own = TABLE[task]
    for name in ADJUSTABLE:
        if getattr(own, name):
            changed = resolve(task, {name: 64})
            assert getattr(changed, name) == 64
            assert all(getattr(changed, other) == getattr(own, other) for other in ADJUSTABLE if other != name)


@pytest.mark.parametrize(
    ("task", "name"), [("scratch", "network_side"), ("frozen", "learning_rate"), ("frozen", "batch_size")]
)
def test_what_a_recipe_has_no_use_for_is_refused(task: str, name: str) -> None:
    with pytest.raises(HyperparameterError, match=rf"--{name.replace('_', '-')} means nothing to .* {task}"):
        resolve(task, {name: 64})


def test_photographs_have_hyperparameters_of_their_own() -> None:
    assert resolve("fine-tuned", {}, 32) == FINE_TUNED
    photographs = resolve("fine-tuned", {"epochs": 3}, 224)
    assert photographs == replace(FINE_TUNED_PHOTOGRAPHS, epochs=3, network_side=224)
    assert (FINE_TUNED.served_side, photographs.served_side) == (128, 256)


def test_the_early_side_follows_the_side() -> None:
    assert FINE_TUNED.early_side == 96
    assert resolve("fine-tuned", {"network_side": 256}).early_side == 192
    assert resolve("fine-tuned", {"network_side": 32}).early_side == 32


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--network-side", "100"], "--network-side must be a multiple of 32, got 100"),
        (["--penalty", "-1"], "--penalty must not be negative, got -1.0"),
        (["--learning-rate", "nan"], "--learning-rate must not be negative, got nan"),
    ],
)
def test_a_value_that_cannot_be_is_one_line(
    option: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train.main(option)
    assert capsys.readouterr().err.strip().endswith(message)


def test_a_checkpoint_of_other_code_is_another_one(tmp_path: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "training", tmp_path / "training", ignore=ignore)
    before = _key(tmp_path)
    recipe = tmp_path / "training" / "recipes" / "scratch.py"
    recipe.write_text(recipe.read_text(encoding="utf-8") + "# other code\n", encoding="utf-8")
    assert _key(tmp_path) != before
    assert Path(hyperparameters.__file__).is_relative_to(ROOT)


def _key(folder: Path) -> str:
    finished = subprocess.run([sys.executable, "-c", KEY], cwd=folder, capture_output=True, text=True, check=True)
    return finished.stdout


@pytest.mark.parametrize(
    ("image_size", "adjusted", "side"), [(32, {}, 160), (224, {}, 224), (200, {}, 192), (224, {"network_side": 96}, 96)]
)
def test_a_network_sees_photographs_at_their_own_size(image_size: int, adjusted: dict[str, int], side: int) -> None:
    assert resolve("frozen", {**adjusted}, image_size).network_side == side
    assert resolve("scratch", {}, image_size).network_side == 0
