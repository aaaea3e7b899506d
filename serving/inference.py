"""SageMaker's script-mode functions for the exported model: model_fn, input_fn, predict_fn, output_fn.

Runs in the hosting container (from ``code/`` in the model archive) and in the evaluation job. Reads ``model.onnx`` and
``labels.json``; needs ONNX Runtime, numpy and Pillow. The functions take exactly the documented number of parameters:
SageMaker's inference toolkit counts them and passes a context to those that have one more.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from imaging.decode import IMAGE_SIZE, ImageError, Pixels, decode_image
from imaging.labels import read_labels

MODEL_FILE = "model.onnx"
JSON_TYPE = "application/json"
JSON_IMAGE_KEY = "image_data"
BINARY_TYPES = ("image/png", "image/jpeg", "application/x-image")

Probabilities = npt.NDArray[np.float32]


class ModelError(Exception):
    """The model archive does not hold a model this module can serve."""


def _error_bases() -> tuple[type[Exception], ...]:
    """ValueError, and the toolkit's base error where it is installed: all others are answered with 500.

    Source: aws/sagemaker-inference-toolkit, transformer.py. A 500 for a bad picture would trip the deployment alarms.
    """
    try:
        errors = importlib.import_module("sagemaker_inference.errors")
    except ImportError:
        return (ValueError,)
    return (errors.BaseInferenceToolkitError, ValueError)


class RequestError(*_error_bases()):  # type: ignore[misc]  # the bases depend on what is installed
    """The request is at fault, not the model: answered with ``status_code`` and a reason."""

    def __init__(self, message: str, status_code: int = 400) -> None:
        Exception.__init__(self, message)
        self.status_code = status_code
        self.message = message
        self.phrase = message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Model:
    """A loaded model and its class names, in the order of the probabilities."""

    session: onnxruntime.InferenceSession
    classes: list[str]


def model_fn(model_dir: str) -> Model:
    """Load ``model.onnx`` and ``labels.json``. Raises ModelError or LabelsError."""
    folder = Path(model_dir)
    path = folder / MODEL_FILE
    if not path.is_file():
        raise ModelError(f"{path} is missing: the model archive must hold {MODEL_FILE} at its top")
    classes = read_labels(folder)
    session = _open_session(path)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shapes = [list(tensor.shape[1:]) for tensor in (*inputs, *outputs)]
    if shapes != [[IMAGE_SIZE, IMAGE_SIZE, 3], [len(classes)]] or inputs[0].type != "tensor(uint8)":
        raise ModelError(f"{path}: expected uint8 [N, 32, 32, 3] in and [N, {len(classes)}] out, got {shapes}")
    return Model(session, classes)


def _open_session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # One thread per request: the server's threads share the cores, and ONNX Runtime releases the GIL.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    # The binding raises types of its own that share no base but Exception.
    except Exception as error:
        raise ModelError(f"{path} is not an ONNX model that ONNX Runtime can load: {error}") from error


def input_fn(body: bytes | bytearray | str, content_type: str) -> Pixels:
    """One image, uint8 [1, 32, 32, 3], RGB, from a request body. Raises RequestError.

    ``application/json`` carries ``{"image_data": "<base64>"}``; the toolkit hands that one over as str.
    """
    media_type = (content_type or "").split(";")[0].strip().lower()
    if media_type == JSON_TYPE:
        data = _image_from_json(body)
    elif media_type in BINARY_TYPES:
        data = body.encode("latin-1", "replace") if isinstance(body, str) else bytes(body)
    else:
        accepted = ", ".join((*BINARY_TYPES, JSON_TYPE))
        raise RequestError(f"content type {content_type!r} is not supported; send one of {accepted}", 415)
    try:
        return decode_image(data)[np.newaxis]
    except ImageError as error:
        raise RequestError(str(error)) from error


def _image_from_json(body: bytes | bytearray | str) -> bytes:
    try:
        document: Any = json.loads(body)
        return base64.b64decode(document[JSON_IMAGE_KEY], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        reason = f"{type(error).__name__}: {error}"
        raise RequestError(f'expected a JSON object {{"{JSON_IMAGE_KEY}": "<base64>"}} ({reason})') from error


def predict_fn(data: Pixels, model: Model) -> Probabilities:
    """Calibrated probabilities float32 [N, classes] for images uint8 [N, 32, 32, 3]."""
    name = model.session.get_inputs()[0].name
    probabilities: Probabilities = model.session.run(None, {name: data})[0]
    return probabilities


def output_fn(prediction: Probabilities, accept: str) -> str:
    """A JSON array of class probabilities, as the built-in image classification answers. Raises RequestError."""
    accepted = {part.split(";")[0].strip().lower() for part in (accept or "*/*").split(",")}
    if not accepted & {JSON_TYPE, "application/*", "*/*"}:
        raise RequestError(f"cannot answer as {accept!r}; accept {JSON_TYPE}", 406)
    # str() of a float32 is its shortest exact form; float() alone would print seventeen digits.
    rows = [[float(str(value)) for value in row] for row in prediction]
    return json.dumps(rows[0] if len(rows) == 1 else rows)
