"""The four functions that SageMaker calls, on a model made for the test."""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imaging.decode import encode_png
from imaging.labels import LabelsError
from serving import inference
from serving.inference import Model, ModelError, RequestError, input_fn, model_fn, output_fn, predict_fn
from serving.negotiation import JSON_TYPE, VERBOSE_TYPE, negotiate
from tests.served_model import write_model

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
PNG = encode_png(PIXELS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


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
@pytest.mark.parametrize("encode", [base64.b64encode, base64.encodebytes])
def test_json_carries_base64_as_text_or_bytes(kind: type, encode: Callable[[bytes], bytes]) -> None:
    body = kind(json.dumps({"image_data": encode(PNG).decode(), "s3_key": "a.png"}))
    assert np.array_equal(input_fn(body, "application/json; charset=utf-8")[0], PIXELS)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "reason"),
    [
        (b"", "image/png", 400, "empty"),
        (b"text", "image/png", 400, "not an image"),
        (PNG[:500], "application/x-image", 400, "truncated"),
        (b"", "application/json", 400, "not JSON"),
        (b"not json", "application/json", 400, "not JSON"),
        (b"\xff\xfe", "application/json", 400, "not UTF-8"),
        (b"[1]", "application/json", 400, "a list, not an object"),
        (b'"text"', "application/json", 400, "a str, not an object"),
        (b"{}", "application/json", 400, "image_data is missing"),
        (b'{"image_data": null}', "application/json", 400, "image_data is a NoneType"),
        (b'{"image_data": {"a": []}}', "application/json", 400, "image_data is a dict"),
        (b'{"image_data": "*"}', "application/json", 400, "not base64"),
        (b'{"image_data": "QUJDR"}', "application/json", 400, "not base64"),
        ('{"image_data": "\u00e9\ud800"}', "application/json", 400, "not base64"),
        (b'{"image_data": "data:image/png;base64,QUJD"}', "application/json", 400, "not base64"),
        (b'{"image_data": ""}', "application/json", 400, "empty"),
        (b'{"image_data": ' + b"1" * 5000 + b"}", "application/json", 400, "not JSON"),
        (b"[" * 1_000_000, "application/json", 400, "more than 100 lists"),
        (b'{"a":' * 1_000_000, "application/json", 400, "more than 100 lists"),
        (PNG, "text/csv", 415, "text/csv"),
        (PNG, "multipart/form-data; boundary=x", 415, "multipart"),
        (PNG, "\u00e9" * 1000, 415, r"\.\.\."),
        (PNG, "", 415, "image/png"),
    ],
)
def test_a_bad_request_is_a_value_error_with_status_and_reason(
    body: bytes | str, content_type: str, status: int, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        input_fn(body, content_type)
    assert isinstance(refused.value, RequestError)
    assert refused.value.status_code == status
    assert len(str(refused.value)) < 1000
    assert refused.value.phrase.isascii()


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("", JSON_TYPE),
        ("*/*", JSON_TYPE),
        ("application/json", JSON_TYPE),
        ("APPLICATION/JSON; charset=utf-8", JSON_TYPE),
        ("text/html, application/json;q=0.9", JSON_TYPE),
        ("text/html, application/*;q=0.1", JSON_TYPE),
        ("application/json;verbose", VERBOSE_TYPE),
        ("application/json; Verbose ; q=0.5", VERBOSE_TYPE),
        ("application/json;verbose=true", VERBOSE_TYPE),
        ("application/json;verbose=false", JSON_TYPE),
        ("application/json, application/json;verbose", VERBOSE_TYPE),
        ("application/json;verbose;q=0.3, application/json;q=0.8", JSON_TYPE),
        ("application/json;verbose;q=0.3, */*;q=0.2", VERBOSE_TYPE),
        ("application/json;q=0, application/json;verbose", VERBOSE_TYPE),
        ("application/json;verbose;q=0, */*", JSON_TYPE),
        ("application/json;q=0, */*", None),
        ("application/json;q=0", None),
        ("application/json;q=much", None),
        ("application/json;q=7, text/csv", None),
        ("application/json;q=nan", None),
        ("text/csv", None),
        (",;,", None),
    ],
)
def test_the_accept_header_decides_between_array_and_document(accept: str, answered: str | None) -> None:
    assert negotiate(accept) == answered


@pytest.mark.parametrize("accept", ["application/json", "*/*", "", "text/html, application/json;q=0.9"])
def test_json_is_answered_to_whoever_accepts_it(accept: str, folder: Path) -> None:
    prediction = np.array([[0.25, 0.75]], dtype=np.float32)
    assert output_fn(prediction, accept) == "[0.25, 0.75]"
    assert output_fn(prediction, accept, context(folder)) == ("[0.25, 0.75]", "application/json")


def context(folder: Path) -> types.SimpleNamespace:
    """The part of the toolkit's context that holds where the model lies, and takes headers of the answer."""
    headers: dict[str, str] = {}

    def set_response_header(idx: int, key: str, value: str) -> None:
        assert idx == 0
        headers[key] = value

    properties = {"model_dir": str(folder)}
    return types.SimpleNamespace(system_properties=properties, set_response_header=set_response_header, headers=headers)


def test_an_answer_names_the_model_package_that_the_deployment_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction, untold = np.array([[0.25, 0.75]], dtype=np.float32), context(folder)
    output_fn(prediction, "application/json", untold)
    assert untold.headers == {}
    monkeypatch.setenv("SCONES_MODEL_PACKAGE_ARN", "arn:aws:sagemaker:us-east-1:123456789012:model-package/v/2")
    told = context(folder)
    output_fn(prediction, "application/json", told)
    attribute = "model_package_arn=arn:aws:sagemaker:us-east-1:123456789012:model-package/v/2"
    assert told.headers == {"X-Amzn-SageMaker-Custom-Attributes": attribute}


def test_another_accept_type_is_refused() -> None:
    with pytest.raises(RequestError) as refused:
        output_fn(np.array([[0.25, 0.75]], dtype=np.float32), "text/csv")
    assert refused.value.status_code == 406


def test_the_verbose_answer_names_what_the_numbers_mean(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction = np.array([[0.1, 0.9]], dtype=np.float32)
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    text, content_type = output_fn(prediction, "application/json;verbose", context(folder))
    assert content_type == "application/json;verbose"
    assert json.loads(text) == {
        "probabilities": [0.1, 0.9],
        "labels": ["bicycle", "motorcycle"],
        "predicted_label": "motorcycle",
        "confidence": 0.9,
        "model_version": f"sha256:{digest[:12]}",
        "precision": "float32",
    }
    monkeypatch.setenv("SCONES_MODEL_VERSION", "12")
    text, _ = output_fn(prediction, "application/json;verbose", context(write_model(tmp_path)))
    assert json.loads(text)["model_version"] == "12"


def test_a_toolkit_without_context_cannot_have_the_verbose_answer() -> None:
    with pytest.raises(RequestError, match="cannot answer"):
        output_fn(np.array([[0.25, 0.75]], dtype=np.float32), "application/json;verbose")


def test_the_functions_take_as_many_parameters_as_the_toolkit_passes() -> None:
    """One more than documented and the toolkit adds its context, which only output_fn wants."""
    names = ("model_fn", "input_fn", "predict_fn", "output_fn")
    counts = {name: len(inspect.signature(getattr(inference, name)).parameters) for name in names}
    assert counts == {"model_fn": 1, "input_fn": 3, "predict_fn": 2, "output_fn": 3}


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
