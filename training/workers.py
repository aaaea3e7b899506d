"""Run the processes of a training, as many at once as there are cores, and collect what they leave.

Runs in the training container, inside train.py. Each process is ``python -m training.member`` with one thread.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from imaging.decode import IMAGE_SIZE
from processing.machine import cores
from training.hyperparameters import Adjusted, option, resolve
from training.job import ProcessResult, read_result
from training.loop import TrainingError
from training.networks.backbone import Pretrained

CODE_ROOT = Path(__file__).resolve().parent.parent
POLL_SECONDS = 0.05
# glibc hands large blocks back to the system and asks for them anew with every layer; keeping them spares the page
# faults. Other C libraries ignore it.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "10000000000", "MALLOC_TOP_PAD_": "268435456"}


@dataclass(frozen=True)
class Workers:
    """What the processes of one training share. ``scratch`` takes their results, ``checkpoints`` outlives them."""

    dataset: Path
    seed: int
    pretrained: Pretrained
    scratch: Path
    checkpoints: Path | None
    device: str = "auto"
    image_size: int = IMAGE_SIZE
    """Pixels of each side: some hyperparameters depend on it."""

    def run(self, task: str, adjusted: Adjusted | None = None, inputs: list[Path] | None = None) -> list[Path]:
        """The files with the results of a task's processes, one for each member. Raises TrainingError.

        ``adjusted`` are hyperparameters that are not the task's own.
        """
        adjusted = adjusted or {}
        members = resolve(task, adjusted, self.image_size).members or 1
        files = [self.scratch / f"{task}-{number}.pt" for number in range(members)]
        options = ["--task", task, *(part for name, value in adjusted.items() for part in (option(name), str(value)))]
        if inputs:
            options += ["--inputs", *map(str, inputs)]
        waiting = list(enumerate(files))
        running: dict[int, subprocess.Popen[bytes]] = {}
        watched, held = os.pipe()  # nothing is ever written: it ends with this process, however that ends
        try:
            while waiting or running:
                while waiting and len(running) < cores():
                    number, file = waiting.pop(0)
                    running[number] = self._start(options, number, file, watched)
                for number in [number for number, process in running.items() if process.poll() is not None]:
                    _require_success(number, running.pop(number), files[number])
                time.sleep(POLL_SECONDS)
        finally:
            for process in running.values():
                process.kill()
                process.wait()
            os.close(watched)
            os.close(held)
        return files

    def _start(self, options: list[str], number: int, file: Path, watched: int) -> subprocess.Popen[bytes]:
        """Start ``python -m training.member``; it finds the packages however this process was started."""
        command = [sys.executable, "-m", "training.member", "--dataset", str(self.dataset), "--output", str(file)]
        command += ["--seed", str(self.seed), "--member", str(number), "--until-input-ends", *options]
        command += [
            "--device",
            self.device,
            "--backbone",
            self.pretrained.name,
            "--backbone-weights",
            self.pretrained.weights,
        ]
        if self.checkpoints is not None:
            command += ["--checkpoint", str(self.checkpoints / file.name)]
        search_path = os.pathsep.join([str(CODE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": search_path, "OMP_NUM_THREADS": "1", **KEEP_MEMORY}
        with file.with_suffix(".err").open("wb") as errors:
            return subprocess.Popen(command, env=environment, stdin=watched, stderr=errors)


def read_results(files: list[Path]) -> list[ProcessResult]:
    """The results in these files."""
    return [read_result(file) for file in files]


def _require_success(number: int, process: subprocess.Popen[bytes], file: Path) -> None:
    errors = file.with_suffix(".err").read_text(encoding="utf-8", errors="replace")
    sys.stderr.write(errors)
    if process.returncode != 0:
        lines = errors.strip().splitlines() or ["no message"]
        if process.returncode == -signal.SIGKILL:
            lines.append("something killed it, most likely the system for lack of memory: try a smaller --batch-size")
        raise TrainingError(f"member {number} ended with status {process.returncode}: {lines[-1]}")
