"""The recipe `pretrained`'s fine-tuned network: it goes on from its ImageNet weights.

Runs in the training container, one process per member.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Generator, Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from training.device import CPU, Device
from training.hyperparameters import Hyperparameters
from training.images import LARGEST_THUMBNAIL, Images, chunks
from training.job import Job, ProcessResult
from training.loop import Training, fit
from training.networks.augment import mixed, random_colour, random_view
from training.networks.backbone import CENTRE, SPAN, Backbone, Pretrained, create
from training.networks.network import Resize, Served
from training.networks.photo_views import PlannedBatch, loaded_views

CHUNK = 25  # images at once where no gradient is kept: what fits the caches


def pixels(images: Tensor) -> Tensor:
    """uint8 [N, size, size, 3] to float32 [N, 3, size, size] in -1 to 1."""
    return (images.permute(0, 3, 1, 2).float() - CENTRE) / SPAN


class FineTuned(Served):
    """The fine-tuned networks alone: the mean over members and both views; ``side`` in pixels."""

    def __init__(self, members: list[Backbone], side: int, image_size: int, temperature: float = 1.0) -> None:
        super().__init__(temperature)
        self.members = nn.ModuleList(members)
        self.resize = Resize(side, image_size)

    def logits(self, images: Tensor) -> Tensor:
        """Images uint8 [N, size, size, 3] to logits float32 [N, classes]."""
        return (self.one_view(images) + self.one_view(images.flip(2))) / 2

    def one_view(self, images: Tensor) -> Tensor:
        """Logits from the images as they are; half the work."""
        x = self.resize(pixels(images))
        return torch.stack([member(x) for member in self.members]).mean(dim=0)


def in_chunks(model: Served, images: Images, device: Device = CPU) -> Tensor:
    """``model.logits`` of many images, without gradients; the model lies on the device, the logits on the CPU."""
    with torch.inference_mode(), device.precision():
        found = [model.logits(device.put(chunk)).float().cpu() for chunk in chunks(images, CHUNK)]
    return torch.cat(found)


def load_fine_tuned(tensors: dict[str, Tensor], pretrained: Pretrained, classes: int) -> Backbone:
    """The network of a finished training."""
    network = create(pretrained, classes)
    network.load_state_dict(tensors)
    return network.eval()


def train_fine_tuned(job: Job) -> ProcessResult:
    """One fine-tuned network. Raises TrainingError when the loss diverges."""
    chosen = job.hyperparameters
    generator = Generator().manual_seed(job.network_seed)
    images, labels = job.train
    network = create(job.pretrained).for_classes(job.classes)
    network.freeze(chosen.frozen_blocks)
    hosts, device = job.hosts, job.device
    served = FineTuned([network], chosen.served_side, job.image_size).to(device.kind)
    # Hosts draw the same batches, of which each takes its share, and views of their own.
    drawn = Generator().manual_seed(job.network_seed * 1000 + hosts.rank) if hosts.several else generator

    def rows() -> list[Tensor]:
        drawn_rows = torch.randperm(len(images), generator=generator).split(chosen.batch_size)  # type: ignore[no-untyped-call]  # torch left it bare
        return [all_of[hosts.share(len(all_of))] for all_of in drawn_rows if len(all_of) >= len(hosts.names)]

    def of_thumbnails(batches_of_rows: list[Tensor], side: int) -> Iterator[Tensor]:
        for batch in batches_of_rows:
            yield random_view(random_colour(pixels(images[batch]), drawn), side, drawn)

    def of_photographs(batches_of_rows: list[Tensor], side: int) -> Iterator[Tensor]:
        plans = [
            PlannedBatch(batch, side, int(torch.randint(2**31, (1,), generator=drawn))) for batch in batches_of_rows
        ]
        for views in loaded_views(images, plans, device.loaders(chosen.members)):
            yield pixels(device.put(views))

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        side = chosen.early_side if epoch < chosen.epochs // 2 else chosen.network_side
        batches_of_rows = rows()
        views_of = of_photographs if job.image_size > LARGEST_THUMBNAIL else of_thumbnails
        for batch, views in zip(batches_of_rows, views_of(batches_of_rows, side), strict=True):
            shown, targets = device.put(views), device.put(labels[batch])
            if chosen.mixing:
                targets = nn.functional.one_hot(targets, job.classes).float()
                shown, targets = mixed(shown, targets, chosen.mixing, drawn)
            yield shown.contiguous(memory_format=torch.channels_last), targets

    optimizer = _optimizer(network, chosen)
    training = Training(
        member=job.member,
        epochs=chosen.epochs,
        network=network,
        optimizer=optimizer,
        schedule=OneCycleLR(
            optimizer,
            [group["lr"] for group in optimizer.param_groups],
            total_steps=chosen.epochs * math.ceil(len(images) / chosen.batch_size) + 1,
            pct_start=chosen.warm_up_share,
        ),
        generator=generator,
        batches=batches,
        loss=nn.CrossEntropyLoss(label_smoothing=chosen.label_smoothing),
        validate=lambda: in_chunks(served, job.validation[0], device),
        validation_labels=job.validation[1],
        advice=f"lower --learning-rate (now {chosen.learning_rate})",
        averaging=chosen.averaging,
        parallel=hosts.parallel(network),
        precision=device.precision,
    )
    outcome = fit(training, job.checkpoint)
    return {"tensors": network.state_dict(), "history": outcome.history, "cpu_seconds": outcome.cpu_seconds}


def _optimizer(network: Backbone, chosen: Hyperparameters) -> torch.optim.AdamW:
    head = list(network.head().parameters())
    new = {id(weight) for weight in head}
    body = [weight for weight in network.parameters() if weight.requires_grad and id(weight) not in new]
    rate = chosen.learning_rate
    groups = [{"params": body, "lr": rate}, {"params": head, "lr": chosen.head_factor * rate}]
    return torch.optim.AdamW(groups, weight_decay=chosen.penalty, fused=True)  # a third of the time
