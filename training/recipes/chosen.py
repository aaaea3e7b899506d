"""From a recipe's name to a trained model: which processes run, and what is made of their results.

Runs in the training container, inside train.py. The class count comes with the dataset; nothing here knows the classes.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from threading import Thread

import torch
from torch import Tensor

from training.calibration import fit_temperature
from training.hyperparameters import Adjusted, HyperparameterError, given, option, resolve
from training.job import ProcessResult
from training.loop import Epoch
from training.networks.backbone import Pretrained
from training.networks.network import Ensemble, Network, Served
from training.novelty import Known, Seen
from training.recipes.blend import Blend, beside
from training.recipes.frozen import load_frozen
from training.recipes.pretrained import FineTuned, load_fine_tuned
from training.workers import Workers, read_results

PRETRAINED_MODES = ("frozen", "fine-tuned", "distilled")


@dataclass(frozen=True)
class Trained:
    """A model before its calibration, and how it came about."""

    name: str
    model: Served
    results: list[ProcessResult]
    temperature: Callable[[Tensor, Tensor], float]  # from the validation images' logits and labels
    preparation: Sequence[float] = ()  # CPU seconds of processes that are not part of the model
    known: Known | None = None

    @property
    def history(self) -> list[Epoch]:
        """The epochs of every member, one member after another."""
        return [row for result in self.results for row in result["history"]]

    @property
    def cpu_seconds(self) -> list[float]:
        """CPU seconds of each process that took part."""
        return [*self.preparation, *(result["cpu_seconds"] for result in self.results)]


@dataclass(frozen=True)
class TrainingTask:
    """What is asked of a model: how many classes, the side of the images in pixels, and what it is built upon."""

    classes: int
    image_size: int
    pretrained: Pretrained


def train_model(arguments: argparse.Namespace, workers: Workers, task: TrainingTask) -> Trained:
    """The model that the arguments ask for. Raises TrainingError or HyperparameterError."""
    name = "scratch" if arguments.recipe == "scratch" else arguments.pretrained_mode
    if name != "scratch":
        # timm takes a second to import, which passes while the processes begin.
        Thread(target=import_module, args=("training.networks.vision",), daemon=True).start()
    return RECIPES[name](given(arguments), workers, task)


def scratch(adjusted: Adjusted, workers: Workers, task: TrainingTask) -> Trained:
    """Small networks, from random weights."""
    results = read_results(workers.run("scratch", adjusted))
    model = Ensemble([load_small(result["tensors"], task.classes) for result in results], task.image_size)
    return Trained("scratch", model, results, fit_temperature)


def fine_tuned(adjusted: Adjusted, workers: Workers, task: TrainingTask) -> Trained:
    """Pretrained networks whose weights were trained further, and the frozen one beside them."""
    size, side = task.image_size, resolve("fine-tuned", adjusted, task.image_size).served_side
    other = beside(task.pretrained, size)
    print(f"frozen beside it: {other.network.name}, {other.share:.0%} of the answer", flush=True)
    (still,) = read_results(dataclasses.replace(workers, pretrained=other.network).run("frozen"))
    results = read_results(workers.run("fine-tuned", adjusted))
    networks = FineTuned(
        [load_fine_tuned(result["tensors"], task.pretrained, task.classes) for result in results], side, size
    )
    frozen_part = load_frozen(still["tensors"], other.network, resolve("frozen", {}, size).network_side, size)
    model = Blend(networks, frozen_part, other.share)
    return Trained(
        f"pretrained fine-tuned, {other.network.name} beside it",
        model,
        results,
        fit_temperature,
        [still["cpu_seconds"]],
    )


def frozen(adjusted: Adjusted, workers: Workers, task: TrainingTask) -> Trained:
    """A linear layer on pretrained features: one fit, in one process."""
    for name in ("epochs", "members"):
        if adjusted.get(name, 1) != 1:
            raise HyperparameterError(f"{option(name)} must be 1 or 0 for one fit of one layer, got {adjusted[name]}")
    side = resolve("frozen", adjusted, task.image_size).network_side
    (result,) = read_results(workers.run("frozen", adjusted))
    found = result["tensors"]

    def temperature(logits: Tensor, labels: Tensor) -> float:
        return fit_temperature(torch.cat([found["held_out"], logits]), torch.cat([found["labels"], labels]))

    return Trained(
        "pretrained frozen",
        load_frozen(found, task.pretrained, side, task.image_size),
        [result],
        temperature,
        known=Known(found["validation_logits"], Seen(found["features"], found["predicted"])),
    )


def distilled(adjusted: Adjusted, workers: Workers, task: TrainingTask) -> Trained:
    """A small network that learns a fine-tuned one's answers; what is adjusted is the small one's."""
    resolve("student", adjusted)  # what it has no use for is refused before the teacher is trained
    teachers = workers.run("fine-tuned")
    views = workers.run("views", inputs=teachers)
    results = read_results(workers.run("student", adjusted, views))
    model = Ensemble([load_small(result["tensors"], task.classes) for result in results], task.image_size)
    before = [result["cpu_seconds"] for result in read_results([*teachers, *views])]
    return Trained("pretrained distilled", model, results, fit_temperature, before)


RECIPES = {"scratch": scratch, "fine-tuned": fine_tuned, "distilled": distilled, "frozen": frozen}


def load_small(tensors: dict[str, Tensor], classes: int) -> Network:
    """A small network of a finished training."""
    network = Network(classes)
    network.load_state_dict(tensors)
    return network.eval()
