"""What a training logs to MLflow, where it logs at all: what it was told, its epochs, its scores.

Runs in the training container, inside train.py.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import fmean

from reporting.documents.training import EpochFigures, TrainingArguments, TrainingRecord
from reporting.tracking import TrackedMetric

EPOCH_FIGURES = ("train_loss", "validation_loss", "validation_accuracy")


def told(arguments: argparse.Namespace) -> dict[str, object]:
    """What the job was told, by name; 0 stands for the recipe's own number."""
    return {name: getattr(arguments, name) for name in TrainingArguments.__struct_fields__}


def found(record: TrainingRecord) -> dict[str, object]:
    """What is known of the training when it has ended: the recipe that trained, the dataset, the versions."""
    counts = {f"images_{split}": sum(classes.values()) for split, classes in record.dataset.counts.items()}
    classes = sorted({name for split in record.dataset.counts.values() for name in split})
    dataset = {"dataset_sha256": record.dataset.source_sha256, "image_size": record.dataset.image_size}
    versions = {f"version_{name}": version for name, version in record.versions.items()}
    return {"trained": record.recipe, "classes": ",".join(classes), **counts, **dataset, **versions}


def epoch_metrics(history: Sequence[EpochFigures]) -> Iterator[TrackedMetric]:
    """The figures of each epoch: the members' mean, and where there are several members each one's as well."""
    together: dict[tuple[str, int], list[float]] = defaultdict(list)
    alone = len({row.member for row in history}) < 2
    for row in history:
        for name in EPOCH_FIGURES:
            value = getattr(row, name)
            if value is None:
                continue
            together[name, row.epoch].append(value)
            if not alone:
                yield TrackedMetric(f"member_{row.member}/{name}", value, row.epoch)
    yield from (TrackedMetric(name, fmean(values), epoch) for (name, epoch), values in together.items())


def score_metrics(record: TrainingRecord) -> Iterator[TrackedMetric]:
    """The whole model's figures, which have no epoch."""
    yield TrackedMetric("ensemble_validation_accuracy", record.scores.validation_accuracy)
    yield TrackedMetric("ensemble_validation_loss", record.scores.validation_loss)
    yield TrackedMetric("temperature", record.temperature)
    yield TrackedMetric("cpu_seconds", record.cpu_seconds)
