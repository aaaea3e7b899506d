"""The recipe `pretrained`, frozen: a logistic regression on ImageNet features from several depths, in seconds.

Runs in the training container, in one process. The network's weights are those of ImageNet; only the last layer is
learnt, so there are no epochs: it prints one line.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from training.job import Job, ProcessResult
from training.loop import print_epoch, score
from training.networks.backbone import Backbone, Pretrained, create
from training.networks.network import Resize, Served
from training.novelty import some_of
from training.recipes.pretrained import CHUNK, pixels

# The maps of `Backbone.maps` were chosen on the training images alone (2026-11-21, 5 folds of 1,000): all depths from
# the fifth block on 95.5 % with the lowest loss, four of them 95.1 to 95.4 %, the last alone 94.1 %.
STEPS = 100
FOLDS = 5


class Frozen(Served):
    """ImageNet features of both views, averaged, and one linear layer; ``side`` in pixels."""

    def __init__(
        self, network: Backbone, linear: nn.Linear, side: int, image_size: int, temperature: float = 1.0
    ) -> None:
        super().__init__(temperature)
        self.network, self.linear, self.resize = network, linear, Resize(side, image_size)

    def features(self, images: Tensor) -> Tensor:
        """float32 [N, features]: the mean of each channel at each depth."""
        x = self.resize(pixels(images))
        views = []
        for view in (x, x.flip(3)):
            views.append(torch.cat([found.mean(dim=(2, 3)) for found in self.network.maps(view)], dim=1))
        return (views[0] + views[1]) / 2

    def logits(self, images: Tensor) -> Tensor:
        """Images uint8 [N, size, size, 3] to logits float32 [N, classes]."""
        out: Tensor = self.linear(self.features(images))
        return out


def train_frozen(job: Job) -> ProcessResult:
    """The linear layer, and the logits of training images by layers that were fitted without them."""
    chosen = job.hyperparameters
    model = Frozen(create(job.pretrained), nn.Linear(1, 1), chosen.network_side, job.image_size)
    train, validation = (features_of(model, images) for images, _ in (job.train, job.validation))
    labels = job.train[1]
    linear = fit_linear(train, labels, job.classes, chosen.penalty)
    held_out = torch.empty(len(labels), job.classes)
    folds = _folds(labels)
    for fold in range(FOLDS):
        part = folds == fold
        layer = fit_linear(train[~part], labels[~part], job.classes, chosen.penalty)
        held_out[part] = layer(train[part]).detach()
    with torch.inference_mode():
        logits, found = linear(train), linear(validation)
        row = score(job.member, 1, nn.functional.cross_entropy(logits, labels).item(), found, job.validation[1])
    print_epoch(row, 1)
    some = some_of(len(train))
    tensors = {"weight": linear.weight.data, "bias": linear.bias.data, "held_out": held_out, "labels": labels}
    tensors |= {"validation_logits": found, "features": train[some], "predicted": logits[some].argmax(dim=1)}
    # A tensor of inference mode could not become part of what is exported.
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    return {"tensors": tensors, "history": [row], "cpu_seconds": time.process_time()}


def features_of(model: Frozen, images: Tensor) -> Tensor:
    """Features float32 [N, D], with a thread for each core; a chunk has the same wherever it is computed."""

    def of_chunk(chunk: Tensor) -> Tensor:
        with torch.inference_mode():
            return model.features(chunk)

    with ThreadPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return torch.cat(list(pool.map(of_chunk, images.split(CHUNK))))  # type: ignore[no-untyped-call]  # torch left it bare


def load_frozen(tensors: dict[str, Tensor], pretrained: Pretrained, side: int, image_size: int) -> Frozen:
    """The model of a finished training; sides in pixels: of what the network sees, and of the images."""
    linear = nn.Linear(tensors["weight"].shape[1], tensors["weight"].shape[0])
    linear.load_state_dict({name: tensors[name] for name in ("weight", "bias")})
    return Frozen(create(pretrained), linear, side, image_size)


def fit_linear(features: Tensor, labels: Tensor, classes: int, penalty: float) -> nn.Linear:
    """Penalised multinomial logistic regression; the scaling to unit variance is folded into the layer."""
    mean, deviation = features.mean(dim=0), features.std(dim=0) + 1e-6
    scaled = ((features - mean) / deviation).double()
    weight = torch.zeros(classes, features.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(scaled @ weight.T + bias, labels) + penalty * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch left it bare
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch left it bare
    linear = nn.Linear(features.shape[1], classes)
    linear.weight.data = weight.detach().float() / deviation
    linear.bias.data = bias.detach().float() - linear.weight.data @ mean
    return linear


def _folds(labels: Tensor) -> Tensor:
    """A fold number for each image, the classes spread evenly."""
    folds = torch.empty_like(labels)
    for label in range(int(labels.max()) + 1):
        rows = (labels == label).nonzero().squeeze(1)
        folds[rows] = torch.arange(len(rows)) % FOLDS
    return folds
