"""Write the model archive's content: ``model.onnx``, ``labels.json``, ``training.json`` and ``code/``.

Runs in the training container. The ONNX file is moved into place only after ONNX Runtime gave the same probabilities as
torch, and everything goes through a scratch folder, so the model folder holds a whole model or none.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor

import imaging
import serving
from imaging.labels import FLOAT32, INT8, LABELS_FILE, labels_document
from reporting.documents.json import to_text
from reporting.documents.training import TRAINING_FILE, TrainingRecord
from serving.inference import MODEL_FILE, NOVELTY_OUTPUT, model_fn, predict_fn
from training.export.onnx_file import write_onnx
from training.export.quantise import Int8Trial, try_int8
from training.images import chunks
from training.loop import TrainingError
from training.networks.network import Served
from training.novelty import Seen, WithNovelty

PARITY_IMAGES = 25
AT_ONCE = 2  # the maps of more photographs would fill memory
PARITY_TOLERANCE = 1e-4  # of a probability; 1e-6 is usual
# The dataset folder's reader needs `reporting`, which no answer needs.
NOT_SERVED = ("__pycache__", "requirements.txt", "dataset.py")
ENTRY_MODULE = '''"""What SageMaker's PyTorch serving container imports: the four functions of the model."""

from serving.inference import input_fn, model_fn, output_fn, predict_fn

__all__ = ["input_fn", "model_fn", "output_fn", "predict_fn"]
'''


@dataclass(frozen=True)
class ExampleImages:
    """Those that the exported model is checked with, uint8 [N, size, size, 3], and what it makes of the training's.

    With a ``trial`` the model is exported in eight bits, where that costs no accuracy.
    """

    checked: Tensor
    trained_on: Seen
    trial: Int8Trial | None = None


def write_model(
    model: Served, classes: list[str], record: TrainingRecord, images: ExampleImages, model_dir: Path
) -> float:
    """Write the archive's content; the largest difference between torch and ONNX Runtime on the first images.

    Raises TrainingError when the difference is more than rounding.
    """
    model_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=model_dir) as scratch:
        partial = Path(scratch)
        network = WithNovelty(model.eval(), len(classes), images.trained_on)
        outputs = ["probabilities", NOVELTY_OUTPUT]
        write_onnx(network, images.checked[:2], partial / MODEL_FILE, outputs, dict.fromkeys(["images", *outputs], 0))
        (partial / LABELS_FILE).write_text(labels_document(classes, images.checked.shape[1]), encoding="utf-8")
        difference = _check_parity(model, images.checked[:PARITY_IMAGES], partial)
        found = try_int8(partial / MODEL_FILE, images.trial, partial) if images.trial else None
        precision = INT8 if found and found.taken else FLOAT32
        labels = labels_document(classes, images.checked.shape[1], precision)
        (partial / LABELS_FILE).write_text(labels, encoding="utf-8")
        document = msgspec.structs.replace(record, parity_max_difference=difference, precision=precision, int8=found)
        (partial / TRAINING_FILE).write_text(to_text(document, indent=2), encoding="utf-8")
        _write_code(partial / "code")
        for path in sorted(partial.iterdir()):
            target = model_dir / path.name
            if target.is_dir():
                shutil.rmtree(target)
            path.replace(target)
    return difference


def _check_parity(model: Served, images: Tensor, folder: Path) -> float:
    served = model_fn(str(folder))
    with torch.inference_mode():
        differences = [
            np.abs(model(part).numpy() - predict_fn(part.numpy(), served)).max() for part in chunks(images, AT_ONCE)
        ]
    difference = float(np.max(differences))
    if not difference <= PARITY_TOLERANCE:
        raise TrainingError(
            f"the exported model differs from torch by {difference:.2g} (at most {PARITY_TOLERANCE:.0e})"
        )
    return difference


def _write_code(code: Path) -> None:
    """The serving code at its repository paths, the entry module, and what the hosting container must install."""
    for package in (imaging, serving):
        folder = Path(str(package.__file__)).parent
        shutil.copytree(folder, code / folder.name, ignore=shutil.ignore_patterns(*NOT_SERVED))
    shutil.copyfile(Path(str(serving.__file__)).parent / "requirements.txt", code / "requirements.txt")
    (code / "inference.py").write_text(ENTRY_MODULE, encoding="utf-8")
