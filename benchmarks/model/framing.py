"""What a photograph's framing costs: ``python -m benchmarks.model.framing --model DIR --dataset DIR``.

Runs on a laptop. The test images are 32 x 32; wide photographs are made of them in the two ways that a square training
image can have come about: its subject filled the wide frame and was squeezed, or stood in the middle and was cut out.
Prints test accuracy when such photographs are squeezed whole, cropped to the square, or framed as serving does it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from imaging.dataset import load_split
from imaging.decode import IMAGE_SIZE, Pixels, decode_image, encode_png
from serving.inference import model_fn, predict_fn

HEIGHT = 256  # pixels of the photographs made
BICUBIC = Image.Resampling.BICUBIC
SQUARE = (IMAGE_SIZE, IMAGE_SIZE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder with model.onnx and labels.json")
    parser.add_argument("--dataset", type=Path, required=True, help="folder written by processing.filter_cifar")
    arguments = parser.parse_args()
    model = model_fn(str(arguments.model))
    images, labels = load_split(arguments.dataset, "test")
    framings: dict[str, Callable[[Image.Image], Pixels]] = {
        "squeezed": lambda photo: np.asarray(photo.resize(SQUARE, BICUBIC, reducing_gap=3.0)),
        "cropped": lambda photo: np.asarray(ImageOps.fit(photo, SQUARE, BICUBIC)),
        "served": lambda photo: decode_image(encode_png(np.asarray(photo))),
    }
    print(f"{'shape':6} {'subject':16}" + "".join(f"{name:>10}" for name in framings))
    for shape, ratio in (("4:3", 4 / 3), ("3:2", 3 / 2), ("16:9", 16 / 9)):
        for subject, photograph in (("fills the frame", stretched), ("in the middle", surrounded)):
            photos = [photograph(image, ratio) for image in images]
            accuracies = [
                (predict_fn(np.stack([frame(photo) for photo in photos]), model).argmax(axis=1) == labels).mean()
                for frame in framings.values()
            ]
            print(f"{shape:6} {subject:16}" + "".join(f"{accuracy:10.3f}" for accuracy in accuracies))


def stretched(image: Pixels, ratio: float) -> Image.Image:
    """A photograph whose subject fills it: squeezed to a square it gives the test image."""
    return Image.fromarray(image).resize((round(HEIGHT * ratio), HEIGHT), BICUBIC)


def surrounded(image: Pixels, ratio: float) -> Image.Image:
    """A photograph whose subject is in the middle: cropped to the square it gives the test image."""
    margin = round(IMAGE_SIZE * (ratio - 1) / 2)
    wide = np.pad(image, ((0, 0), (margin, margin), (0, 0)), mode="reflect")
    return Image.fromarray(wide).resize((round(HEIGHT * ratio), HEIGHT), BICUBIC)


if __name__ == "__main__":
    main()
