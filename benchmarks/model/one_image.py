"""CPU milliseconds of one image in process: ``python -m benchmarks.model.one_image --model DIR IMAGE...``.

Runs on a laptop, as a part of ``benchmarks/model/serving.py`` (in a process of its own: the name of that file hides the
package ``serving`` from it). Prints a JSON document: the 50th percentile of 300 calls, the best of several rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from serving.inference import JSON_TYPE, model_fn, output_fn, predict_fn, read_image

MOST_CALLS = 300
MOST_NS = 1_000_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder with model.onnx and labels.json")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("images", type=Path, nargs="+", help="as many as a batch should hold")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.model, arguments.images, arguments.repeat)))


def measure(folder: Path, images: list[Path], repeat: int) -> dict[str, float]:
    """One image in one thread, whole and by function, and one image of a batch."""
    model = model_fn(str(folder))
    png = images[0].read_bytes()
    size = model.image_size
    pixels = read_image(png, "image/png", size)
    batch = np.concatenate([read_image(path.read_bytes(), "image/png", size) for path in images])
    prediction = predict_fn(pixels, model)
    calls: dict[str, tuple[Callable[[], object], int]] = {
        "one png": (lambda: output_fn(predict_fn(read_image(png, "image/png", size), model), JSON_TYPE), 1),
        "input_fn": (lambda: read_image(png, "image/png", size), 1),
        "predict_fn": (lambda: predict_fn(pixels, model), 1),
        f"predict_fn, {len(images)} at once": (lambda: predict_fn(batch, model), len(batch)),
        "output_fn": (lambda: output_fn(prediction, JSON_TYPE), 1),
    }
    # Interleaved, so that a disturbance does not fall on one of them alone.
    rounds = [{name: median_cpu_ms(call) / size for name, (call, size) in calls.items()} for _ in range(repeat)]
    return {name: min(figures[name] for figures in rounds) for name in calls}


def median_cpu_ms(call: Callable[[], object]) -> float:
    """Of 300 calls, or as many as take a second."""
    taken: list[int] = []
    while len(taken) < MOST_CALLS and sum(taken) < MOST_NS:
        began = time.thread_time_ns()
        call()
        taken.append(time.thread_time_ns() - began)
    return statistics.median(taken) / 1e6


if __name__ == "__main__":
    main()
