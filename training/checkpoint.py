"""Checkpoints: a training that was cut off (a spot interruption) goes on where it was, with the same result.

Runs in the training container. Reads and writes one file per network in /opt/ml/checkpoints, which SageMaker copies to
S3 and back. The key tells what a checkpoint belongs to; one of another configuration, dataset or code is left alone.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor


class Checkpoint:
    """The state of one training under ``path``, or nowhere when ``path`` is None; of several hosts one ``writes``."""

    def __init__(self, path: Path | None, key: str, *, writes: bool = True) -> None:
        self.path, self.key, self.writes = path, key, writes

    def restore(self) -> Mapping[str, object] | None:
        """The state last saved under this key; None, with a line that says why, when there is none to go on from."""
        if self.path is None or not self.path.is_file():
            return None
        try:
            stored = torch.load(self.path, weights_only=True)
            matches = stored["key"] == self.key
            state: Mapping[str, object] = stored["state"]
        except (OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
            print(f"checkpoint {self.path} is ignored, training starts afresh: cannot be read ({error})", flush=True)
            return None
        if not matches:
            print(
                f"checkpoint {self.path} is ignored, training starts afresh: it is of another configuration or dataset",
                flush=True,
            )
            return None
        return state

    def save(self, state: Mapping[str, object]) -> None:
        """Replace the file at once: a process that is killed here leaves the former checkpoint."""
        if self.path is None or not self.writes:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        torch.save({"key": self.key, "state": state}, partial)
        partial.replace(self.path)


def checkpoint_key(configuration: dict[str, object], data: Iterable[Tensor], images: Iterable[bytes]) -> str:
    """A digest of the configuration, of images and labels, of torch's version and of this package's source."""
    document = json.dumps({**configuration, "torch": str(torch.__version__)}, sort_keys=True)
    digest = hashlib.sha256(document.encode())
    for tensor in data:
        digest.update(tensor.contiguous().numpy().tobytes())
    for part in images:
        digest.update(part)
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()
