"""The recipe `pretrained`, distilled: the small network learns from the fine-tuned one's answers, and serves as fast.

Runs in the training container: first processes that let the teacher answer for many changed images (`views`), then one
process per student. A teacher labels any change of an image rightly, so mixed and zoomed images are data, not noise.
Source: Beyer et al., "Knowledge distillation: A good teacher is patient and consistent", 2022.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TypedDict, cast

import torch
from torch import Generator, Tensor

from training.device import Device
from training.hyperparameters import resolve
from training.images import whole
from training.job import Job, ProcessResult
from training.networks.augment import random_colour, random_cutout, random_shift, random_view
from training.networks.backbone import CENTRE, SPAN
from training.networks.network import Reduce, normalise
from training.recipes.pretrained import CHUNK, FineTuned, load_fine_tuned, pixels
from training.recipes.scratch import fit_small_network, small_network

MIXED_SHARE = 0.5
EPOCH_SHARE = 0.25  # of the views; a line of progress and a checkpoint four times as often


class StoredViews(TypedDict):
    """What a checkpoint holds once the views are made: images and logits, as `make_views` gives them."""

    tensors: dict[str, Tensor]
    cpu_seconds: float


def make_views(job: Job) -> ProcessResult:
    """Changed images, uint8 [rounds x N, S, S, 3], and the teachers' logits for them."""
    stored = cast("StoredViews | None", job.checkpoint.restore())
    if stored is None:
        side = resolve("fine-tuned", {}, job.image_size).network_side
        networks = [load_fine_tuned(tensors, job.pretrained, job.classes) for tensors in job.inputs]
        teacher = FineTuned(networks, side, job.image_size).eval().to(job.device.kind)
        generator = Generator().manual_seed(job.network_seed)
        torch.manual_seed(job.network_seed)
        rounds = [
            _one_round(teacher, job.device, whole(job.train[0]), generator) for _ in range(job.hyperparameters.epochs)
        ]
        tensors = {"images": torch.cat([r[0] for r in rounds]), "logits": torch.cat([r[1] for r in rounds])}
        stored = {"tensors": tensors, "cpu_seconds": time.process_time()}
        job.checkpoint.save(stored)
    return {"tensors": stored["tensors"], "history": [], "cpu_seconds": stored["cpu_seconds"]}


def _one_round(teacher: FineTuned, device: Device, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """One view of every image: shifted or zoomed, half of them blended with another image's view.

    The teacher sees it at the images' size; what is kept is reduced to what the small network will see.
    """
    source = pixels(images)
    count = len(source)
    zoomed = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    views = torch.where(zoomed, random_view(source, source.shape[-1], generator), random_shift(source, generator))
    views = random_colour(views, generator)
    share = torch.rand(count, 1, 1, 1, generator=generator)
    share[torch.rand(count, generator=generator) >= MIXED_SHARE] = 1.0
    views = share * views + (1 - share) * views[torch.randperm(count, generator=generator)]
    stored = (views * SPAN + CENTRE).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
    with torch.inference_mode(), device.precision():
        logits = torch.cat([teacher.one_view(device.put(chunk)).float().cpu() for chunk in stored.split(CHUNK)])  # type: ignore[no-untyped-call]  # torch left it bare
    reduced = Reduce(images.shape[1])(stored.permute(0, 3, 1, 2).float())
    return reduced.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous(), logits


def train_student(job: Job) -> ProcessResult:
    """A small network that gives the teacher's probabilities. Raises TrainingError when the loss diverges."""
    images = torch.cat([tensors["images"] for tensors in job.inputs])
    targets = torch.softmax(torch.cat([tensors["logits"] for tensors in job.inputs]), dim=1)
    generator = Generator().manual_seed(job.network_seed)
    network = small_network(job, Reduce(job.image_size)(normalise(whole(job.train[0]))))

    per_epoch = round(EPOCH_SHARE * len(images))

    def batches(_epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in torch.randperm(len(images), generator=generator)[:per_epoch].split(job.hyperparameters.batch_size):  # type: ignore[no-untyped-call]  # torch left it bare
            flip = torch.rand(len(batch), 1, 1, 1, generator=generator) < 0.5
            views = normalise(images[batch])
            views = random_cutout(torch.where(flip, views.flip(3), views), generator)
            yield job.device.put(views.contiguous(memory_format=torch.channels_last)), job.device.put(targets[batch])

    return fit_small_network(job, network, generator, batches, per_epoch)
