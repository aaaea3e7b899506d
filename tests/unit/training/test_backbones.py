"""Pretrained networks of timm: whose weights fit, and what is said when they do not."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from training.loop import TrainingError
from training.networks.backbone import Pretrained, create, fold
from training.networks.photo_views import photograph_views
from training.networks.vision import timm

PIXELS = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    """A small network of timm's, and its weights in a file."""
    torch.manual_seed(0)
    network = timm.create_model("resnet10t").eval()
    path = tmp_path_factory.mktemp("weights") / "resnet.safetensors"
    save_file(network.state_dict(), path)
    return network, path


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2"])
def test_the_wheels_hold_weights_that_know_imagenet(name: str) -> None:
    backbone = create(Pretrained(name))
    with torch.inference_mode():
        maps = backbone.maps(PIXELS)
        assert backbone(PIXELS).softmax(dim=1).amax(dim=1).min() > 1 / 1000
    assert len(maps) > 12
    assert all(torch.isfinite(found).all() for found in maps)


def test_any_network_of_timm_takes_weights_from_a_file_and_answers_as_timm_does(
    resnet: tuple[torch.nn.Module, Path],
) -> None:
    network, path = resnet
    backbone = create(Pretrained("resnet10t", str(path)))
    mean, deviation = (torch.tensor(network.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        expected = network(((PIXELS * 128 + 127) / 255 - mean) / deviation)
        assert torch.allclose(backbone(PIXELS), expected, atol=1e-4)
        assert backbone.for_classes(3)(PIXELS).tolist() == [[0.0] * 3] * 2


def test_folding_the_norms_changes_nothing_but_the_time() -> None:
    network = timm.create_model("tf_efficientnet_lite0").eval()
    with torch.inference_mode():
        before = network(PIXELS)
        fold(network)
        assert torch.allclose(network(PIXELS), before, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


def test_weights_that_do_not_fit_are_refused_by_name(resnet: tuple[torch.nn.Module, Path], tmp_path: Path) -> None:
    (tmp_path / "code.pth").write_bytes(pickle.dumps(print, protocol=2))
    (tmp_path / "text.safetensors").write_text("no tensors")
    for pretrained, reason in (
        (Pretrained("resnet18", "installed"), "no weights of resnet18 are here"),
        (Pretrained("resnet99"), "timm has no network 'resnet99'; did you mean resnet"),
        (Pretrained("resnet18", str(resnet[1])), "are of another architecture than resnet18"),
        (Pretrained("resnet18", str(tmp_path / "nowhere.pth")), "cannot be read"),
        (Pretrained("resnet18", str(tmp_path / "code.pth")), "expected a file with tensors only"),
        (Pretrained("resnet18", str(tmp_path / "text.safetensors")), "cannot be read"),
    ):
        with pytest.raises(TrainingError, match=reason):
            create(pretrained)


def test_views_of_photographs_repeat_with_their_seed_and_leave_torch_s_own_generator_alone() -> None:
    images = torch.randint(0, 256, (3, 80, 80, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before = torch.random.get_rng_state()
    first, again, other = (photograph_views(images, 64, seed) for seed in (1, 1, 2))
    assert first.shape == (3, 64, 64, 3) and first.dtype == torch.uint8
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert math.isfinite(first.float().mean().item())
