"""Train the ensemble on the dataset folder and write the model archive's content.

Runs in a SageMaker training container (script mode): ``python training/train.py --epochs 24 --seed 0``, with the code
root on PYTHONPATH. Reads the channel ``dataset``; writes SM_MODEL_DIR, and ``failure`` in SM_OUTPUT_DIR when it fails.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy as np
import onnxruntime
import torch

from imaging.dataset import DatasetError, load_split, read_manifest
from training.calibration import fit_temperature
from training.export import write_model
from training.member import LEARNING_RATE, TrainingError
from training.network import Ensemble, Network, to_tensors

CODE_ROOT = Path(__file__).resolve().parent.parent
FAILURE_LIMIT = 1024  # characters; SageMaker shows no more in FailureReason
POLL_SECONDS = 0.05


def main(argv: list[str] | None = None) -> int:
    """Train, calibrate, export; the exit status. A failure is also left in the file that SageMaker shows."""
    arguments = _parse(argv)
    signal.signal(signal.SIGTERM, _stop)  # a stopped job: end the members too
    try:
        run(arguments)
    except (DatasetError, TrainingError) as error:
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
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--members", type=int, default=2, help="networks whose logits are averaged; a process each")
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--dataset", type=Path, default=folder("SM_CHANNEL_DATASET", "/opt/ml/input/data/dataset"))
    parser.add_argument("--model-dir", type=Path, default=folder("SM_MODEL_DIR", "/opt/ml/model"))
    parser.add_argument("--output-dir", type=Path, default=folder("SM_OUTPUT_DIR", "/opt/ml/output"))
    arguments = parser.parse_args(argv)
    for name in ("epochs", "members"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(arguments, name)}")
    return arguments


def run(arguments: argparse.Namespace) -> None:
    """The whole job. Raises DatasetError or TrainingError."""
    started = time.monotonic()
    manifest = read_manifest(arguments.dataset)
    networks = train_members(arguments, len(manifest["classes"]))
    images, labels = to_tensors(*load_split(arguments.dataset, "validation"))
    ensemble = Ensemble(networks).eval()
    with torch.inference_mode():
        logits = ensemble.logits(images)
        ensemble.temperature = fit_temperature(logits, labels)
        scores = {
            "validation_accuracy": (logits.argmax(dim=1) == labels).float().mean().item(),
            "validation_loss": torch.nn.functional.cross_entropy(logits / ensemble.temperature, labels).item(),
            "temperature": ensemble.temperature,
        }
    record = {
        "arguments": {name: getattr(arguments, name) for name in ("epochs", "seed", "members", "learning_rate")},
        "versions": _versions(),
        "dataset": {"counts": manifest["counts"], "source_sha256": manifest["source_sha256"]},
        "scores": scores,
    }
    difference = write_model(ensemble, manifest["classes"], record, images, arguments.model_dir)
    figures = " ".join(f"ensemble_{name}={value:.4f}" for name, value in scores.items())
    print(f"{figures} parity={difference:.1e} seconds={time.monotonic() - started:.1f}", flush=True)


def train_members(arguments: argparse.Namespace, classes: int) -> list[Network]:
    """Train every member in a process of its own, as many at once as there are cores. Raises TrainingError."""
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch) / f"member{number}.pt" for number in range(arguments.members)]
        waiting = list(enumerate(files))
        running: dict[int, subprocess.Popen[bytes]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < (os.cpu_count() or 1):
                    number, file = waiting.pop(0)
                    running[number] = _start_member(arguments, number, file)
                for number in [number for number, process in running.items() if process.poll() is not None]:
                    _require_success(number, running.pop(number), files[number])
                time.sleep(POLL_SECONDS)
        finally:
            for process in running.values():
                process.kill()
                process.wait()
        return [_load(file, classes) for file in files]


def _start_member(arguments: argparse.Namespace, number: int, file: Path) -> subprocess.Popen[bytes]:
    """Start ``python -m training.member``; it finds the packages however this process was started."""
    command = [sys.executable, "-m", "training.member", "--dataset", str(arguments.dataset), "--output", str(file)]
    command += ["--epochs", str(arguments.epochs), "--seed", str(arguments.seed), "--member", str(number)]
    command += ["--learning-rate", str(arguments.learning_rate)]
    search_path = os.pathsep.join([str(CODE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": search_path, "OMP_NUM_THREADS": "1"}
    with file.with_suffix(".err").open("wb") as errors:
        return subprocess.Popen(command, env=environment, stderr=errors)


def _require_success(number: int, process: subprocess.Popen[bytes], file: Path) -> None:
    errors = file.with_suffix(".err").read_text(encoding="utf-8", errors="replace")
    sys.stderr.write(errors)
    if process.returncode != 0:
        lines = errors.strip().splitlines() or ["no message"]
        raise TrainingError(f"member {number} ended with status {process.returncode}: {lines[-1]}")


def _load(file: Path, classes: int) -> Network:
    network = Network(classes)
    network.load_state_dict(torch.load(file, weights_only=True))
    return network.eval()


def _versions() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__,
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
