"""timm and torchvision, importable beside any build of torch.

Runs in the training container. The index's wheel of torchvision is for CUDA's torch. Beside a CPU build its operators
for boxes cannot be loaded, and its import fails because their names are missing. None of them is used here, so the
names are declared first; where the operators are there, nothing is done.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_UNUSED = ("nms", "qnms")
_library: list[torch.library.Library] = []  # the names live as long as it does


def _declare_unused_operators() -> None:
    found = importlib.util.find_spec("torchvision")
    folder = Path(str(found.origin)).parent if found else Path()
    try:
        for path in folder.glob("_C*.so"):
            torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]  # torch left it bare
    except OSError:
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]  # likewise
        for name in _UNUSED:
            schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(schema)  # type: ignore[no-untyped-call]  # likewise
        _library.append(library)


_declare_unused_operators()

import timm  # noqa: E402  # after the names
from torchvision.transforms import v2  # noqa: E402  # likewise

__all__ = ["timm", "v2"]
