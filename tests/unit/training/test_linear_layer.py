"""The linear layer of the recipe `frozen` is the optimum, however many features it is fitted to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from training.recipes import linear
from training.recipes.linear import FEW, fit_linear, logits_of


@pytest.mark.parametrize(
    ("count", "kind", "kept"),
    [(300, torch.float32, linear.MOST_KEPT), (FEW + 1000, torch.float16, linear.MOST_KEPT), (300, torch.float32, 0)],
)
def test_the_layer_is_the_penalised_optimum(
    count: int, kind: torch.dtype, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many classes, too, of which the optimizer remembers few steps."""
    monkeypatch.setattr(linear, "MOST_KEPT", kept)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (count,), generator=generator)
    features = torch.randn(count, 6, generator=generator) * torch.arange(1, 7) + labels.unsqueeze(1)
    penalty = 0.01
    ours = logits_of(fit_linear(features.to(kind), labels, 3, penalty), features.to(kind)).softmax(dim=1)
    scaled = ((features - features.mean(dim=0)) / features.std(dim=0)).numpy()
    theirs = LogisticRegression(C=1 / (2 * penalty * count), tol=1e-8, max_iter=1000).fit(scaled, labels.numpy())
    assert np.abs(ours.detach().numpy() - theirs.predict_proba(scaled)).max() < 2e-3
