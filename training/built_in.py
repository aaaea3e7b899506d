"""Stand in for SageMaker's built-in image classification: its contract around our own training.

Runs in a training container of the stand-in account, where no image of that algorithm exists: ``python3 -m
training.built_in --root /opt/ml``. Reads ``input/config/hyperparameters.json`` and the channels ``train``,
``validation``, ``train_lst`` and ``validation_lst`` (docs.aws.amazon.com/sagemaker/latest/dg/IC-Hyperparameter.html and
image-classification.html); writes ``model``. On AWS the real algorithm runs and this file does not.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from imaging.decode import SIZES
from reporting.documents.dataset import MANIFEST_FILE, Checks, Manifest
from reporting.documents.json import to_text
from training import train

REQUIRED = ("num_classes", "num_training_samples")
USED = {*REQUIRED, "epochs", "image_shape", "use_pretrained_model"}
KNOWN = USED | {
    "augmentation_type", "beta_1", "beta_2", "checkpoint_frequency", "early_stopping", "early_stopping_min_epochs",
    "early_stopping_patience", "early_stopping_tolerance", "eps", "gamma", "image_shape", "kv_store", "learning_rate",
    "lr_scheduler_factor", "lr_scheduler_step", "mini_batch_size", "momentum", "multi_label", "num_layers", "optimizer",
    "precision_dtype", "resize", "top_k", "use_weighted_loss", "weight_decay",
}  # fmt: skip
DEFAULT_EPOCHS = 30
DEFAULT_SHAPE = "3,32,32"
SPLITS = ("train", "validation")


class TrainingRequestError(Exception):
    """The job's hyperparameters or channels are not what the algorithm takes."""


def main(argv: list[str] | None = None) -> int:
    """Train; the exit status. What is wrong with the request is left as the job's failure."""
    parser = argparse.ArgumentParser(prog="training.built_in", description="Stand in for image-classification.")
    parser.add_argument("--root", type=Path, default=Path("/opt/ml"))
    root: Path = parser.parse_args(argv).root
    try:
        parameters = json.loads((root / "input/config/hyperparameters.json").read_text(encoding="utf-8"))
        check(parameters)
        with tempfile.TemporaryDirectory() as scratch:
            dataset = Path(scratch)
            assemble_dataset(root / "input/data", dataset, parameters)
            return train.main(training_arguments(parameters, root, dataset))
    except TrainingRequestError as error:
        print(f"image-classification: {error}", file=sys.stderr)
        (root / "output").mkdir(exist_ok=True)
        (root / "output/failure").write_text(f"ClientError: {error}"[:1024], encoding="utf-8")
        return 1


def check(parameters: dict[str, str]) -> None:
    """Refuse what the algorithm refuses, and say what of the rest matters here. Raises TrainingRequestError."""
    if missing := [name for name in REQUIRED if name not in parameters]:
        raise TrainingRequestError(f"the hyperparameters lack {', '.join(missing)}, which the algorithm requires")
    if unknown := sorted(parameters.keys() - KNOWN):
        raise TrainingRequestError(f"additional hyperparameters are not allowed ({', '.join(unknown)})")
    for name in (*REQUIRED, "epochs"):
        value = parameters.get(name, "1")
        if not value.isdecimal() or int(value) < 1:
            raise TrainingRequestError(f"hyperparameter {name} must be a positive integer, got {value!r}")
    if parameters.get("use_pretrained_model", "0") not in ("0", "1"):
        raise TrainingRequestError(f"use_pretrained_model must be 0 or 1, got {parameters['use_pretrained_model']!r}")
    aside = sorted(parameters.keys() - USED)
    print(
        "training.built_in stands in for SageMaker's image-classification: it trains this project's own network, not a "
        f"ResNet. It leaves these hyperparameters aside: {', '.join(aside) or 'none'}.",
        flush=True,
    )


def training_arguments(parameters: dict[str, str], root: Path, dataset: Path) -> list[str]:
    """The command line of our training."""
    arguments = {
        "--dataset": dataset,
        "--model-dir": root / "model",
        "--output-dir": root / "output",
        "--checkpoint-dir": root / "checkpoints",
        "--recipe": "pretrained" if parameters.get("use_pretrained_model", "0") == "1" else "scratch",
        "--pretrained-mode": "distilled",  # as small as what it stands for, and with epochs
        "--epochs": parameters.get("epochs", str(DEFAULT_EPOCHS)),
    }
    return [str(word) for pair in arguments.items() for word in pair]


def assemble_dataset(channels: Path, dataset: Path, parameters: dict[str, str]) -> None:
    """Our dataset folder out of the four channels, without copying an image. Raises TrainingRequestError."""
    classes = int(parameters["num_classes"])
    counts: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        lists = sorted((channels / f"{split}_lst").glob("*.lst"))
        if not (channels / split).is_dir() or len(lists) != 1:
            raise TrainingRequestError(f"expected the channels {split} with images and {split}_lst with one .lst file")
        labels = [_label(line, lists[0].name, classes) for line in lists[0].read_text(encoding="utf-8").splitlines()]
        counts[split] = {str(label): labels.count(label) for label in range(classes)}
        (dataset / split).symlink_to(channels / split)
        shutil.copy(lists[0], dataset / f"{split}.lst")
    found, told = sum(counts["train"].values()), int(parameters["num_training_samples"])
    if found != told:
        print(f"num_training_samples is {told}, but train_lst names {found} images", flush=True)
    # The algorithm does not know what the classes are called; the model package does (SCONES_CLASSES).
    manifest = Manifest(
        classes=[str(label) for label in range(classes)],
        counts=counts,
        source_sha256="",
        seed=0,
        validation_fraction=0.0,
        digests={},
        checks=Checks(),
        image_size=_image_size(parameters.get("image_shape", DEFAULT_SHAPE)),
    )
    (dataset / MANIFEST_FILE).write_text(to_text(manifest, indent=2), encoding="utf-8")


def _image_size(shape: str) -> int:
    sides = [int(text) if text.strip().isdecimal() else 0 for text in shape.split(",")]
    if len(sides) != 3 or sides[0] != 3 or sides[1] != sides[2] or sides[1] not in SIZES:
        raise TrainingRequestError(f"hyperparameter image_shape must be 3,SIDE,SIDE, got {shape!r}")
    return sides[1]


def _label(line: str, name: str, classes: int) -> int:
    fields = line.split("\t")
    if len(fields) != 3 or not fields[1].isdecimal() or int(fields[1]) >= classes:
        raise TrainingRequestError(f"{name}: expected index, label below {classes} and path between tabs, got {line!r}")
    return int(fields[1])


if __name__ == "__main__":
    sys.exit(main())
