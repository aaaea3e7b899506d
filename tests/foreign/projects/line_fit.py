"""A user's entry script: fits y = slope * x to its channel, and serves it."""

import argparse
import json
import os
from pathlib import Path


def model_fn(model_dir):
    return json.loads((Path(model_dir) / "line.json").read_text())["slope"]


def input_fn(body, content_type):
    text = body.decode() if isinstance(body, bytes) else body
    return [float(each) for each in text.split(",")]


def predict_fn(numbers, slope):
    return [slope * number for number in numbers]


def output_fn(answers, accept):
    return json.dumps(answers), accept


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=1.0)
    arguments, _ = parser.parse_known_args()
    lines = (Path(os.environ["SM_CHANNEL_TRAIN"]) / "line.csv").read_text().split()
    pairs = [tuple(map(float, line.split(","))) for line in lines]
    slope = arguments.scale * sum(y for _, y in pairs) / sum(x for x, _ in pairs)
    print(f"slope: {slope}")
    (Path(os.environ["SM_MODEL_DIR"]) / "line.json").write_text(json.dumps({"slope": slope}))
