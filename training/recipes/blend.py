"""The recipe `pretrained`, fine-tuned: the fine-tuned networks and the frozen one answer together.

Runs in the training container, inside train.py. The two make different mistakes, and the frozen one costs a sixth.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from training.images import LARGEST_THUMBNAIL
from training.networks.backbone import Pretrained
from training.networks.network import Served
from training.networks.weights import is_installed
from training.recipes.frozen import Frozen
from training.recipes.pretrained import FineTuned


@dataclass(frozen=True)
class Beside:
    """The network of the frozen part, and the part's share of the answer."""

    network: Pretrained
    share: float


LARGER = Pretrained("tf_efficientnet_lite2")


def beside(network: Pretrained, image_size: int) -> Beside:
    """What answers beside a fine-tuned network: of thumbnails a larger one, where its weights are installed.

    Chosen on the training images alone (2026-12-01, 5 folds of 1,000 thumbnails, one seed; accuracy and log loss from
    the same logits): alone the fine-tuned network reaches 95.6 % and 0.098, with 0.3 of its own frozen features 96.3 %
    and 0.093, with 0.3 of the larger one's 96.8 % and 0.081, with 0.5 of these 97.1 % and 0.080. To fine-tune the
    larger one costs more and gains less (96.2 % and 0.082). On photographs the larger one's features change nothing.
    """
    if image_size > LARGEST_THUMBNAIL or network != Pretrained() or not is_installed(LARGER.name):
        return Beside(network, 0.3)
    return Beside(LARGER, 0.5)


class Blend(Served):
    """A weighted mean of the logits; ``share`` is the frozen part's."""

    def __init__(self, fine_tuned: FineTuned, frozen: Frozen, share: float, temperature: float = 1.0) -> None:
        super().__init__(temperature)
        self.fine_tuned, self.frozen, self.share = fine_tuned, frozen, share

    def logits(self, images: Tensor) -> Tensor:
        """Images uint8 [N, size, size, 3] to logits float32 [N, classes]."""
        fine_tuned, frozen = (part.logits(images) for part in (self.fine_tuned, self.frozen))
        return (1 - self.share) * fine_tuned + self.share * frozen
