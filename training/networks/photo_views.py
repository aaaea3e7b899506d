"""Random views of photographs, by torchvision's transforms: a part of each, mirrored or not, under another light.

Runs in the training container; where there are cores to spare, in processes of their own, which decode the photographs
as well while the network learns. Thumbnails have views of their own, see `training.networks.augment`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from training.images import Images

LEAST_PART = 0.25
"""Of the area. Scale, shape and shift of what is shown are drawn at once."""
SHAPES = (3 / 4, 4 / 3)
LIGHT = 0.25  # of brightness, contrast and saturation


@dataclass(frozen=True)
class PlannedBatch:
    """Which photographs, int64 [N], how large in pixels, and what their views are drawn from."""

    rows: Tensor
    side: int
    seed: int


class _Views(Dataset[Tensor]):
    """A batch of views for each plan."""

    def __init__(self, images: Images, plans: list[PlannedBatch]) -> None:
        self.images, self.plans = images, plans

    def __len__(self) -> int:
        return len(self.plans)

    def __getitem__(self, number: int) -> Tensor:
        plan = self.plans[number]
        return photograph_views(self.images[plan.rows], plan.side, plan.seed)


def loaded_views(images: Images, plans: Iterable[PlannedBatch], loaders: int) -> Iterator[Tensor]:
    """Views uint8 [N, side, side, 3] of each batch in turn: the same, whatever the number of processes that load."""
    views = _Views(images, list(plans))
    return iter(DataLoader(views, batch_size=None, num_workers=loaders, generator=Generator()))


def photograph_views(images: Tensor, side: int, seed: int) -> Tensor:
    """A view of each image: uint8 [N, H, W, 3] to uint8 [N, side, side, 3]; the same for the same seed."""
    from training.networks.vision import v2  # takes a second to import, and thumbnails do without

    view = v2.Compose(
        [
            v2.RandomResizedCrop(side, scale=(LEAST_PART, 1.0), ratio=SHAPES, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(LIGHT, LIGHT, LIGHT),
        ]
    )
    with torch.random.fork_rng(devices=[]):  # the transforms draw from torch's own generator
        torch.manual_seed(seed)
        views = torch.stack([view(image) for image in images.permute(0, 3, 1, 2)])
    return views.permute(0, 2, 3, 1).contiguous()  # as the network takes them: a quarter of what it would move later
