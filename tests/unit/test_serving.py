"""The four functions that SageMaker calls, on a model exported for the test."""

from __future__ import annotations

import base64
import inspect
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from imaging.decode import encode_png
from imaging.labels import LabelsError
from serving import inference
from serving.inference import Model, ModelError, RequestError, input_fn, model_fn, output_fn, predict_fn
from training.export import write_model
from training.network import Ensemble, Network

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
PNG = encode_png(PIXELS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    images = torch.from_numpy(np.stack([PIXELS, PIXELS]))
    write_model(Ensemble([Network(2)]), ["bicycle", "motorcycle"], {}, images, folder)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return model_fn(str(folder))


def test_an_image_becomes_a_flat_json_array_of_probabilities(model: Model) -> None:
    answer = json.loads(output_fn(predict_fn(input_fn(PNG, "image/png"), model), "application/json"))
    assert len(answer) == 2
    assert sum(answer) == pytest.approx(1.0, abs=1e-6)
    exact = predict_fn(PIXELS[np.newaxis], model)[0]
    assert np.array_equal(np.array(answer, dtype=np.float32), exact)


@pytest.mark.parametrize("content_type", ["image/png", "IMAGE/PNG; q=1", "application/x-image", "image/jpeg"])
def test_binary_bodies_are_read_under_every_image_type(content_type: str) -> None:
    assert np.array_equal(input_fn(bytearray(PNG), content_type)[0], PIXELS)


@pytest.mark.parametrize("kind", [str, str.encode])
def test_json_carries_base64_as_text_or_bytes(kind: type) -> None:
    body = kind(json.dumps({"image_data": base64.b64encode(PNG).decode()}))
    assert np.array_equal(input_fn(body, "application/json; charset=utf-8")[0], PIXELS)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "reason"),
    [
        (b"", "image/png", 400, "empty"),
        (b"text", "image/png", 400, "not an image"),
        (PNG[:500], "application/x-image", 400, "truncated"),
        (b"{}", "application/json", 400, "image_data"),
        (b'{"image_data": "*"}', "application/json", 400, "image_data"),
        (b"not json", "application/json", 400, "image_data"),
        (b"[1]", "application/json", 400, "image_data"),
        (PNG, "text/csv", 415, "text/csv"),
        (PNG, "", 415, "image/png"),
    ],
)
def test_a_bad_request_is_a_value_error_with_status_and_reason(
    body: bytes, content_type: str, status: int, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        input_fn(body, content_type)
    assert isinstance(refused.value, RequestError)
    assert refused.value.status_code == status


@pytest.mark.parametrize("accept", ["application/json", "*/*", "", "text/html, application/json;q=0.9"])
def test_json_is_answered_to_whoever_accepts_it(accept: str) -> None:
    assert output_fn(np.array([[0.25, 0.75]], dtype=np.float32), accept) == "[0.25, 0.75]"


def test_another_accept_type_is_refused() -> None:
    with pytest.raises(RequestError) as refused:
        output_fn(np.array([[0.25, 0.75]], dtype=np.float32), "text/csv")
    assert refused.value.status_code == 406


def test_the_functions_take_as_many_parameters_as_the_toolkit_passes() -> None:
    counts = {name: len(inspect.signature(getattr(inference, name)).parameters) for name in ("model_fn", "input_fn")}
    counts |= {
        name: len(inspect.signature(getattr(inference, name)).parameters) for name in ("predict_fn", "output_fn")
    }
    assert counts == {"model_fn": 1, "input_fn": 2, "predict_fn": 2, "output_fn": 2}


def test_where_the_toolkit_is_installed_refusals_are_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the toolkit would answer 500, and a bad picture would look like a broken model."""

    class BaseInferenceToolkitError(Exception):
        pass

    errors = types.ModuleType("sagemaker_inference.errors")
    errors.BaseInferenceToolkitError = BaseInferenceToolkitError  # type: ignore[attr-defined]  # a stand-in module
    monkeypatch.setitem(sys.modules, "sagemaker_inference", types.ModuleType("sagemaker_inference"))
    monkeypatch.setitem(sys.modules, "sagemaker_inference.errors", errors)
    source = Path(inference.__file__).read_text()
    namespace: dict[str, object] = {"__name__": "served"}
    monkeypatch.setitem(sys.modules, "served", types.ModuleType("served"))
    exec(compile(source, inference.__file__, "exec"), namespace)  # noqa: S102  # the module itself, imported anew
    with pytest.raises(BaseInferenceToolkitError, match="empty") as refused:
        namespace["input_fn"](b"", "image/png")  # type: ignore[operator]  # a function
    assert (refused.value.status_code, refused.value.phrase) == (400, str(refused.value))  # type: ignore[attr-defined]


def test_a_folder_without_a_model_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.onnx is missing"):
        model_fn(str(tmp_path))
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(LabelsError, match="is missing"):
        model_fn(str(tmp_path))
    (tmp_path / "labels.json").write_bytes((folder / "labels.json").read_bytes())
    with pytest.raises(ModelError, match="not an ONNX model"):
        model_fn(str(tmp_path))


def test_labels_that_do_not_match_the_model_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes((folder / "model.onnx").read_bytes())
    (tmp_path / "labels.json").write_text('{"classes": ["a", "b", "c"]}')
    with pytest.raises(ModelError, match=r"\[N, 3\] out"):
        model_fn(str(tmp_path))
