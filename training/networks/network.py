"""The model, whole: one small convolutional network, and the ensemble of them that is exported.

Runs in the training container. 0.29 million parameters; scratch.py holds the recipe and what it reaches.
The shape follows KellerJordan/cifar10-airbench, narrowed.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from imaging.dataset import Labels
from imaging.decode import Pixels

WHITENING_CHANNELS = 24  # twelve principal directions of a 2 x 2 RGB patch, and their negatives
WHITENING_EPSILON = 5e-4
WIDTHS = (32, 64, 128)
LARGEST_SIDE = 64  # pixels; the network sees through a window of about 20
NORM_MOMENTUM = 0.3  # a run has a few hundred steps: with torch's 0.1 the running statistics lag behind
LOGIT_SCALE = 0.125  # the global maximum of 128 channels makes large logits; this keeps the first steps calm

# Per-channel mean and standard deviation of all CIFAR images, in units of 1 (airbench's constants).
MEAN = torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1)
STANDARD_DEVIATION = torch.tensor([0.2470, 0.2435, 0.2616]).view(1, 3, 1, 1)


def normalise(images: Tensor) -> Tensor:
    """uint8 [N, H, W, 3] to float32 [N, 3, H, W] with about zero mean and unit variance."""
    mean, deviation = MEAN.to(images.device), STANDARD_DEVIATION.to(images.device)
    return (images.permute(0, 3, 1, 2).float() / 255.0 - mean) / deviation


class Resize(nn.Module):
    """Squares float32 [N, C, source, source] to [N, C, side, side], by bicubic interpolation; antialiased when smaller.

    Two matrix products rather than a Resize operator: torch and ONNX Runtime then agree to rounding, and it is faster.
    """

    matrix: Tensor

    def __init__(self, side: int, source: int) -> None:
        super().__init__()
        columns = torch.eye(source).view(1, source, source, 1)
        resized = nn.functional.interpolate(
            columns, size=(side, 1), mode="bicubic", align_corners=False, antialias=side < source
        )
        self.register_buffer("matrix", resized[0, :, :, 0].T.contiguous(), persistent=False)  # [side, source]
        self.unchanged = side == source

    def forward(self, x: Tensor) -> Tensor:
        """float32 [N, C, source, source] to float32 [N, C, side, side]."""
        out = x if self.unchanged else self.matrix @ x @ self.matrix.T
        return out.contiguous(memory_format=torch.channels_last)


class Reduce(nn.Module):
    """Photographs reduced to what the small network takes; pictures up to that size as they are."""

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.resize = Resize(LARGEST_SIDE, image_size) if image_size > LARGEST_SIDE else None

    def forward(self, x: Tensor) -> Tensor:
        """float32 [N, 3, size, size] to float32 [N, 3, S, S] with S of at most LARGEST_SIDE."""
        out: Tensor = x if self.resize is None else self.resize(x)
        return out


class Group(nn.Module):
    """Two 3 x 3 convolutions; the first is followed by pooling, so the resolution halves."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding="same", bias=False)
        self.first_norm = nn.BatchNorm2d(outputs, momentum=NORM_MOMENTUM)
        self.second = nn.Conv2d(outputs, outputs, 3, padding="same", bias=False)
        self.second_norm = nn.BatchNorm2d(outputs, momentum=NORM_MOMENTUM)
        self.pool = nn.MaxPool2d(2)
        self.activation = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """float32 [N, inputs, H, W] to float32 [N, outputs, H // 2, W // 2]."""
        x = self.activation(self.first_norm(self.pool(self.first(x))))
        out: Tensor = self.activation(self.second_norm(self.second(x)))
        return out


class Network(nn.Module):
    """Normalised images float32 [N, 3, S, S] to logits float32 [N, classes]."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.whitening = nn.Conv2d(3, WHITENING_CHANNELS, 2, bias=False)
        self.whitening.weight.requires_grad_(False)
        self.activation = nn.GELU()
        widths = (WHITENING_CHANNELS, *WIDTHS)
        self.groups = nn.Sequential(*(Group(a, b) for a, b in pairwise(widths)))
        self.head = nn.Linear(WIDTHS[-1], classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images float32 [N, 3, S, S] to logits float32 [N, classes]."""
        x = self.groups(self.activation(self.whitening(x)))  # [N, 128, 3, 3]
        logits: Tensor = self.head(x.amax(dim=(2, 3))) * LOGIT_SCALE
        return logits

    def set_whitening(self, images: Tensor) -> None:
        """Freeze the first layer to the principal directions of the training images' 2 x 2 patches."""
        patches = nn.functional.unfold(images, 2).transpose(1, 2).reshape(-1, 12)
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (vectors / torch.sqrt(values + WHITENING_EPSILON)).T.reshape(-1, 3, 2, 2)
        self.whitening.weight.data = torch.cat([filters, -filters])


class Served(nn.Module):
    """What is exported: uint8 [N, size, size, 3] to calibrated probabilities float32 [N, classes].

    Resizing, normalisation, a second view and the temperature are inside: nobody repeats them.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def logits(self, images: Tensor) -> Tensor:
        """Logits float32 [N, classes] before the temperature."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Images uint8 [N, size, size, 3] to calibrated probabilities float32 [N, classes]."""
        return torch.softmax(self.logits(images) / self.temperature, dim=1)


class Ensemble(Served):
    """The small networks: the mean over members, or of a single one over both views; as few passes as are worth it.

    Both views of two members would cost twice the time for what is lost in the noise of cross-validation: 89.8 %
    against 89.6 % over 5 folds (`python -m benchmarks.model.accuracy --recipe scratch --cv`).
    """

    def __init__(self, members: list[Network], image_size: int, temperature: float = 1.0) -> None:
        super().__init__(temperature)
        self.members = nn.ModuleList(members)
        self.reduce = Reduce(image_size)

    def logits(self, images: Tensor) -> Tensor:
        """Images uint8 [N, size, size, 3] to the members' mean logits float32 [N, classes]."""
        x = self.reduce(normalise(images))
        views = (x, x.flip(3)) if len(self.members) == 1 else (x,)
        return torch.stack([member(view) for member in self.members for view in views]).mean(dim=0)


def to_tensors(images: Pixels, labels: Labels) -> tuple[Tensor, Tensor]:
    """The arrays of a split as tensors, without a copy."""
    return torch.from_numpy(images), torch.from_numpy(labels)
