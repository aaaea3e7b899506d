"""Random views of photographs, by torchvision's transforms: a part of each, mirrored or not, under another light.

Runs in the training container. Thumbnails have views of their own, see `training.networks.augment`.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

LEAST_PART = 0.4
"""Of the area. Scale, shape and shift of what is shown are drawn at once."""
SHAPES = (3 / 4, 4 / 3)
LIGHT = 0.25  # of brightness, contrast and saturation


def photograph_views(images: Tensor, side: int, generator: Generator) -> Tensor:
    """A view of each image: uint8 [N, H, W, 3] to uint8 [N, side, side, 3]. Draws from ``generator`` alone."""
    from training.networks.vision import v2  # takes a second to import, and thumbnails do without

    view = v2.Compose(
        [
            v2.RandomResizedCrop(side, scale=(LEAST_PART, 1.0), ratio=SHAPES, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(LIGHT, LIGHT, LIGHT),
        ]
    )
    seed = int(torch.randint(2**31, (1,), generator=generator))
    with torch.random.fork_rng(devices=[]):  # the transforms draw from torch's own generator
        torch.manual_seed(seed)
        views = torch.stack([view(image) for image in images.permute(0, 3, 1, 2)])
    return views.permute(0, 2, 3, 1)
