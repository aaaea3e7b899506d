"""What one training process is given and what it hands back.

Runs in the training container; member.py reads a Job from the command line, the recipes take it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from training.checkpoint import Checkpoint
from training.device import Device
from training.hosts import Hosts
from training.hyperparameters import Hyperparameters
from training.images import Split
from training.loop import Epoch
from training.networks.backbone import Pretrained


class ProcessResult(TypedDict):
    """What a process leaves in its file."""

    tensors: dict[str, Tensor]
    history: list[Epoch]
    cpu_seconds: float


@dataclass(frozen=True)
class Job:
    """One process's part of a training."""

    hyperparameters: Hyperparameters
    seed: int
    member: int
    classes: int
    train: Split
    validation: Split
    image_size: int
    """Pixels of each side."""
    pretrained: Pretrained
    checkpoint: Checkpoint
    inputs: list[dict[str, Tensor]]  # what the processes that this one builds upon left
    hosts: Hosts
    device: Device

    @property
    def network_seed(self) -> int:
        """Another seed for each member."""
        return self.seed * 1000 + self.member


def read_result(file: Path) -> ProcessResult:
    """A result that a process left with torch.save."""
    result: ProcessResult = torch.load(file, weights_only=True)
    return result
