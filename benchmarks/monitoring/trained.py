"""The options that the benchmarks of monitoring share, and the model and the images that these name.

Runs on a laptop. Without ``--model`` it trains the recipe `pretrained`, frozen; without ``--dataset`` it filters the
archive below ``--data``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.model.accuracy import filtered, run

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("bicycle", "motorcycle")
FROZEN = ("pretrained", "--pretrained-mode", "frozen")


@dataclass(frozen=True)
class TrainedFolders:
    """The folder of a training job's output, the dataset folder that it was trained on, and one to work in."""

    model: Path
    dataset: Path
    scratch: Path


def archive_options(description: str | None) -> argparse.ArgumentParser:
    """A parser that knows where the images come from."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--dataset", type=Path, help="the dataset folder that was trained on (default: filter one)")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "cifar100", help="folder of the archive")
    parser.add_argument("--classes", default=",".join(CLASSES), help=argparse.SUPPRESS)
    return parser


def model_options(description: str | None) -> argparse.ArgumentParser:
    """A parser that knows a model and its images."""
    parser = archive_options(description)
    parser.add_argument("--model", type=Path, help="folder with model.onnx, labels.json and code/ (default: train one)")
    return parser


def months_options(description: str | None, months: int) -> argparse.ArgumentParser:
    """A parser that knows a model, its images, and how much healthy traffic is simulated."""
    parser = model_options(description)
    parser.add_argument("--months", type=int, default=months, help="of healthy traffic (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="side by side (default: %(default)s)")
    return parser


def dataset_of(arguments: argparse.Namespace, scratch: Path) -> Path:
    """The dataset folder that the options name, or one that is filtered for them."""
    given: Path | None = arguments.dataset
    return given or filtered(0, arguments.data, arguments.classes, scratch)


def train(dataset: Path, folder: Path, *recipe: str) -> Path:
    """Train a recipe with its options into a folder."""
    run("training/train.py", "--dataset", dataset, "--model-dir", folder, "--recipe", *recipe)
    return folder


@contextmanager
def trained(arguments: argparse.Namespace) -> Iterator[TrainedFolders]:
    """The model and the images that the options name, or a model that is trained for them."""
    with tempfile.TemporaryDirectory(prefix="scones-benchmark-") as name:
        scratch = Path(name)
        dataset = dataset_of(arguments, scratch)
        model = arguments.model or train(dataset, scratch / "model", *FROZEN)
        yield TrainedFolders(model, dataset, scratch)
