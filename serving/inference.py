"""SageMaker's script-mode functions for the exported model: model_fn, input_fn, predict_fn, output_fn.

Runs in the hosting container (from ``code/`` in the model archive) and in the evaluation job. Reads ``model.onnx``,
``labels.json`` and the environment variables ``SCONES_MODEL_VERSION`` and ``SCONES_MODEL_PACKAGE_ARN``; needs ONNX
Runtime, numpy and Pillow. SageMaker's inference toolkit counts the functions' parameters and passes a context to those
that have one more: ``input_fn``, for the size of the model's images, and ``output_fn``.

Every function may be called from many threads: ONNX Runtime releases the interpreter's lock. Requests are not gathered
into batches: eight images in one run take as long as eight runs (``python -m benchmarks.model.serving``).
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypedDict, overload

import numpy as np
import numpy.typing as npt

from imaging.decode import IMAGE_SIZE, ImageError, Pixels, decode_image
from imaging.labels import read_image_size, read_labels, read_precision
from serving import capture, negotiation
from serving.negotiation import VERBOSE_TYPE, negotiate

if TYPE_CHECKING:
    import onnxruntime

JSON_TYPE = negotiation.JSON_TYPE
MODEL_FILE = "model.onnx"
NOVELTY_OUTPUT = "novelty"  # of the model, beside the probabilities: float32 [N], 1 is usual
VERSION_VARIABLE = "SCONES_MODEL_VERSION"
PACKAGE_VARIABLE = "SCONES_MODEL_PACKAGE_ARN"
ATTRIBUTES_HEADER = "X-Amzn-SageMaker-Custom-Attributes"  # InvokeEndpoint answers it as CustomAttributes
MAX_BRACKETS = 100  # in a JSON body: one object is expected; 6 MB of brackets would be two million lists in memory
QUOTED = 80  # characters of the client's own text that an error repeats
JSON_IMAGE_KEY = "image_data"
EXPECTED_JSON = f'expected a JSON object {{"{JSON_IMAGE_KEY}": "<base64>"}}'
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
        self.phrase = ascii(message)[1:-1]  # becomes part of a status line

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Model:
    """A loaded model, its class names in the order of the probabilities, and the side of its images in pixels."""

    session: onnxruntime.InferenceSession
    classes: list[str]
    image_size: int = IMAGE_SIZE


class VerboseAnswer(TypedDict):
    """What ``application/json;verbose`` gets for one image; probabilities stand in the order of the labels."""

    probabilities: list[float]
    labels: list[str]
    predicted_label: str
    confidence: float
    model_version: str
    precision: str


class Identity(NamedTuple):
    """What a verbose answer says of the model."""

    classes: list[str]
    version: str
    precision: str


class ToolkitContext(Protocol):
    """The part of the toolkit's context (it is the model server's: TorchServe, ts/context.py) that is used here."""

    @property
    def system_properties(self) -> Mapping[str, object]:
        """What the server knows of the model, such as its folder (``model_dir``)."""

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        """Add a header to the answer of the ``idx``-th request of a batch."""


def model_fn(model_dir: str) -> Model:
    """Load ``model.onnx`` and ``labels.json``. Raises ModelError or LabelsError."""
    folder = Path(model_dir)
    path = folder / MODEL_FILE
    if not path.is_file():
        raise ModelError(f"{path} is missing: the model archive must hold {MODEL_FILE} at its top")
    classes, size = read_labels(folder), read_image_size(folder)
    session = open_session(path)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    # A model says of each image how far it is from those it was trained on; older ones do not.
    shapes = [list(tensor.shape[1:]) for tensor in (*inputs, *outputs) if tensor.name != NOVELTY_OUTPUT]
    if shapes != [[size, size, 3], [len(classes)]] or inputs[0].type != "tensor(uint8)":
        raise ModelError(f"{path}: expected uint8 [N, {size}, {size}, 3] in and [N, {len(classes)}] out, got {shapes}")
    return Model(session, classes, size)


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """An ONNX model, ready to be asked from many threads. Raises ModelError."""
    # From 1.29 on its official builds report every process to their maker, unless told before they are loaded.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One thread per request: the server's threads share the cores, and ONNX Runtime releases the GIL.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    # The binding raises types of its own that share no base but Exception.
    except Exception as error:
        raise ModelError(f"{path} is not an ONNX model that ONNX Runtime can load: {error}") from error


def input_fn(body: bytes | bytearray | str, content_type: str, context: ToolkitContext | None = None) -> Pixels:
    """One image of the model's size, as `read_image` gives it; without a context of CIFAR's. Raises RequestError."""
    size = IMAGE_SIZE if context is None else image_size_of(str(context.system_properties["model_dir"]))
    if context is not None:
        capture.note_request(body, content_type)
    return read_image(body, content_type, size)


@functools.cache
def image_size_of(model_dir: str) -> int:
    """Pixels of each side of the images that the model in a folder takes."""
    return read_image_size(Path(model_dir))


def read_image(body: bytes | bytearray | str, content_type: str, size: int) -> Pixels:
    """One image, uint8 [1, size, size, 3], RGB, from a request body. Raises RequestError.

    ``application/json`` carries ``{"image_data": "<base64>"}``; the toolkit hands that one over as str.
    """
    media_type = (content_type or "").split(";")[0].strip().lower()
    if media_type == JSON_TYPE:
        data = _image_from_json(body if isinstance(body, str) else _decoded(body))
    elif media_type in BINARY_TYPES:
        data = body.encode("latin-1", "replace") if isinstance(body, str) else bytes(body)
    else:
        accepted = ", ".join((*BINARY_TYPES, JSON_TYPE))
        raise RequestError(f"content type {_quoted(content_type)} is not supported; send one of {accepted}", 415)
    try:
        return decode_image(data, size)[np.newaxis]
    except ImageError as error:
        raise RequestError(str(error)) from error


def _decoded(body: bytes | bytearray) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(f"{EXPECTED_JSON}; the body is not UTF-8 at byte {error.start}") from error


def _image_from_json(body: str) -> bytes:
    if body.count("[") + body.count("{") > MAX_BRACKETS:
        raise RequestError(f"{EXPECTED_JSON}; the body has more than {MAX_BRACKETS} lists and objects")
    try:
        document: object = json.loads(body)
    except ValueError as error:
        raise RequestError(f"{EXPECTED_JSON}; the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise RequestError(f"{EXPECTED_JSON}; the body is a {type(document).__name__}, not an object")
    text = document.get(JSON_IMAGE_KEY)
    if not isinstance(text, str):
        found = f"is a {type(text).__name__}" if JSON_IMAGE_KEY in document else "is missing"
        raise RequestError(f"{EXPECTED_JSON}; {JSON_IMAGE_KEY} {found}")
    try:
        # Line breaks are MIME's, and what the command base64 writes.
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise RequestError(f"{EXPECTED_JSON}; {JSON_IMAGE_KEY} is not base64: {error}") from error


def _quoted(text: str | None) -> str:
    return ascii(text if text is None or len(text) <= QUOTED else text[:QUOTED] + "...")


def predict_fn(data: Pixels, model: Model) -> Probabilities:
    """Calibrated probabilities float32 [N, classes] for images uint8 [N, size, size, 3]."""
    session = model.session
    answer = session.get_outputs()[0].name
    probabilities: Probabilities = session.run([answer], {session.get_inputs()[0].name: data})[0]
    return probabilities


@overload
def output_fn(prediction: Probabilities, accept: str) -> str: ...
@overload
def output_fn(prediction: Probabilities, accept: str, context: ToolkitContext) -> tuple[str, str]: ...
def output_fn(prediction: Probabilities, accept: str, context: ToolkitContext | None = None) -> str | tuple[str, str]:
    """A JSON array of class probabilities, as the built-in image classification answers. Raises RequestError.

    With the toolkit's context: that and its content type, or, to whoever prefers ``application/json;verbose``,
    ``{"probabilities", "labels", "predicted_label", "confidence", "model_version", "precision"}``; and a header of the
    answer names the model package, where the deployment told it (SCONES_MODEL_PACKAGE_ARN).
    """
    # str() of a float32 is its shortest exact form; float() alone would print seventeen digits.
    rows = [[float(str(value)) for value in row] for row in prediction]
    answered = negotiate(accept or "")
    if answered is None or (answered == VERBOSE_TYPE and context is None):
        raise RequestError(f"cannot answer as {_quoted(accept)}; accept {JSON_TYPE} or {VERBOSE_TYPE}", 406)
    attributes = f"model_package_arn={package}" if (package := os.environ.get(PACKAGE_VARIABLE)) else ""
    if context is not None and attributes:
        context.set_response_header(0, ATTRIBUTES_HEADER, attributes)
    documents: Sequence[object] = rows
    if answered == VERBOSE_TYPE and context is not None:
        identity = identify(str(context.system_properties["model_dir"]))
        documents = [_verbose(row, identity) for row in rows]
    text = json.dumps(documents[0] if len(documents) == 1 else documents)
    if context is None:
        return text
    capture.note_answer(text, answered, context, attributes)
    return text, answered


def _verbose(row: list[float], identity: Identity) -> VerboseAnswer:
    confidence = max(row)
    return {
        "probabilities": row,
        "labels": identity.classes,
        "predicted_label": identity.classes[row.index(confidence)],
        "confidence": confidence,
        "model_version": identity.version,
        "precision": identity.precision,
    }


@functools.cache
def identify(model_dir: str) -> Identity:
    """Class names, version and precision of the model in a folder.

    The version is what the deployment says in SCONES_MODEL_VERSION; without it ``sha256:`` and the first twelve digits
    of the digest of ``model.onnx``, which names these weights wherever they are served.
    """
    version = os.environ.get(VERSION_VARIABLE)
    if not version:
        version = f"sha256:{hashlib.sha256((Path(model_dir) / MODEL_FILE).read_bytes()).hexdigest()[:12]}"
    return Identity(read_labels(Path(model_dir)), version, read_precision(Path(model_dir)))
