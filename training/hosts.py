"""The hosts of a training: which one this is, its share of the work, and what all of them know together.

Runs in the training container. Reads what SageMaker's PyTorch container says of the hosts (``SM_HOSTS``,
``SM_CURRENT_HOST``, ``MASTER_ADDR``, ``MASTER_PORT``); without it there is one. Processes of the hosts meet through
torch.distributed with gloo, which needs no GPU. Who has not come within ``SCONES_HOST_WAIT_MINUTES`` is named.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch does not list it
from torch.nn.parallel import DistributedDataParallel

from training.loop import TrainingError

WAIT_VARIABLE = "SCONES_HOST_WAIT_MINUTES"
WAIT_MINUTES = 10.0
_PAUSE_S = 0.2
_TURN = timedelta(minutes=30)  # for which a host may compute by itself between two meetings
_PEER = re.compile(r"\[([0-9a-fA-F.:]+)\]:\d+")
"""How gloo names the address that it lost."""
_GLOO = re.compile(r"gloo|onnection (closed|reset|refused)|Timed out waiting|Broken pipe")


@dataclass(frozen=True)
class Hosts:
    """All hosts by name, in their order, and this one's place among them."""

    names: tuple[str, ...] = ("localhost",)
    rank: int = 0

    @classmethod
    def here(cls) -> Hosts:
        """As the container's environment says. Raises TrainingError for one that contradicts itself."""
        names = tuple(json.loads(os.environ.get("SM_HOSTS", "[]"))) or cls.names
        own = os.environ.get("SM_CURRENT_HOST", names[0])
        if own not in names:
            raise TrainingError(f"SM_CURRENT_HOST is {own!r}, which is none of the hosts {', '.join(names)}")
        return cls(names, names.index(own))

    @property
    def several(self) -> bool:
        """Whether there is more than one."""
        return len(self.names) > 1

    @property
    def first(self) -> bool:
        """Whether this is the host that writes what all have made."""
        return self.rank == 0

    def share(self, count: int) -> Tensor:
        """This host's part of so many things: every n-th, int64."""
        return torch.arange(count)[self.rank :: len(self.names)]

    @contextlib.contextmanager
    def together(self, task: str) -> Iterator[None]:
        """Meet the other hosts' processes of the same task. Raises TrainingError that names a host that is gone."""
        if not self.several:
            yield
            return
        store = self._meet(task)
        try:
            dist.init_process_group("gloo", store=store, rank=self.rank, world_size=len(self.names), timeout=_TURN)
            yield
            dist.barrier()
        except RuntimeError as error:
            if not isinstance(error, dist.DistError) and not _GLOO.search(str(error)):
                raise
            raise TrainingError(self._lost(str(error))) from error
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()

    def _meet(self, task: str) -> TCPStore:
        """Wait for all hosts, so long and no longer. Raises TrainingError that names one that did not come."""
        minutes, own = _wait_minutes(), self.names[self.rank]
        place, deadline = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])), time.monotonic() + 60 * minutes
        awaited = self.names[0]
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                store = TCPStore(
                    *place, is_master=self.first, timeout=timedelta(seconds=left_s), wait_for_workers=False
                )
                store.set(f"{task} {own}", "came")
                for awaited in self.names:
                    store.wait([f"{task} {awaited}"], timedelta(seconds=max(deadline - time.monotonic(), _PAUSE_S)))
                return store
            # Nobody there yet, or the first host's process of the task before, which is about to end.
            except RuntimeError:
                time.sleep(_PAUSE_S)
        raise TrainingError(f"host {awaited} did not come within {minutes:g} minutes ({WAIT_VARIABLE}), says {own}")

    def _lost(self, text: str) -> str:
        own, peer = self.names[self.rank], _PEER.search(text)
        others = [name for name in self.names if name != own]
        named = [name for name in others if peer and _address(name) == peer[1]]
        who = named[0] if named else others[0] if len(others) == 1 else f"one of {', '.join(others)}"
        return f"host {who} is gone in mid-training, says {own}: {text.strip().splitlines()[0][:200]}"

    def all_of(self, own: Tensor, count: int) -> Tensor:
        """Along the second dimension, all hosts' shares [views, share, D] in the order of what was shared."""
        if not self.several:
            return own
        longest = -(-count // len(self.names))
        padded = nn.functional.pad(own, (0, 0, 0, longest - own.shape[1])).contiguous()
        parts = [torch.empty_like(padded) for _ in self.names]
        dist.all_gather(parts, padded)
        return torch.stack(parts, dim=2).flatten(1, 2)[:, :count].contiguous()

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network, whose gradients become the mean over the hosts."""
        return DistributedDataParallel(network) if self.several else network


def _wait_minutes() -> float:
    text = os.environ.get(WAIT_VARIABLE, "")
    try:
        minutes = float(text or WAIT_MINUTES)
    except ValueError:
        minutes = 0.0
    if not 0.0 < minutes < float("inf"):
        raise TrainingError(f"{WAIT_VARIABLE} must be a number of minutes above 0, got {text!r}")
    return minutes


def _address(name: str) -> str:
    try:
        return socket.gethostbyname(name)
    except OSError:
        return ""
