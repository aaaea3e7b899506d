"""A linear layer fitted to features that fit into memory, or to so many that they are kept in half precision.

Runs in the training container, inside the recipe `frozen`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

STEPS = 100
FEW = 8192  # rows that are scaled once, in double precision; of more, a part at a time
PART = 4096
HISTORY = 100  # steps that the optimizer remembers, two copies of the weights each
FEWEST_KEPT, MOST_KEPT = 10, 1 << 25  # of these steps, and of their numbers: 0.5 GB in double precision

Parts = Callable[[], Iterator[tuple[Tensor, Tensor]]]


def fit_linear(features: Tensor, labels: Tensor, classes: int, penalty: float) -> nn.Linear:
    """Penalised multinomial logistic regression; the scaling to unit variance is folded into the layer.

    ``features`` float32 or float16 [N, D], ``labels`` int64 [N].
    """
    mean, deviation = _moments(features)
    if len(features) <= FEW:
        scaled = ((features - mean) / deviation).double()
        weights = _minimum(lambda: iter([(scaled, labels)]), labels.bincount(minlength=classes), len(mean), penalty)
        return _folded(*weights, mean, deviation)

    def parts() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(features), PART):
            rows = slice(start, start + PART)
            yield (features[rows].float() - mean) / deviation, labels[rows]

    weights = _minimum(parts, labels.bincount(minlength=classes), len(mean), penalty)
    return _folded(*weights, mean, deviation)


def _minimum(parts: Parts, counts: Tensor, width: int, penalty: float) -> tuple[Tensor, Tensor]:
    """Weight float64 [classes, D] and bias; ``counts``: rows of each class."""
    classes, total = len(counts), int(counts.sum())
    weight = torch.zeros(classes, width, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    history = min(HISTORY, max(FEWEST_KEPT, MOST_KEPT // (classes * width)))
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS, history_size=history, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = penalty * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch left it bare
        for scaled, labels in parts():
            logits = scaled @ weight.T.to(scaled.dtype) + bias.to(scaled.dtype)
            missed = nn.functional.cross_entropy(logits, labels, reduction="sum").double() / total
            missed.backward()  # type: ignore[no-untyped-call]  # likewise
            loss = loss.detach() + missed.detach()
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch left it bare
    return weight.detach(), bias.detach()


def _folded(weight: Tensor, bias: Tensor, mean: Tensor, deviation: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight.data = weight.float() / deviation
    linear.bias.data = bias.float() - linear.weight.data @ mean
    return linear


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature, float32 [D]."""
    if len(features) <= FEW:
        return features.mean(dim=0), features.std(dim=0) + 1e-6
    mean = torch.stack([part.double().sum(dim=0) for part in _split(features)]).sum(dim=0) / len(features)
    squares = torch.stack([((part.double() - mean) ** 2).sum(dim=0) for part in _split(features)]).sum(dim=0)
    return mean.float(), (squares / (len(features) - 1)).sqrt().float() + 1e-6


def logits_of(linear: nn.Linear, features: Tensor) -> Tensor:
    """Of features of either precision, float32 [N, classes]."""
    return torch.cat([linear(part.float()) for part in _split(features)])


def _split(features: Tensor) -> Iterator[Tensor]:
    for start in range(0, len(features), PART):
        yield features[start : start + PART]
