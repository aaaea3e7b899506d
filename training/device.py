"""What a training computes on, chosen here and nowhere else: a GPU in bfloat16 where there is one, or the CPU.

Runs in the training container, in every process of a training. ``--device cpu-bf16`` is for processors with such
instructions (AVX512-BF16, AMX). Why no library does this: docs/decisions/5-device.md.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from processing.machine import cores
from training.loop import TrainingError

CHOICES = ("auto", "cpu", "cpu-bf16", "cuda")
MOST_LOADERS = 8
_REFUSED = ("can't allocate memory", "Unable to allocate", "std::bad_alloc")
"""What torch's allocator for the CPU, numpy and C++ say, in errors without a type of their own."""


@dataclass(frozen=True)
class Device:
    """Where tensors lie, and whether convolutions count in bfloat16 there."""

    kind: str = "cpu"
    bf16: bool = False

    @classmethod
    def chosen(cls, wanted: str = "auto") -> Device:
        """One of CHOICES; ``auto`` takes the GPU where there is one. Raises TrainingError where there is none."""
        there = torch.cuda.is_available()
        if wanted == "cuda" and not there:
            raise TrainingError("--device cuda: this machine has no GPU that torch can use; take auto or cpu")
        if wanted == "cuda" or (wanted == "auto" and there):
            return cls("cuda", bf16=torch.cuda.is_bf16_supported())
        return cls("cpu", bf16=wanted == "cpu-bf16")

    @property
    def name(self) -> str:
        """``cuda in bfloat16``."""
        return f"{self.kind} in {'bfloat16' if self.bf16 else 'float32'}"

    def put(self, tensor: Tensor) -> Tensor:
        """The tensor where it is computed with."""
        return tensor.to(self.kind, non_blocking=True)

    def precision(self) -> torch.autocast:
        """Within it, what bears it is computed in bfloat16; weights stay float32."""
        return torch.autocast(self.kind, torch.bfloat16, enabled=self.bf16)

    def loaders(self, processes: int = 1) -> int:
        """How many processes decode for one of so many that train: none where there is a single core."""
        return min(MOST_LOADERS, max(0, cores() // processes - 1))

    @contextlib.contextmanager
    def memory(self, batch_size: int) -> Iterator[None]:
        """Turn a lack of memory into TrainingError, one line that says which batch to try; 0: there are no batches."""
        try:
            yield
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            lacks = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
                said in str(error) for said in _REFUSED
            )
            if not lacks:
                raise
            raise TrainingError(f"out of memory on {self.kind}: {_advice(batch_size)}") from error


CPU = Device()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Within it, torch computes in the thread that asks: of a few images, others would mostly wait, at full speed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _advice(batch_size: int) -> str:
    if batch_size > 1:
        return f"the batch has {batch_size} images, try --batch-size {batch_size // 2}"
    return "try a smaller --network-side, or an instance with more memory"


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Let a command choose."""
    parser.add_argument(
        "--device", choices=CHOICES, default="auto", help="auto: a GPU in bfloat16 where there is one, else the CPU"
    )
