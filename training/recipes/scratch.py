"""The recipe `scratch`: the small network, trained from random weights on the dataset's images alone.

Runs in the training container, one process per member.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from training.hyperparameters import Hyperparameters
from training.images import whole
from training.job import Job, ProcessResult
from training.loop import Training, fit
from training.networks.augment import alternating_flip, random_cutout, random_shift
from training.networks.network import Ensemble, Network, Reduce, normalise
from training.recipes.pretrained import in_chunks


def train_scratch(job: Job) -> ProcessResult:
    """One trained small network. Raises TrainingError when the loss diverges."""
    generator = Generator().manual_seed(job.network_seed)
    reduce = Reduce(job.image_size)
    images = reduce(normalise(whole(job.train[0])))
    smoothing = job.hyperparameters.label_smoothing
    targets = (1 - smoothing) * nn.functional.one_hot(job.train[1], job.classes) + smoothing / job.classes
    network = small_network(job, images)
    flipped_first = torch.rand(len(images), generator=generator) < 0.5

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        views = random_shift(alternating_flip(images, flipped_first, epoch), generator)
        views = random_cutout(views, generator)
        for batch in torch.randperm(len(images), generator=generator).split(job.hyperparameters.batch_size):  # type: ignore[no-untyped-call]  # torch left it bare
            views_of_batch = views[batch].contiguous(memory_format=torch.channels_last)
            yield job.device.put(views_of_batch), job.device.put(targets[batch])

    return fit_small_network(job, network, generator, batches, len(images))


def small_network(job: Job, images: Tensor) -> Network:
    """A network with random weights, but for the whitening of the (normalised) images."""
    torch.manual_seed(job.network_seed)
    network = Network(job.classes)
    network.set_whitening(images)
    network.to(job.device.kind, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this keyword alone
    return network


def fit_small_network(
    job: Job,
    network: Network,
    generator: Generator,
    batches: Callable[[int], Iterator[tuple[Tensor, Tensor]]],
    images_per_epoch: int,
) -> ProcessResult:
    """Train on soft labels with stochastic gradient descent under the triangular schedule."""
    chosen = job.hyperparameters
    optimizer = _optimizer(network, chosen)
    served = Ensemble([network], job.image_size)
    served.reduce.to(job.device.kind)
    steps = chosen.epochs * math.ceil(images_per_epoch / chosen.batch_size)
    training = Training(
        member=job.member,
        epochs=chosen.epochs,
        network=network,
        optimizer=optimizer,
        schedule=_schedule(optimizer, steps, chosen.warm_up_share),
        generator=generator,
        batches=batches,
        loss=nn.CrossEntropyLoss(),
        validate=lambda: in_chunks(served, job.validation[0], job.device),
        validation_labels=job.validation[1],
        advice=f"lower --learning-rate (now {chosen.learning_rate})",
        precision=job.device.precision,
    )
    outcome = fit(training, job.checkpoint)
    return {"tensors": network.state_dict(), "history": outcome.history, "cpu_seconds": outcome.cpu_seconds}


def _optimizer(network: Network, chosen: Hyperparameters) -> torch.optim.SGD:
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    weights = [parameter for parameter in trainable if parameter.ndim > 1]
    norms = [parameter for parameter in trainable if parameter.ndim == 1]
    groups = [{"params": weights, "weight_decay": chosen.penalty}, {"params": norms, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=chosen.learning_rate, momentum=chosen.momentum, nesterov=True)


def _schedule(optimizer: torch.optim.SGD, steps: int, warm_up_share: float) -> LambdaLR:
    """Triangular: up during the warm-up, then straight down to zero."""
    peak = max(1, round(warm_up_share * steps))
    return LambdaLR(optimizer, lambda step: (step + 1) / peak if step < peak else (steps - step) / (steps - peak + 1))
