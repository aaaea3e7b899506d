"""Whatever comes in, the functions of the workflow answer with a body, or raise an error that the workflow knows."""

from __future__ import annotations

import base64
import io
import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdas import classify_image, filter_inferences, serialize_image, summarize_batch
from lambdas.inference import body as bodies
from lambdas.inference import endpoint as endpoints
from lambdas.inference import threshold
from lambdas.inference.body import WorkflowFault
from lambdas.inference.versions import Versions
from tests.unit.lambdas.test_lambdas import stream

STATE_LIMIT_BYTES = 262_144
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
keys = st.sampled_from(["s3_bucket", "s3_key", "image_data", "inferences", "classes", "body", "on_low_confidence"])
events = st.dictionaries(keys, anything | st.text(max_size=10), max_size=7)
wrapped = events | st.builds(lambda e: {"statusCode": 200, "body": e}, events)
wrapped |= st.builds(lambda e: {"body": json.dumps(e)}, events)


class Store:
    """An S3 of one object; any other key is missing, or may not be read."""

    def __init__(self, data: bytes, code: str = "NoSuchKey") -> None:
        self.data, self.code = data, code

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803  # boto3's names
        assert isinstance(Bucket, str)
        assert isinstance(Key, str)
        if (Bucket, Key) != ("images", "a.png"):
            raise ClientError({"Error": {"Code": self.code, "Message": "why"}}, "GetObject")
        return {"ContentLength": len(self.data), "Body": io.BytesIO(self.data)}


class Runtime:
    """An endpoint that answers what it is told, from the one package of its registry."""

    def __init__(self, answer: Any, classes: int) -> None:
        self.answer, self.classes = answer, [f"class {index}" for index in range(classes)]

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        assert len(request["InferenceId"]) <= 64
        return {"Body": stream(json.dumps(self.answer).encode()), "CustomAttributes": "model_package_arn=arn"}

    def describe_model_package(self, ModelPackageName: str) -> dict[str, Any]:  # noqa: N803  # boto3's names
        environment = {"SCONES_CLASSES": ",".join(self.classes)}
        containers = {"Containers": [{"Environment": environment}]}
        found = {"ModelPackageArn": ModelPackageName, "ModelPackageVersion": 1, "CreationTime": datetime.now(UTC)}
        return {**found, "InferenceSpecification": containers}

    def get_item(self, **_request: Any) -> dict[str, Any]:
        return {}


@settings(max_examples=150, deadline=None)
@given(event=wrapped, code=st.sampled_from(["NoSuchKey", "AccessDenied", "InvalidObjectState"]))
def test_serialize_answers_a_body_or_a_named_error(event: dict[str, Any], code: str) -> None:
    try:
        answer = serialize_image.serialize(event, lambda: Store(b"image", code))
    except WorkflowFault as fault:
        assert str(fault)
    else:
        assert answer.keys() == {"s3_bucket", "s3_key", "image_data", "inferences"}
        base64.b64decode(answer["image_data"], validate=True)


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 400_000))
def test_what_was_serialized_comes_back_whole_and_fits_a_state(size: int) -> None:
    data = bytes(size)
    event = {"s3_bucket": "images", "s3_key": "a.png"}
    answer = serialize_image.serialize(event, lambda: Store(data))
    assert len(json.dumps(answer)) < STATE_LIMIT_BYTES
    assert classify_image.image_bytes(dict(answer), lambda: Store(data)) == data


@settings(max_examples=150, deadline=None)
@given(event=wrapped, answer=anything, classes=st.integers(1, 5), name=st.text(max_size=100))
def test_classify_answers_probabilities_or_a_named_error(
    event: dict[str, Any], answer: Any, classes: int, name: str
) -> None:
    runtime = Runtime(answer, classes)
    endpoint = endpoints.Endpoint("shop", runtime, runtime, Versions(runtime, "deployments", runtime))
    try:
        found = classify_image.classify(event, name, endpoint, lambda: Store(b"image"))
    except WorkflowFault as fault:
        assert str(fault)
    else:
        assert len(found["inferences"]) == len(found["classes"]) == classes
        assert found["image_data"] == ""


probabilities = st.lists(st.floats(allow_nan=True) | st.integers(-2, 2), min_size=1, max_size=6)


@settings(max_examples=200, deadline=None)
@given(inferences=probabilities, least=st.floats(0, 1), data=st.data())
def test_an_image_passes_exactly_when_its_likeliest_class_reaches_its_threshold(
    inferences: list[float], least: float, data: Any
) -> None:
    names = [f"class {index}" for index in range(len(inferences))]
    own = data.draw(st.dictionaries(st.sampled_from(names), st.floats(0, 1)))
    content = {"s3_bucket": "b", "s3_key": "k", "inferences": inferences, "classes": names}
    verdict = filter_inferences.judged(content, threshold.ConfidenceThresholds(least, own))
    try:
        result = filter_inferences.accepted(content, verdict)
    except filter_inferences.THRESHOLD_CONFIDENCE_NOT_MET as low:
        told = json.loads(str(low))
        assert not told["confidence"] >= told["threshold"]
        assert told["s3_key"] == "k"
    else:
        assert result["confidence"] >= result["threshold"] == own.get(result["predicted_label"], least)
        assert result["confidence"] == inferences[names.index(result["predicted_label"])]
        assert all(value <= result["confidence"] for value in inferences if not math.isnan(value))


@settings(max_examples=150, deadline=None)
@given(event=wrapped)
def test_the_filter_answers_a_result_or_a_named_error(event: dict[str, Any]) -> None:
    with pytest.raises(WorkflowFault):
        content = bodies.unwrapped(event)
        verdict = filter_inferences.judged(content, threshold.ConfidenceThresholds(1.1))
        filter_inferences.accepted(content, verdict)


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=60) | anything.map(json.dumps))
def test_a_threshold_is_one_or_named(text: str) -> None:
    try:
        found = threshold.parse(text, "it")
    except threshold.InvalidThreshold:
        return
    assert all(0 <= value <= 1 for value in (found.default, *found.classes.values()))


class Chunks:
    """A streamed body in pieces of any size."""

    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.size = data, size

    def iter_chunks(self, _size: int) -> list[bytes]:
        return [self.data[start : start + self.size] for start in range(0, len(self.data), self.size)]


objects = st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9) | st.integers(), max_size=3), max_size=5)


@settings(max_examples=100, deadline=None)
@given(items=objects, size=st.integers(1, 40), lines=st.booleans(), indent=st.sampled_from([None, 2]))
def test_result_files_are_read_piece_by_piece(
    items: list[dict[str, Any]], size: int, lines: bool, indent: int | None
) -> None:
    text = "\n".join(map(json.dumps, items)) if lines else json.dumps(items, indent=indent, ensure_ascii=False)
    assert list(summarize_batch.elements(Chunks(text.encode(), size))) == items
