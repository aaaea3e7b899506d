"""Train the ensemble on the dataset folder and write the model archive's content.

Runs in a SageMaker training container (script mode): ``python training/train.py``, with the code root on
PYTHONPATH. Reads the channel ``dataset``; writes SM_MODEL_DIR, and ``failure`` in SM_OUTPUT_DIR when it fails.
Where /opt/ml/checkpoints exists, a job that was cut off goes on from there.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import NoReturn

import numpy as np
import torch

from imaging.dataset import DatasetError, read_examples, read_manifest
from imaging.labels import FLOAT32, INT8, PRECISIONS
from reporting.documents.training import EnsembleScores, EpochFigures, TrainedOn, TrainingArguments, TrainingRecord
from reporting.tracking import tracked_run
from training.device import add_device_argument, one_thread
from training.export.archive import PARITY_IMAGES, ExampleImages, write_model
from training.export.quantise import Int8Trial
from training.hosts import Hosts
from training.hyperparameters import HyperparameterError, add_arguments, given
from training.images import Split, open_split
from training.loop import TrainingError
from training.networks.backbone import Pretrained, add_backbone_arguments
from training.novelty import look_at
from training.recipes.chosen import PRETRAINED_MODES, TrainingTask, train_model
from training.tracked import epoch_metrics, found, score_metrics, told
from training.workers import Workers

FEWEST_IMAGES = 5  # of each class to train on: what the folds of the calibration need
FAILURE_LIMIT = 1024  # characters; SageMaker shows no more in FailureReason


def main(argv: list[str] | None = None) -> int:
    """Train, calibrate, export; the exit status. A failure is also left in the file that SageMaker shows."""
    arguments = _parse(argv)
    signal.signal(signal.SIGTERM, _stop)  # a stopped job: end the members too
    try:
        # One run for all hosts: the first one's, which writes the model.
        with tracked_run(os.environ if Hosts.here().first else {}, "training") as tracked:
            tracked.parameters(told(arguments))
            record = run(arguments)
            tracked.parameters(found(record))
            tracked.metrics([*epoch_metrics(record.history), *score_metrics(record)])
            tracked.note(arguments.model_dir)
    except (DatasetError, HyperparameterError, TrainingError) as error:
        print(f"train: {error}", file=sys.stderr)
        _leave_failure(arguments.output_dir, str(error))
        return 1
    except Exception:
        _leave_failure(arguments.output_dir, traceback.format_exc()[-FAILURE_LIMIT:])
        raise
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    def folder(variable: str, default: str) -> Path:
        return Path(os.environ.get(variable, default))

    parser = argparse.ArgumentParser(prog="training.train", description="Train, calibrate and export the classifier.")
    parser.add_argument("--recipe", choices=("scratch", "pretrained"), default="scratch")
    parser.add_argument("--pretrained-mode", choices=PRETRAINED_MODES, default=PRETRAINED_MODES[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=PRECISIONS, default=FLOAT32, help="of the exported model")
    add_arguments(parser)
    add_backbone_arguments(parser)
    add_device_argument(parser)
    parser.add_argument("--dataset", type=Path, default=folder("SM_CHANNEL_DATASET", "/opt/ml/input/data/dataset"))
    parser.add_argument("--model-dir", type=Path, default=folder("SM_MODEL_DIR", "/opt/ml/model"))
    parser.add_argument("--output-dir", type=Path, default=folder("SM_OUTPUT_DIR", "/opt/ml/output"))
    parser.add_argument("--checkpoint-dir", type=Path, default=Path("/opt/ml/checkpoints"), help="used where it exists")
    arguments = parser.parse_args(argv)
    try:
        given(arguments)
    except HyperparameterError as error:
        parser.error(str(error))
    return arguments


def run(arguments: argparse.Namespace) -> TrainingRecord:
    """The whole job; what it leaves in training.json. Raises DatasetError, HyperparameterError or TrainingError."""
    started, hosts = time.monotonic(), Hosts.here()
    manifest = read_manifest(arguments.dataset)
    images, labels = check_dataset(arguments.dataset, manifest.classes)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoints = arguments.checkpoint_dir if arguments.checkpoint_dir.is_dir() else None
        pretrained = Pretrained(arguments.backbone, arguments.backbone_weights)
        workers = Workers(
            arguments.dataset,
            arguments.seed,
            pretrained,
            Path(scratch),
            checkpoints,
            arguments.device,
            manifest.image_size,
        )
        trained = train_model(arguments, workers, TrainingTask(len(manifest.classes), manifest.image_size, pretrained))
    model = trained.model.eval()
    known = trained.known or look_at(
        model, len(manifest.classes), validation=images, train=open_split(arguments.dataset, "train")[0]
    )
    logits = known.validation_logits
    model.temperature = trained.temperature(logits, labels)
    scores = EnsembleScores(
        validation_accuracy=(logits.argmax(dim=1) == labels).double().mean().item(),
        validation_loss=torch.nn.functional.cross_entropy(logits / model.temperature, labels).item(),
    )
    record = TrainingRecord(
        recipe=trained.name,
        arguments=TrainingArguments(**{name: getattr(arguments, name) for name in TrainingArguments.__struct_fields__}),
        versions=_versions(),
        dataset=TrainedOn(counts=manifest.counts, source_sha256=manifest.source_sha256, image_size=manifest.image_size),
        scores=scores,
        temperature=model.temperature,
        cpu_seconds=sum(trained.cpu_seconds) + time.process_time(),
        process_cpu_seconds=trained.cpu_seconds,
        history=[EpochFigures(**row) for row in trained.history],
    )
    if not hosts.first:
        print(f"{hosts.names[0]} writes the model that {', '.join(hosts.names)} trained", flush=True)
        return record
    trial = None
    if arguments.precision == INT8:
        trial = Int8Trial(open_split(arguments.dataset, "train")[0], images, logits.argmax(dim=1), labels)
    examples = ExampleImages(images[:PARITY_IMAGES], known.trained_on, trial)
    with one_thread():
        difference = write_model(model, manifest.classes, record, examples, arguments.model_dir)
    figures = f"ensemble_validation_accuracy={scores.validation_accuracy:.4f}"
    figures += f" ensemble_validation_loss={scores.validation_loss:.4f}"
    seconds = f"cpu_seconds={record.cpu_seconds:.1f} seconds={time.monotonic() - started:.1f}"
    print(f"{figures} temperature={model.temperature:.4f} parity={difference:.1e} {seconds}", flush=True)
    return record


def check_dataset(folder: Path, classes: list[str]) -> Split:
    """The validation images, when every class has enough of both kinds. Raises DatasetError naming what is missing."""
    if len(classes) < 2:
        raise DatasetError(
            f"{folder}: expected at least two classes, dataset.json names {', '.join(classes) or 'none'}"
        )
    for split, fewest in (("train", FEWEST_IMAGES), ("validation", 1)):
        counts = Counter(example.label for example in read_examples(folder, split))
        for label, name in enumerate(classes):
            if counts[label] < fewest:
                raise DatasetError(
                    f"{folder}: class {name} has {counts[label]} {split} images, at least {fewest} are needed;"
                    " add images or leave the class out"
                )
    return open_split(folder, "validation")


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "onnxruntime": version("onnxruntime"),
    }


def _leave_failure(output_dir: Path, message: str) -> None:
    if not output_dir.parent.is_dir():  # no /opt/ml: training runs outside a container
        return
    output_dir.mkdir(exist_ok=True)
    (output_dir / "failure").write_text(message[:FAILURE_LIMIT], encoding="utf-8")


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
