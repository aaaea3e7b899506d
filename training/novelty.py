"""How far an image is from the training images, as the network sees it: exported beside the probabilities.

Runs in the training container. The features are what goes into a network's last layer: they cost no second pass.
After Lee et al., "A simple unified framework for detecting out-of-distribution samples and adversarial attacks"
(NeurIPS 2018): the distance to the nearest class's centre by the classes' shared covariance. That covariance is the
one of probabilistic principal components (Tipping and Bishop, 1999), since there are more features than images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.export.onnx_file import by_threads, engine
from training.images import Images
from training.networks.network import Served

# More images make the job longer and the covariance hardly better; of fewer components than these most are noise.
MOST_IMAGES = 500
COMPONENTS = 48
# Of a direction: of the mean of all, and where all images are alike.
_LEAST_SHARE, _LEAST_VARIANCE = 1e-3, 1e-20


class Distance(nn.Module):
    """Features float32 [N, D] to the distance from the nearest of the classes' centres, float32 [N]; 1 is usual."""

    centres: Tensor
    basis: Tensor
    weights: Tensor
    rest: Tensor

    def __init__(self, features: Tensor, predicted: Tensor) -> None:
        super().__init__()
        classes = torch.unique(predicted)
        centres = torch.stack([features[predicted == index].mean(dim=0) for index in classes])
        inner = features - centres[torch.searchsorted(classes, predicted)]
        kept = max(1, min(COMPONENTS, len(features) // 8, features.shape[1] - 1))
        _, values, vectors = torch.linalg.svd(inner, full_matrices=False)
        variances = values**2 / len(features)
        floor = variances.sum() / features.shape[1] * _LEAST_SHARE + _LEAST_VARIANCE
        rest = (variances[kept:].sum() / max(1, features.shape[1] - kept)).clamp(min=floor)
        self.register_buffer("centres", centres)  # [classes, D]
        self.register_buffer("basis", vectors[:kept].T.contiguous())  # [D, kept]
        self.register_buffer("weights", 1.0 / variances[:kept].clamp(min=floor) - 1.0 / rest)
        self.register_buffer("rest", rest)

    def forward(self, features: Tensor) -> Tensor:
        """Features float32 [N, D] to distances float32 [N]."""
        away = features.unsqueeze(1) - self.centres
        squares = (away**2).sum(dim=2) / self.rest + ((away @ self.basis) ** 2 * self.weights).sum(dim=2)
        return torch.sqrt(squares.amin(dim=1).clamp(min=0.0) / features.shape[1])


class WithFeatures(nn.Module):
    """A served model that answers what went into its last layers too, float32 [N, D], side by side."""

    def __init__(self, model: Served, classes: int, *, calibrated: bool = True) -> None:
        super().__init__()
        self.model, self.calibrated = model, calibrated
        self._heads = [part for part in model.modules() if isinstance(part, nn.Linear) and part.out_features == classes]
        self._seen: dict[int, list[Tensor]] = {}
        for number, head in enumerate(self._heads):
            head.register_forward_pre_hook(lambda _, inputs, number=number: self._note(number, inputs[0]))

    def _note(self, number: int, features: Tensor) -> None:
        self._seen.setdefault(number, []).append(features)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 [N, size, size, 3] to probabilities and features; those of several views are averaged.

        Unless it is ``calibrated``, to logits.
        """
        self._seen.clear()
        answers: Tensor = self.model(images) if self.calibrated else self.model.logits(images)
        features = torch.cat([torch.stack(self._seen[number]).mean(dim=0) for number in sorted(self._seen)], dim=1)
        return answers, features


@dataclass(frozen=True)
class Seen:
    """What a model makes of training images: what goes into its last layers, float32 [N, D], and classes int64 [N]."""

    features: Tensor
    predicted: Tensor


@dataclass(frozen=True)
class Known:
    """What a training knows of its finished model, so that nobody passes the images through the network once more."""

    validation_logits: Tensor
    """Of all validation images, float32 [N, classes], as the model gives them."""
    trained_on: Seen


def some_of(count: int, most: int = MOST_IMAGES) -> Tensor:
    """Which of so many images are looked at, evenly spread: int64 [at most ``most``]."""
    return torch.linspace(0, count - 1, min(count, most)).long()


def look_at(model: Served, classes: int, validation: Images, train: Images) -> Known:
    """What a model makes of all validation images, and of some training images."""
    outputs = ["logits", "features"]
    inner, size = WithFeatures(model, classes, calibrated=False), validation[:1].shape[1]
    passes = engine(inner, size, outputs, dict.fromkeys(["images", *outputs], 0))

    def of(images: Images, rows: Tensor) -> list[Tensor]:
        return [torch.cat(parts) for parts in zip(*by_threads(passes, images, rows), strict=True)]

    logits, features = of(train, some_of(len(train)))
    return Known(of(validation, torch.arange(len(validation)))[0], Seen(features, logits.argmax(dim=1)))


class WithNovelty(nn.Module):
    """What is exported: a model's probabilities, and how far its images are from those that it learned from."""

    def __init__(self, model: Served, classes: int, seen: Seen) -> None:
        super().__init__()
        self.inner = WithFeatures(model, classes).eval()
        self.distance = Distance(seen.features, seen.predicted)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 [N, size, size, 3] to probabilities float32 [N, classes] and distances float32 [N]."""
        probabilities, features = self.inner(images)
        return probabilities, self.distance(features)
