"""Write a network as an ONNX file: the model that is served, and what only a training computes with."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

OPSET = 17


def write_onnx(network: nn.Module, example: Tensor, path: Path, outputs: list[str], batches: dict[str, int]) -> None:
    """Write what a network makes of ``images``; ``batches`` names the axis of each tensor that has any length."""
    with warnings.catch_warnings():
        # The exporter that replaces this one needs onnxscript, and the training containers' torch has both.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Said of the amounts of padding, which it leaves as a handful of operators for ONNX Runtime to fold.
        warnings.filterwarnings("ignore", "Constant folding", UserWarning)
        torch.onnx.export(
            network.eval(),
            (example,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=outputs,
            dynamic_axes={name: {axis: "N"} for name, axis in batches.items()},
        )
