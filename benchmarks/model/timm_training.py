"""What timm's own parts make of the same weights and split: ``python -m benchmarks.model.timm_training --data DIR``.

Runs on a laptop. timm's wheel has no training script, so its functions are called as that script calls them
(pytorch-image-models/train.py): `create_loader` with its default augmentation, AdamW by `create_optimizer_v2`, a cosine
schedule with warm-up by `create_scheduler_v2`, label smoothing, an average of the weights, every weight trained, norms
in training mode. Images, split and ImageNet weights are those of ``benchmarks/model/accuracy.py``. One thread.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.model.accuracy import filtered
from imaging.dataset import SPLITS, read_examples, read_manifest
from training.networks.backbone import Pretrained
from training.networks.vision import timm
from training.networks.weights import INSTALLED, fitting, stored_weights

WARM_UP_EPOCHS = 1
SMOOTHING = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="photographs, as for benchmarks.model.accuracy")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--backbone", default=Pretrained.name)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory(prefix="scones-timm-") as name:
            dataset = filtered(seed, arguments.data, "", Path(name))
            folders, size = class_folders(dataset, Path(name)), read_manifest(dataset).image_size
            torch.manual_seed(seed)
            began = time.process_time()
            accuracy = train(folders, size, arguments)
            print(f"seed {seed}: accuracy {accuracy:.4f}, {time.process_time() - began:.0f} CPU s", flush=True)


def class_folders(dataset: Path, folder: Path) -> Path:
    """The dataset's images as timm reads them: ``<split>/<label>/``."""
    for split in SPLITS:
        for example in read_examples(dataset, split):
            target = folder / "folders" / split / f"{example.label:04d}" / example.path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(example.path, target)
    return folder / "folders"


def train(folders: Path, size: int, arguments: argparse.Namespace) -> float:
    """Accuracy on the test images of the averaged weights."""
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2
    from timm.utils import ModelEmaV3

    classes = len(list((folders / "train").iterdir()))
    network = timm.create_model(arguments.backbone, pretrained=False)
    pretrained = Pretrained(arguments.backbone)
    network.load_state_dict(fitting(network, stored_weights(arguments.backbone, INSTALLED), pretrained))
    network.reset_classifier(classes)
    rates = create_optimizer_v2(network, opt="adamw", lr=arguments.learning_rate, weight_decay=0.01)
    loader = batches(folders / "train", size, network, arguments.batch_size, training=True)
    schedule, epochs = create_scheduler_v2(
        rates,
        sched="cosine",
        num_epochs=arguments.epochs,
        warmup_epochs=WARM_UP_EPOCHS,
        step_on_epochs=False,
        updates_per_epoch=len(loader),
    )
    average, loss_of, steps = ModelEmaV3(network, decay=0.98), LabelSmoothingCrossEntropy(SMOOTHING), 0
    for _ in range(epochs):
        network.train()
        for images, labels in loader:
            loss = loss_of(network(images), labels)
            rates.zero_grad()
            loss.backward()
            rates.step()
            steps += 1
            average.update(network, step=steps)
            schedule.step_update(num_updates=steps)
    return tested(average.module.eval(), batches(folders / "test", size, network, arguments.batch_size, training=False))


def batches(folder: Path, size: int, network: nn.Module, batch_size: int, *, training: bool) -> Any:
    """timm's loader: in this process, so that its CPU seconds count."""
    from timm.data import create_dataset, create_loader, resolve_data_config

    found = create_dataset("", root=str(folder), split="", search_split=False, is_training=training)
    own = resolve_data_config({"input_size": (3, size, size)}, model=network)
    return create_loader(
        found,
        input_size=own["input_size"],
        batch_size=batch_size,
        is_training=training,
        interpolation=own["interpolation"],
        mean=own["mean"],
        std=own["std"],
        crop_pct=1.0,
        num_workers=0,
        persistent_workers=False,
        use_prefetcher=False,
    )


def tested(network: nn.Module, loader: Any) -> float:
    right = total = 0
    with torch.inference_mode():
        for images, labels in loader:
            right += int((network(images).argmax(dim=1) == labels).sum())
            total += len(labels)
    return right / total


if __name__ == "__main__":
    main()
