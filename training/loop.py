"""The training loop of every network: one line per epoch, a stop when the loss is no number, a checkpoint per epoch.

Runs in the training container. What differs between the recipes (batches, loss, schedule) comes in as a Training.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple, TypedDict, cast

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from training.checkpoint import Checkpoint


class TrainingError(Exception):
    """Training cannot go on; the message says why and what to change."""


class Epoch(TypedDict):
    """One row of training.json's history."""

    member: int
    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float


class Learned(NamedTuple):
    """What a pass came to: the mean loss, and the share of views that were told right while they were learned from."""

    loss: float
    accuracy: float


class AverageState(TypedDict):
    """The moving average of the weights, and the steps that it has seen."""

    weights: list[Tensor]
    steps: int


class TrainingState(TypedDict):
    """All that a training needs to go on as if it had not been cut off; torch's own state dictionaries among it."""

    network: dict[str, Tensor]
    optimizer: dict[str, object]
    schedule: dict[str, object]
    generator: Tensor
    average: AverageState
    history: list[Epoch]
    cpu_seconds: float


@dataclass(frozen=True)
class Training:
    """One network's training. ``batches(epoch)`` draws from ``generator`` alone, so that a checkpoint repeats it.

    Batches lie where the network does; logits for the validation come back to the CPU.
    """

    member: int
    epochs: int
    network: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler
    generator: Generator
    batches: Callable[[int], Iterator[tuple[Tensor, Tensor]]]
    loss: Callable[[Tensor, Tensor], Tensor]
    validate: Callable[[], Tensor]  # logits of the validation images, as they will be served
    validation_labels: Tensor
    advice: str  # what to change when the loss diverges
    averaging: float = 0.0  # of the weights, per step; 0 keeps the last weights
    parallel: nn.Module | None = None  # the network as several hosts train it
    precision: Callable[[], AbstractContextManager[object]] = nullcontext  # in which the network is asked


@dataclass(frozen=True)
class FinishedTraining:
    """A finished training: the history, and the CPU seconds of this process and of the interrupted ones before it."""

    history: list[Epoch]
    cpu_seconds: float


def fit(training: Training, checkpoint: Checkpoint) -> FinishedTraining:
    """Train ``training.network`` in place, from the checkpoint's epoch on. Raises TrainingError."""
    average = WeightAverage(training.network, training.averaging)
    history: list[Epoch] = []
    spent = 0.0
    state = cast("TrainingState | None", checkpoint.restore())
    if state is not None:
        training.network.load_state_dict(state["network"])
        training.optimizer.load_state_dict(state["optimizer"])
        training.schedule.load_state_dict(state["schedule"])
        training.generator.set_state(state["generator"])
        average.load(state["average"])
        history, spent = state["history"], state["cpu_seconds"]
        print(f"member={training.member} goes on after {len(history)} of {training.epochs} epochs", flush=True)
    for epoch in range(len(history), training.epochs):
        learned = _train_epoch(training, average, epoch)
        with average.applied():
            history.append(_validate(training, epoch, learned))
        checkpoint.save(
            {
                "network": training.network.state_dict(),
                "optimizer": training.optimizer.state_dict(),
                "schedule": training.schedule.state_dict(),
                "generator": training.generator.get_state(),
                "average": average.state(),
                "history": history,
                "cpu_seconds": spent + time.process_time(),
            }
        )
    average.keep()
    training.network.eval()
    return FinishedTraining(history, spent + time.process_time())


def _train_epoch(training: Training, average: WeightAverage, epoch: int) -> Learned:
    """One pass. Raises TrainingError at the first loss that is no number."""
    training.network.train()
    network = training.parallel or training.network
    total, right, count = 0.0, 0, 0
    for inputs, targets in training.batches(epoch):
        with training.precision():
            logits = network(inputs)
        loss = training.loss(logits.float(), targets)
        if not math.isfinite(loss.item()):
            raise TrainingError(
                f"the loss became {loss.item()} in epoch {epoch + 1} of {training.epochs}; {training.advice}"
            )
        training.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch left it bare
        training.optimizer.step()
        training.schedule.step()
        average.update()
        total, count = total + loss.item() * len(inputs), count + len(inputs)
        wanted = targets if targets.dim() == 1 else targets.argmax(dim=1)  # of mixed images the greater share's
        right += int((logits.argmax(dim=1) == wanted).sum())
    return Learned(total / count, right / count)


def _validate(training: Training, epoch: int, learned: Learned) -> Epoch:
    training.network.eval()
    with torch.inference_mode():
        row = score(training.member, epoch + 1, learned, training.validate(), training.validation_labels)
    print_epoch(row, training.epochs)
    return row


def score(member: int, epoch: int, learned: Learned, logits: Tensor, labels: Tensor) -> Epoch:
    """A row of the history from the validation images' logits."""
    return {
        "member": member,
        "epoch": epoch,
        "train_loss": learned.loss,
        "train_accuracy": learned.accuracy,
        "validation_loss": nn.functional.cross_entropy(logits, labels).item(),
        "validation_accuracy": (logits.argmax(dim=1) == labels).double().mean().item(),
    }


def print_epoch(row: Epoch, epochs: int) -> None:
    """The line that the training job's metric definitions read, in one write: others print to the same place."""
    losses = f"train_loss={row['train_loss']:.4f} validation_loss={row['validation_loss']:.4f}"
    accuracies = f"train_accuracy={row['train_accuracy']:.4f} validation_accuracy={row['validation_accuracy']:.4f}"
    print(f"epoch={row['epoch']}/{epochs} member={row['member']} {losses} {accuracies}\n", end="", flush=True)


class WeightAverage:
    """A moving average of the trained weights, which is what is kept; without decay it keeps the weights themselves."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.trained = [weight for weight in network.parameters() if weight.requires_grad] if decay else []
        self.weights = [weight.detach().clone() for weight in self.trained]
        self.decay, self.steps = decay, 0

    def update(self) -> None:
        """Move the average towards the weights: fast in the first steps, which are far from the end."""
        self.steps += 1
        share = 1 - min(self.decay, self.steps / (self.steps + 10))
        for mean, weight in zip(self.weights, self.trained, strict=True):
            mean.lerp_(weight.detach(), share)

    def keep(self) -> None:
        """Put the average in the network's place."""
        for mean, weight in zip(self.weights, self.trained, strict=True):
            weight.data.copy_(mean)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The network with the averaged weights, for as long as it is validated."""
        current = [weight.detach().clone() for weight in self.trained]
        self.keep()
        yield
        for weight, value in zip(self.trained, current, strict=True):
            weight.data.copy_(value)

    def state(self) -> AverageState:
        """What a checkpoint must hold."""
        return {"weights": self.weights, "steps": self.steps}

    def load(self, state: AverageState) -> None:
        """Go on from a checkpoint."""
        self.weights, self.steps = state["weights"], state["steps"]
