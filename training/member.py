"""One process of a training: ``python -m training.member``, with one thread.

Runs in the training container, started by train.py. Reads the dataset folder, writes its result; prints one line per
epoch that the training job's metric definitions read. One thread, because the same seed gives the same weights only for
the same number of threads, and because two members then use two cores fully.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from imaging.dataset import DatasetError, read_manifest
from training.checkpoint import Checkpoint, checkpoint_key
from training.device import Device, add_device_argument
from training.hosts import Hosts
from training.hyperparameters import add_arguments, given, resolve
from training.images import fingerprint, open_split
from training.job import Job, ProcessResult, read_result
from training.loop import TrainingError
from training.networks.backbone import Pretrained, add_backbone_arguments
from training.recipes import distill, frozen, pretrained, scratch

TASKS: dict[str, Callable[[Job], ProcessResult]] = {
    "scratch": scratch.train_scratch,
    "fine-tuned": pretrained.train_fine_tuned,
    "views": distill.make_views,
    "student": distill.train_student,
    "frozen": frozen.train_frozen,
}
SHARED = {"fine-tuned", "frozen"}
"""Tasks that several hosts share."""


def main(argv: list[str] | None = None) -> int:
    """Run one task and write its result; the exit status."""
    arguments = _parse(argv)
    if arguments.until_input_ends:
        threading.Thread(target=_end_with_input, daemon=True).start()
    torch.set_num_threads(1)
    # Some of CUDA's have no deterministic variant, such as a mean's gradient; there, equal seeds differ by rounding.
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # absent from the stubs
    try:
        job = _job(arguments)
        with job.device.memory(job.hyperparameters.batch_size), job.hosts.together(arguments.task):
            result = TASKS[arguments.task](job)
    except (DatasetError, TrainingError) as error:
        print(f"member {arguments.member}: {error}", file=sys.stderr)
        return 1
    result["tensors"] = {name: tensor.cpu() for name, tensor in result["tensors"].items()}
    torch.save(result, arguments.output)
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="training.member", description="Run one process of a training.")
    parser.add_argument("--task", choices=TASKS, default="scratch")
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="file for the result")
    parser.add_argument("--inputs", type=Path, nargs="*", default=[], help="results that this task builds upon")
    parser.add_argument("--checkpoint", type=Path, help="file for the checkpoint; none by default")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--member", type=int, required=True)
    add_arguments(parser)
    add_backbone_arguments(parser)
    add_device_argument(parser)
    parser.add_argument("--until-input-ends", action="store_true", help="end with whoever holds the standard input")
    return parser.parse_args(argv)


def _end_with_input() -> None:
    """End this process at once when train.py is gone, even killed: nobody would read the result."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def _job(arguments: argparse.Namespace) -> Job:
    hosts = Hosts.here()
    if hosts.several and arguments.task not in SHARED:
        raise TrainingError(
            f"{arguments.task} trains on one instance, there are {len(hosts.names)}: set training_instances to 1,"
            " or take the mode frozen or fine-tuned"
        )
    device = Device.chosen(arguments.device)
    manifest = read_manifest(arguments.dataset)
    chosen = resolve(arguments.task, given(arguments), manifest.image_size)
    classes = len(manifest.classes)
    pretrained_network = Pretrained(arguments.backbone, arguments.backbone_weights)
    train, validation = (open_split(arguments.dataset, split) for split in ("train", "validation"))
    configuration = {
        "task": arguments.task,
        "seed": arguments.seed,
        "member": arguments.member,
        "hosts": len(hosts.names),
        "classes": classes,
        "device": device.name,
        **asdict(chosen),
        **asdict(pretrained_network),
    }
    inputs = [read_result(path)["tensors"] for path in arguments.inputs]
    data = [train[1], validation[1], *(tensor for tensors in inputs for tensor in tensors.values())]
    pixels = itertools.chain(*(fingerprint(images, manifest) for images, _ in (train, validation)))
    return Job(
        hyperparameters=chosen,
        seed=arguments.seed,
        member=arguments.member,
        classes=classes,
        train=train,
        validation=validation,
        image_size=manifest.image_size,
        pretrained=pretrained_network,
        checkpoint=Checkpoint(arguments.checkpoint, checkpoint_key(configuration, data, pixels), writes=hosts.first),
        inputs=inputs,
        hosts=hosts,
        device=device,
    )


if __name__ == "__main__":
    sys.exit(main())
