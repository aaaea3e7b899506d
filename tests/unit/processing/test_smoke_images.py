"""The images that test a deployment: real bytes, each class's surest, and what the evaluated model said."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np

from imaging.dataset import Example
from processing.evaluation.answers import Evaluated
from processing.evaluation.smoke_images import PER_CLASS, smoke_document


def test_each_class_gives_the_images_that_the_model_is_surest_of(tmp_path: Path) -> None:
    examples = [Example(at, at % 2, tmp_path / f"{at}.png") for at in range(8)]
    for example in examples:
        example.path.write_bytes(f"image {example.index}".encode())
    sure = np.array([0.5, 0.6, 0.9, 0.2, 0.8, 0.1, 0.7, 0.3])
    measured = Evaluated(
        classes=["a", "b"],
        examples=examples,
        labels=np.array([example.label for example in examples]),
        probabilities=np.stack([sure, 1 - sure], axis=1),
        history=[],
    )
    document = smoke_document(measured, tmp_path)
    assert document["classes"] == ["a", "b"]
    assert [image["name"] for image in document["images"]] == ["2.png", "4.png", "5.png", "3.png"]
    assert [image["label"] for image in document["images"]] == ["a"] * PER_CLASS + ["b"] * PER_CLASS
    assert document["images"][0]["probabilities"] == [0.9, 1 - 0.9]
    assert base64.b64decode(document["images"][2]["data"]) == b"image 5"
