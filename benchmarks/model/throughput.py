"""Images a second of a training against a bare torch loop: ``python -m benchmarks.model.throughput``.

Runs on a laptop. Draws photographs, filters them to 224 pixels, and trains the recipe `fine-tuned` on them with the
containers' command: files are decoded, views drawn, weights averaged, epochs checkpointed. The bare loop gives the same
network, with the same layers kept, batches that lie in memory: forward, loss, backward, step. Both take the device that
is there, one thread of a CPU, and the same settings of the memory allocator; the best epoch of each counts, in seconds
of processor time of all its processes (on a GPU, of the clock). ``--one`` is the bare loop.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import torch
from torch import nn

from benchmarks.model.accuracy import filtered
from benchmarks.model.photographs import draw
from benchmarks.processor_time import cpu_s
from training.device import Device
from training.hyperparameters import resolve
from training.networks.backbone import Pretrained, create
from training.workers import KEEP_MEMORY

ROOT = Path(__file__).resolve().parents[2]
SIZE, CLASSES, EPOCHS = 224, 2, 3
TASK = "fine-tuned"
Clock = Callable[[], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=320, help="photographs of an epoch (default: 320)")
    parser.add_argument("--one", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        bare_loop(arguments.one)
        return
    with tempfile.TemporaryDirectory(prefix="scones-throughput-") as name:
        first, images = 0, arguments.count
        # What is validated is no part of what is compared: as few as there may be.
        for split, count in (("train", images), ("validation", CLASSES), ("test", 5 * CLASSES)):
            draw(Path(name) / "pictures" / split, range(first, first + count), CLASSES)
            first += count
        dataset = filtered(0, Path(name) / "pictures", "", Path(name), SIZE)
        places = ["--dataset", str(dataset), "--output", str(Path(name) / "result.pt")]
        options = ["--checkpoint", str(Path(name) / "state.pt"), "--seed", "0", "--member", "0"]
        own = best_epoch("-m", "training.member", "--task", TASK, "--epochs", str(2 * EPOCHS), *places, *options)
        bare = best_epoch("-m", "benchmarks.model.throughput", "--one", str(images))
    unit = "second" if torch.cuda.is_available() else "CPU second"
    print(f"{images} images an epoch at {SIZE} pixels, {Device.chosen().name}")
    print(f"training: {images / own:.1f} images a {unit}; bare loop: {images / bare:.1f}; ratio {bare / own:.2f}")


def best_epoch(*command: str) -> float:
    """Seconds of the quickest of the last epochs, of a program that prints a line that begins so after each."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **KEEP_MEMORY}
    with subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:
        clock = time.perf_counter if torch.cuda.is_available() else _processor(psutil.Process(process.pid))
        ends = list(_ends(process, clock))
    if process.returncode:
        sys.exit(f"{' '.join(command[:2])} failed")
    # The first half of a training's epochs sees smaller images.
    return min(after - before for before, after in list(itertools.pairwise(ends))[-EPOCHS + 1 :])


def _processor(process: psutil.Process) -> Clock:
    """CPU seconds of a process and of those that it started, gone ones included."""

    def spent() -> float:
        times = process.cpu_times()
        gone = float(times.children_user + times.children_system)
        return cpu_s(process) + gone + sum(cpu_s(child) for child in process.children(recursive=True))

    return spent


def _ends(process: subprocess.Popen[bytes], clock: Clock) -> Iterator[float]:
    assert process.stdout is not None  # noqa: S101  # it is a pipe
    for line in process.stdout:
        if line.startswith(b"epoch="):
            yield clock()


def bare_loop(images: int) -> None:
    """As many images as an epoch has, in batches of noise that stay in memory."""
    torch.set_num_threads(1)
    device, chosen = Device.chosen(), resolve(TASK, {}, SIZE)
    network = create(Pretrained()).for_classes(CLASSES)
    network.freeze(chosen.frozen_blocks)
    network.to(device.kind).train()
    rates = torch.optim.AdamW([weight for weight in network.parameters() if weight.requires_grad])
    loss_of = nn.CrossEntropyLoss()
    pixels = device.put(torch.rand(chosen.batch_size, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last))
    labels = device.put(torch.arange(chosen.batch_size) % CLASSES)
    for epoch in range(EPOCHS + 1):
        for start in range(0, images, chosen.batch_size):
            rows = min(chosen.batch_size, images - start)
            with device.precision():
                logits = network(pixels[:rows])
            loss = loss_of(logits.float(), labels[:rows])
            rates.zero_grad(set_to_none=True)
            loss.backward()
            rates.step()
        print(f"epoch={epoch} loss={loss.item():.3f}", flush=True)


if __name__ == "__main__":
    main()
