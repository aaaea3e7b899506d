"""What a library for device and precision costs a training on a CPU: ``python -m benchmarks.model.device_libraries``.

Runs on a laptop. For none (``training/device.py``) and for each of accelerate and lightning-fabric that can be imported
(``--path DIR`` adds a folder that they were installed into): CPU seconds and MiB of the import, and CPU milliseconds of
a step of the small network, in a process of its own. Best of several rounds of forty steps.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from training.networks.network import Network

BATCH, STEPS, ROUNDS = 32, 40, 5
Step = Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", action="append", default=[], help="a folder with packages; can be repeated")
    parser.add_argument("--one", choices=PREPARED, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path += arguments.path
    if arguments.one:
        print(measure(arguments.one))
        return
    more = [part for path in arguments.path for part in ("--path", path)]
    for name in PREPARED:
        command = [sys.executable, "-m", "benchmarks.model.device_libraries", "--one", name, *more]
        ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
        print(ended.stdout.strip() if ended.returncode == 0 else f"{name:12} is not installed")


def measure(name: str) -> str:
    """One line of figures."""
    torch.set_num_threads(1)
    before, began = resident_mib(), time.process_time()
    prepare = PREPARED[name]()
    imported, grown = time.process_time() - began, resident_mib() - before
    network = Network(2).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    rates = torch.optim.SGD([weight for weight in network.parameters() if weight.requires_grad], lr=0.01, momentum=0.9)
    step = prepare(network, rates)
    best = min(rounds(step))
    return f"{name:12} import {imported:.2f} CPU s and {grown:.0f} MiB, a step {best * 1000:.1f} CPU ms"


def rounds(step: Step) -> Iterator[float]:
    """CPU seconds of a step, the first round left out."""
    for number in range(ROUNDS + 1):
        began = time.process_time()
        for _ in range(STEPS):
            step()
        if number:
            yield (time.process_time() - began) / STEPS


def own() -> Callable[[Any, Any], Step]:
    return lambda network, rates: stepping(network, rates, lambda loss: loss.backward())


def accelerate() -> Callable[[Any, Any], Step]:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    return lambda network, rates: stepping(*accelerator.prepare(network, rates), accelerator.backward)


def fabric() -> Callable[[Any, Any], Step]:
    from lightning_fabric import Fabric

    made = Fabric(accelerator="cpu", devices=1, precision="32-true")
    with contextlib.redirect_stderr(None):
        made.launch()
    return lambda network, rates: stepping(*made.setup(network, rates), made.backward)


PREPARED = {"none": own, "accelerate": accelerate, "fabric": fabric}


def stepping(network: Any, rates: Any, backward: Callable[[Any], None]) -> Step:
    images = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 2, (BATCH,))

    def step() -> None:
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        rates.zero_grad()
        backward(loss)
        rates.step()

    return step


def resident_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
