"""Write a network as an ONNX file: the model that is served, and what only a training computes with.

Runs in the training container.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from processing.machine import cores
from serving.inference import open_session
from training.images import Images

OPSET = 17
AT_ONCE = 2  # images that a thread passes through a network: more take memory, and no less time

Found = TypeVar("Found")
Passes = Callable[[Tensor], list[Tensor]]
"""What images uint8 [N, size, size, 3] become: a tensor for each output. Many threads may ask."""


def engine(network: nn.Module, size: int, outputs: list[str], batches: dict[str, int]) -> Passes:
    """A network on the CPU by the engine that serves it, which takes three fifths of torch's time.

    ``size`` in pixels; ``batches`` as for `write_onnx`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "network.onnx"
        write_onnx(network, torch.zeros(2, size, size, 3, dtype=torch.uint8), path, outputs, batches)
        session = open_session(path)
    return lambda images: [torch.from_numpy(found) for found in session.run(outputs, {"images": images.numpy()})]


def by_threads(ask: Callable[[Tensor], Found], images: Images, rows: Tensor) -> list[Found]:
    """What is answered about some images, AT_ONCE of them at a time, in their order; a thread for each core."""
    with ThreadPoolExecutor(cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        parts = torch.split(rows, AT_ONCE)
        return list(pool.map(lambda part: ask(images[part]), parts))


def write_onnx(network: nn.Module, example: Tensor, path: Path, outputs: list[str], batches: dict[str, int]) -> None:
    """Write what a network makes of ``images``; ``batches`` names the axis of each tensor that has any length."""
    # Whatever the network remembers of its pass would keep all maps of that pass with it, for a gradient.
    with torch.no_grad(), warnings.catch_warnings():
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
