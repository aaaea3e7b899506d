"""From a recipe's name to a trained model: which processes run, and what is made of their results.

Runs in the training container, inside train.py. The class count comes with the dataset; nothing here knows the classes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.calibration import fit_temperature
from training.job import Result
from training.loop import Epoch
from training.member import TASKS
from training.networks.network import Ensemble, Network, Served
from training.recipes.blend import Blend
from training.recipes.frozen import load_frozen
from training.recipes.pretrained import FineTuned, load_fine_tuned
from training.workers import Workers, read_results

PRETRAINED_MODES = ("distilled", "fine-tuned", "frozen")


@dataclass(frozen=True)
class Trained:
    """A model before its calibration, and how it came about."""

    name: str
    model: Served
    results: list[Result]
    temperature: Callable[[Tensor, Tensor], float]  # from the validation images' logits and labels
    preparation: Sequence[float] = ()  # CPU seconds of processes that are not part of the model

    @property
    def history(self) -> list[Epoch]:
        return [row for result in self.results for row in result["history"]]

    @property
    def cpu_seconds(self) -> list[float]:
        return [*self.preparation, *(result["cpu_seconds"] for result in self.results)]


def train_model(arguments: argparse.Namespace, workers: Workers, classes: int) -> Trained:
    """The model that the arguments ask for. Raises TrainingError."""
    name = "scratch" if arguments.recipe == "scratch" else arguments.pretrained_mode
    return RECIPES[name](arguments, workers, classes)


def scratch(arguments: argparse.Namespace, workers: Workers, classes: int) -> Trained:
    """Small networks, from random weights."""
    results = _run("scratch", arguments, workers)
    model = Ensemble([load_small(result["tensors"], classes) for result in results])
    return Trained("scratch", model, results, fit_temperature)


def fine_tuned(arguments: argparse.Namespace, workers: Workers, classes: int) -> Trained:
    """Pretrained networks whose weights were trained further, and the frozen one beside them."""
    (still,) = read_results(workers.run("frozen", 1))
    results = _run("fine-tuned", arguments, workers)
    networks = FineTuned([load_fine_tuned(result["tensors"], classes) for result in results])
    model = Blend(networks, load_frozen(still["tensors"]))
    return Trained("pretrained fine-tuned", model, results, fit_temperature, [still["cpu_seconds"]])


def frozen(_arguments: argparse.Namespace, workers: Workers, _classes: int) -> Trained:
    """A linear layer on pretrained features."""
    (result,) = read_results(workers.run("frozen", 1))
    held_out, train_labels = result["tensors"]["held_out"], result["tensors"]["labels"]

    def temperature(logits: Tensor, labels: Tensor) -> float:
        return fit_temperature(torch.cat([held_out, logits]), torch.cat([train_labels, labels]))

    return Trained("pretrained frozen", load_frozen(result["tensors"]), [result], temperature)


def distilled(arguments: argparse.Namespace, workers: Workers, classes: int) -> Trained:
    """A small network that learns a fine-tuned one's answers; the arguments are those of the small one."""
    teachers = workers.run("fine-tuned", TASKS["fine-tuned"].members)
    views = workers.run("views", TASKS["views"].members, inputs=teachers)
    members = arguments.members or TASKS["student"].members
    students = workers.run("student", members, arguments.epochs, arguments.learning_rate, views)
    results = read_results(students)
    model = Ensemble([load_small(result["tensors"], classes) for result in results])
    before = [result["cpu_seconds"] for result in read_results([*teachers, *views])]
    return Trained("pretrained distilled", model, results, fit_temperature, before)


RECIPES = {"scratch": scratch, "fine-tuned": fine_tuned, "distilled": distilled, "frozen": frozen}


def _run(task: str, arguments: argparse.Namespace, workers: Workers) -> list[Result]:
    members = arguments.members or TASKS[task].members
    return read_results(workers.run(task, members, arguments.epochs, arguments.learning_rate))


def load_small(tensors: dict[str, Tensor], classes: int) -> Network:
    """A small network of a finished training."""
    network = Network(classes)
    network.load_state_dict(tensors)
    return network.eval()
