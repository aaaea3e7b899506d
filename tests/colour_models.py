"""Model archives and dataset folders that are made in no time: models that look at the mean colour of an image only."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from imaging.dataset import format_rows
from tests.places import ROOT

SAMPLES = ROOT / "tests" / "samples"


def write_archive(path: Path, classes: Sequence[str], weights: Sequence[Sequence[float]], record: Any = None) -> Path:
    """A model archive whose logits are mean colour (0 to 1) times ``weights`` [3, classes]; ``record`` is optional."""
    folder = path.parent / f"{path.name}-content"
    folder.mkdir(parents=True)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["colour"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["colour", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    scaled = np.array(weights, dtype=np.float32) / np.float32(255)
    graph = helper.make_graph(
        nodes,
        "colour",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 32, 32, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(classes)])],
        [numpy_helper.from_array(scaled, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    (folder / "labels.json").write_text(json.dumps({"classes": list(classes)}))
    if record is not None:
        (folder / "training.json").write_text(json.dumps(record))
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, arcname=".")
    return path


def write_served_archive(path: Path, classes: Sequence[str], weights: Sequence[Sequence[float]]) -> Path:
    """The same with the code that serves it, as training leaves it behind."""
    write_archive(path, classes, weights)
    code = path.parent / f"{path.name}-code"
    for package in ("imaging", "serving"):
        shutil.copytree(ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__"))
    (code / "inference.py").write_text("from serving.inference import input_fn, model_fn, output_fn, predict_fn\n")
    with tarfile.open(path, "w:gz") as tar:
        tar.add(path.parent / f"{path.name}-content", arcname=".")
        tar.add(code, arcname="code")
    return path


def write_test_images(folder: Path, classes: Sequence[str], images: Sequence[tuple[int, bytes]]) -> Path:
    """A dataset folder with the test split only: a label and the bytes of a PNG file for each image."""
    manifest = json.loads((SAMPLES / "dataset.json").read_text()) | {"classes": list(classes)}
    rows = []
    for number, (label, png) in enumerate(images):
        name = f"class{label}/{number:04d}.png"
        (folder / "test" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "test" / name).write_bytes(png)
        rows.append((label, name))
    (folder / "dataset.json").write_text(json.dumps(manifest))
    (folder / "test.lst").write_text(format_rows(rows))
    return folder
