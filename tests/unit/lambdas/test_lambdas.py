"""The Lambda functions against botocore's own checks of requests and answers, without any account."""

from __future__ import annotations

import base64
import io
import json
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber
from PIL import ExifTags, Image

from lambdas import classify_image, filter_inferences, serialize_image
from lambdas.inference import body as bodies
from lambdas.inference import endpoint as endpoints
from lambdas.inference import images, threshold
from lambdas.inference.versions import Versions

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100
JPEG = b"\xff\xd8\xff\xe0" + b"\0" * 100
ACCOUNT = "arn:aws:sagemaker:us-east-1:123456789012"
GROUP = "shop-vehicles"
PACKAGE = f"{ACCOUNT}:model-package/{GROUP}/3"
ENDPOINT = "shop"
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def session() -> Any:
    return boto3.Session("key", "secret", region_name="us-east-1")


@pytest.fixture
def s3(session: Any) -> Iterator[tuple[Any, Stubber]]:
    yield from stubbed(session.client("s3"))


@pytest.fixture
def runtime(session: Any) -> Iterator[tuple[Any, Stubber]]:
    yield from stubbed(session.client("sagemaker-runtime"))


@pytest.fixture
def sagemaker(session: Any) -> Iterator[tuple[Any, Stubber]]:
    yield from stubbed(session.client("sagemaker"))


def stubbed(client: Any) -> Iterator[tuple[Any, Stubber]]:
    with Stubber(client) as stub:
        yield client, stub
        stub.assert_no_pending_responses()


def stream(data: bytes) -> StreamingBody:
    return StreamingBody(io.BytesIO(data), len(data))


def add_object(stub: Stubber, data: bytes, key: str = "a.png") -> None:
    stub.add_response(
        "get_object", {"Body": stream(data), "ContentLength": len(data)}, {"Bucket": "images", "Key": key}
    )


# serialize_image


@pytest.mark.parametrize(
    "event",
    [
        {"s3_bucket": "images", "s3_key": "a.png"},
        {"s3_bucket": "images", "s3_key": "a.png", "image_data": ""},
        {"statusCode": 200, "body": {"s3_bucket": "images", "s3_key": "a.png"}},
        {"body": '{"s3_bucket": "images", "s3_key": "a.png"}'},
    ],
)
def test_an_image_becomes_base64(s3: tuple[Any, Stubber], event: dict[str, Any]) -> None:
    client, stub = s3
    add_object(stub, PNG)
    assert serialize_image.serialize(event, lambda: client) == {
        "s3_bucket": "images",
        "s3_key": "a.png",
        "image_data": base64.b64encode(PNG).decode(),
        "inferences": [],
    }


@pytest.mark.parametrize(("size", "inline"), [(180_000, True), (180_001, False), (6_291_456, False)])
def test_a_large_image_stays_in_s3_and_every_body_fits_a_state(
    s3: tuple[Any, Stubber], size: int, inline: bool
) -> None:
    client, stub = s3
    add_object(stub, b"x" * size)
    body = serialize_image.serialize({"s3_bucket": "images", "s3_key": "a.png"}, lambda: client)
    assert bool(body["image_data"]) is inline
    assert len(json.dumps(body)) < 262_144


def photograph(side: int, mode: str = "RGB", kind: str = "JPEG", **options: Any) -> bytes:
    """An image that compresses badly: a quarter orange on the left, then noise."""
    noise = Image.frombytes("RGB", (side, side), random.Random(0).randbytes(3 * side * side))
    noise.paste("orange", (0, 0, side // 4, side))
    buffer = io.BytesIO()
    noise.convert(mode).save(buffer, format=kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("side", "mode", "kind", "options"),
    [
        (1900, "RGB", "JPEG", {"quality": 100, "subsampling": 0}),
        (1500, "RGB", "PNG", {"compress_level": 0}),
        (1300, "RGBA", "PNG", {"compress_level": 0}),
        (2600, "L", "PNG", {"compress_level": 0}),
    ],
)
def test_an_image_beyond_the_endpoints_limit_is_scaled_down(
    s3: tuple[Any, Stubber], side: int, mode: str, kind: str, options: dict[str, Any]
) -> None:
    data = photograph(side, mode, kind, **options)
    assert len(data) > 6_291_456
    add_object(s3[1], data)
    body = serialize_image.serialize({"s3_bucket": "images", "s3_key": "a.png"}, lambda: s3[0])
    small = base64.b64decode(body["image_data"])
    assert len(small) <= 180_000
    with Image.open(io.BytesIO(small)) as image:
        assert (image.format, image.width) == ("JPEG", image.height)
        assert image.width >= 200
        corner = image.convert("RGB").getpixel((5, 5))
    assert isinstance(corner, tuple)
    assert corner[2] < 60 if mode.startswith("RGB") else corner[0] == corner[2]


def test_a_scaled_image_is_upright() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # lies on its left side
    data = photograph(600, exif=exif)
    with Image.open(io.BytesIO(images.scaled_down(data, "s3://images/a.jpg"))) as image:
        top, bottom = (image.convert("RGB").getpixel((image.width // 2, y)) for y in (9, image.height - 9))
    assert isinstance(top, tuple)
    assert top[0] - top[2] > 150, (top, bottom)


@pytest.mark.parametrize("cut", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_bytes_beyond_the_limit_that_are_no_image_are_an_invalid_image(s3: tuple[Any, Stubber], cut: bytes) -> None:
    add_object(s3[1], cut + b"x" * 6_291_457)
    with pytest.raises(images.InvalidImage, match=r"s3://images/a\.png"):
        serialize_image.serialize({"s3_bucket": "images", "s3_key": "a.png"}, lambda: s3[0])


def test_an_image_too_large_to_be_scaled_is_refused_unread(s3: tuple[Any, Stubber]) -> None:
    size = images.SOURCE_LIMIT_BYTES + 1
    s3[1].add_response("get_object", {"Body": stream(b"unread"), "ContentLength": size})
    with pytest.raises(images.ImageTooLarge, match=str(size)):
        serialize_image.serialize({"s3_bucket": "images", "s3_key": "a.png"}, lambda: s3[0])


def test_an_image_in_the_input_is_not_read_from_s3() -> None:
    data = base64.b64encode(PNG).decode()
    expected = {"s3_bucket": "", "s3_key": "", "image_data": data, "inferences": []}
    assert serialize_image.serialize({"image_data": data}, no_s3) == expected
    with pytest.raises(images.InvalidImage, match="base64"):
        serialize_image.serialize({"image_data": "no base64!"}, no_s3)


def test_an_empty_object_is_refused(s3: tuple[Any, Stubber]) -> None:
    client, stub = s3
    add_object(stub, b"")
    with pytest.raises(images.ImageEmpty, match=r"s3://images/a\.png"):
        serialize_image.serialize({"s3_bucket": "images", "s3_key": "a.png"}, lambda: client)


@pytest.mark.parametrize("code", ["NoSuchKey", "NoSuchBucket"])
def test_a_missing_object_is_named(s3: tuple[Any, Stubber], code: str) -> None:
    client, stub = s3
    stub.add_client_error("get_object", code)
    with pytest.raises(images.ImageNotFound, match=r"did you mean 'a b\.png'"):
        serialize_image.serialize({"s3_bucket": "images", "s3_key": "a%20b.png"}, lambda: client)


def test_a_bucket_that_cannot_be_is_named(session: Any) -> None:
    with pytest.raises(images.ImageNotFound, match=r"s3://My Bucket/a\.png does not exist"):
        images.read_image(session.client("s3"), "My Bucket", "a.png")


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidObjectState"])
def test_an_object_that_may_not_be_read_is_named(s3: tuple[Any, Stubber], code: str) -> None:
    s3[1].add_client_error("get_object", code, "why")
    with pytest.raises(images.ImageNotReadable, match=rf"s3://images/a\.png may not be read \({code}\): why"):
        serialize_image.serialize({"s3_bucket": "images", "s3_key": "a.png"}, lambda: s3[0])


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"s3_bucket": "images"},
        {"s3_bucket": "images", "s3_key": ""},
        {"s3_bucket": 3, "s3_key": "a"},
        {"body": "no json"},
        {"body": "[1]"},
        {"body": None},
        {"body": '"text"'},
        {"body": {"body": 3}},
        {"s3_bucket": "images", "s3_key": "a.png", "on_low_confidence": "ignore"},
        {"body": {"s3_bucket": "images", "s3_key": "a.png", "on_low_confidence": []}},
    ],
)
def test_an_input_without_an_image_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(serialize_image.InvalidInput, match=r"expected|must be"):
        serialize_image.serialize(event, no_s3)


# classify_image


class Table:
    """A DynamoDB client whose table of deployments keeps these items."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.items = items

    def get_item(self, **request: Any) -> dict[str, Any]:
        assert (request["TableName"], request["ConsistentRead"]) == ("deployments", True)
        found = [item for item in self.items if {name: item[name] for name in ("kind", "key")} == request["Key"]]
        return {"Item": found[0]} if found else {}


def kept(classes: str, package: str = PACKAGE) -> dict[str, Any]:
    """The item of version 3."""
    texts = {"kind": "version", "key": "00000003", "package_arn": package, "classes": classes}
    return {name: {"S": value} for name, value in texts.items()}


def endpoint_of(
    runtime: Any, sagemaker: Any, clock: Callable[[], float] = time.monotonic, table: Table | None = None
) -> endpoints.Endpoint:
    versions = Versions(table or Table(), "deployments", sagemaker)
    return endpoints.Endpoint(ENDPOINT, runtime, sagemaker, versions, clock)


def add_model(stub: Stubber, classes: str = "bicycle,motorcycle") -> None:
    """The answers on the way from the endpoint to its model package."""
    stub.add_response("describe_endpoint", endpoint_answer("shop-v3-abc"), {"EndpointName": ENDPOINT})
    stub.add_response(
        "describe_endpoint_config",
        {
            "EndpointConfigName": "shop-v3-abc",
            "EndpointConfigArn": f"{ACCOUNT}:endpoint-config/shop-v3-abc",
            "CreationTime": NOW,
            "ProductionVariants": [{"VariantName": "AllTraffic", "ModelName": "shop-v3"}],
        },
        {"EndpointConfigName": "shop-v3-abc"},
    )
    stub.add_response("describe_model", model_answer(), {"ModelName": "shop-v3"})
    stub.add_response("describe_model_package", package_answer(classes=classes), {"ModelPackageName": PACKAGE})


def endpoint_answer(config: str, status: str = "InService", **more: Any) -> dict[str, Any]:
    return {
        "EndpointName": ENDPOINT,
        "EndpointArn": f"{ACCOUNT}:endpoint/{ENDPOINT}",
        "EndpointConfigName": config,
        "EndpointStatus": status,
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
        **more,
    }


def model_answer(package: str = PACKAGE) -> dict[str, Any]:
    return {
        "ModelName": "shop-v3",
        "ModelArn": f"{ACCOUNT}:model/shop-v3",
        "CreationTime": NOW,
        "PrimaryContainer": {"ModelPackageName": package},
    }


def package_answer(status: str = "Approved", group: str = GROUP, classes: str = "a,b") -> dict[str, Any]:
    return {
        "ModelPackageName": f"{GROUP}/3",
        "ModelPackageGroupName": group,
        "ModelPackageVersion": 3,
        "ModelPackageArn": PACKAGE,
        "CreationTime": NOW,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "ModelApprovalStatus": status,
        "InferenceSpecification": {
            "Containers": [{"Image": "image", "Environment": {"SCONES_CLASSES": classes}}],
            "SupportedContentTypes": ["image/png"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    }


def add_prediction(stub: Stubber, answer: str, image: bytes = PNG, content_type: str = "image/png") -> None:
    stub.add_response(
        "invoke_endpoint",
        {"Body": stream(answer.encode()), "InvokedProductionVariant": "AllTraffic"},
        {
            "EndpointName": ENDPOINT,
            "Body": image,
            "ContentType": content_type,
            "Accept": "application/json",
            "InferenceId": "run-1",
        },
    )


def body(image: bytes = PNG) -> dict[str, Any]:
    return {
        "s3_bucket": "images",
        "s3_key": "a.png",
        "image_data": base64.b64encode(image).decode(),
        "inferences": [],
    }


def no_s3() -> Any:
    raise AssertionError("the image is in the body, S3 is not needed")


Pair = tuple[Any, Stubber]


@pytest.mark.parametrize("wrap", [lambda b: b, lambda b: {"body": b}, lambda b: {"body": json.dumps(b)}])
def test_the_body_gets_probabilities_classes_and_the_package(runtime: Pair, sagemaker: Pair, wrap: Any) -> None:
    add_prediction(runtime[1], "[0.125, 0.875]")
    add_model(sagemaker[1])
    endpoint = endpoint_of(runtime[0], sagemaker[0])
    assert classify_image.classify(wrap(body()), "run-1", endpoint, no_s3) == {
        "s3_bucket": "images",
        "s3_key": "a.png",
        "image_data": "",
        "inferences": [0.125, 0.875],
        "classes": ["bicycle", "motorcycle"],
        "model_package_arn": PACKAGE,
        "inference_id": "run-1",
    }


def test_a_large_image_is_read_from_s3(runtime: Pair, sagemaker: Pair, s3: Pair) -> None:
    add_object(s3[1], JPEG)
    add_prediction(runtime[1], "[0.5, 0.5]", JPEG, "image/jpeg")
    add_model(sagemaker[1])
    endpoint = endpoint_of(runtime[0], sagemaker[0])
    result = classify_image.classify({**body(), "image_data": ""}, "run-1", endpoint, lambda: s3[0])
    assert result["inferences"] == [0.5, 0.5]


def add_config(stub: Stubber, model: str = "shop-v3") -> None:
    stub.add_response("describe_endpoint", endpoint_answer("shop-v3-abc"), {"EndpointName": ENDPOINT})
    stub.add_response(
        "describe_endpoint_config",
        {
            "EndpointConfigName": "shop-v3-abc",
            "EndpointConfigArn": f"{ACCOUNT}:endpoint-config/shop-v3-abc",
            "CreationTime": NOW,
            "ProductionVariants": [{"VariantName": "AllTraffic", "ModelName": model}],
        },
        {"EndpointConfigName": "shop-v3-abc"},
    )


def test_the_configuration_is_asked_once_a_minute_and_a_package_once(runtime: Pair, sagemaker: Pair) -> None:
    now = [0.0]
    endpoint = endpoint_of(runtime[0], sagemaker[0], lambda: now[0])
    add_model(sagemaker[1])
    add_config(sagemaker[1])
    for now[0] in (0.0, 59.0, 60.0, 61.0):
        add_prediction(runtime[1], "[0.5, 0.5]")
        classify_image.classify(body(), "run-1", endpoint, no_s3)


def test_what_was_known_stays_while_sagemaker_is_busy(runtime: Pair, sagemaker: Pair) -> None:
    now = [0.0]
    endpoint = endpoint_of(runtime[0], sagemaker[0], lambda: now[0])
    add_model(sagemaker[1])
    sagemaker[1].add_client_error("describe_endpoint", "ThrottlingException", "slower")
    for now[0] in (0.0, 60.0):
        add_prediction(runtime[1], "[0.5, 0.5]")
        assert classify_image.classify(body(), "run-1", endpoint, no_s3)["model_package_arn"] == PACKAGE


def test_a_busy_sagemaker_is_asked_again_by_the_workflow(runtime: Pair, sagemaker: Pair) -> None:
    add_prediction(runtime[1], "[0.5, 0.5]")
    sagemaker[1].add_client_error("describe_endpoint", "ThrottlingException", "slower")
    with pytest.raises(endpoints.ModelTemporarilyUnavailable, match="slower"):
        classify_image.classify(body(), "run-1", endpoint_of(runtime[0], sagemaker[0]), no_s3)


def test_an_answer_that_names_its_package_needs_no_look_at_the_endpoint(runtime: Pair, sagemaker: Pair) -> None:
    answer = {"Body": stream(b"[0.5, 0.5]"), "CustomAttributes": f"trace=1; model_package_arn={PACKAGE}"}
    runtime[1].add_response("invoke_endpoint", answer)
    package = package_answer(classes="a,b")
    sagemaker[1].add_response("describe_model_package", package, {"ModelPackageName": PACKAGE})
    found = classify_image.classify(body(), "run-1", endpoint_of(runtime[0], sagemaker[0]), no_s3)
    assert (found["model_package_arn"], found["classes"]) == (PACKAGE, ["a", "b"])


def test_what_the_table_keeps_of_a_version_counts_whatever_became_of_its_registry_entry(
    runtime: Pair, sagemaker: Pair
) -> None:
    answer = {"Body": stream(b"[0.5, 0.5]"), "CustomAttributes": f"model_package_arn={PACKAGE}"}
    runtime[1].add_response("invoke_endpoint", answer)
    endpoint = endpoint_of(runtime[0], sagemaker[0], table=Table(kept("c,d")))  # the registry is not asked
    found = classify_image.classify(body(), "run-1", endpoint, no_s3)
    assert (found["model_package_arn"], found["classes"]) == (PACKAGE, ["c", "d"])


def test_a_model_of_ours_that_does_not_tell_is_known_without_the_registry(runtime: Pair, sagemaker: Pair) -> None:
    add_prediction(runtime[1], "[0.5, 0.5]")
    add_config(sagemaker[1])
    container = {"Image": "image", "Environment": {"SCONES_MODEL_PACKAGE_ARN": PACKAGE}}
    model = {**model_answer(), "PrimaryContainer": container}
    sagemaker[1].add_response("describe_model", model, {"ModelName": "shop-v3"})
    endpoint = endpoint_of(runtime[0], sagemaker[0], table=Table(kept("c,d")))
    assert classify_image.classify(body(), "run-1", endpoint, no_s3)["classes"] == ["c", "d"]


@pytest.mark.parametrize("table", [Table(), Table(kept("c,d", f"{ACCOUNT}:model-package/another-group/3"))])
def test_a_version_that_neither_table_nor_registry_knows_is_told_of(
    runtime: Pair, sagemaker: Pair, table: Table
) -> None:
    answer = {"Body": stream(b"[0.5, 0.5]"), "CustomAttributes": f"model_package_arn={PACKAGE}"}
    runtime[1].add_response("invoke_endpoint", answer)
    gone = f"ModelPackage {PACKAGE} does not exist."
    sagemaker[1].add_client_error("describe_model_package", "ValidationException", gone)
    with pytest.raises(endpoints.UnexpectedModelAnswer, match="was deleted from the registry, and deployed before"):
        classify_image.classify(body(), "run-1", endpoint_of(runtime[0], sagemaker[0], table=table), no_s3)


def test_a_body_without_an_image_is_refused() -> None:
    with pytest.raises(bodies.InvalidBody, match="expected an image"):
        classify_image.image_bytes({"s3_bucket": "images"}, no_s3)


def test_a_long_execution_name_is_cut_to_what_the_endpoint_allows(runtime: Pair, sagemaker: Pair) -> None:
    runtime[1].add_response(
        "invoke_endpoint",
        {"Body": stream(b"[0.5, 0.5]")},
        {"EndpointName": ENDPOINT, "Body": ANY, "ContentType": ANY, "Accept": ANY, "InferenceId": "n" * 64},
    )
    add_model(sagemaker[1])
    endpoint = endpoint_of(runtime[0], sagemaker[0])
    assert classify_image.classify(body(), "n" * 80, endpoint, no_s3)["inference_id"] == "n" * 64


@pytest.mark.parametrize(
    ("code", "more", "error"),
    [
        ("ModelError", {"OriginalStatusCode": 400, "OriginalMessage": "no image"}, images.InvalidImage),
        ("ModelError", {"OriginalStatusCode": 415}, images.InvalidImage),
        ("ModelError", {"OriginalStatusCode": 429}, endpoints.ModelTemporarilyUnavailable),
        ("ModelError", {"OriginalStatusCode": 500}, endpoints.ModelTemporarilyUnavailable),
        ("ModelError", {}, endpoints.ModelTemporarilyUnavailable),
        ("ThrottlingException", {}, endpoints.ModelTemporarilyUnavailable),
        ("ServiceUnavailable", {}, endpoints.ModelTemporarilyUnavailable),
        ("ModelNotReadyException", {}, endpoints.ModelTemporarilyUnavailable),
    ],
)
def test_errors_of_the_endpoint_say_whether_to_try_again(
    runtime: Pair, code: str, more: dict[str, Any], error: type[Exception]
) -> None:
    runtime[1].add_client_error("invoke_endpoint", code, "message", modeled_fields=more)
    endpoint = endpoint_of(runtime[0], None)
    with pytest.raises(error):
        endpoint.classify(PNG, "run-1", "a.png")


def test_a_missing_endpoint_is_named(runtime: Pair) -> None:
    runtime[1].add_client_error("invoke_endpoint", "ValidationError", "Endpoint shop of account 1 not found.")
    with pytest.raises(endpoints.EndpointNotDeployed, match="approve a model version"):
        endpoint_of(runtime[0], None).classify(PNG, "run-1", "a.png")


@pytest.mark.parametrize("answer", ["[0.5]", '{"a": 1}', '["0.5", "0.5"]', "[true, false]", "not json"])
def test_an_answer_that_is_no_probability_for_each_class_is_refused(runtime: Pair, session: Any, answer: str) -> None:
    add_prediction(runtime[1], answer)
    client = session.client("sagemaker")
    with Stubber(client) as stub:
        add_model(stub)
        with pytest.raises(endpoints.UnexpectedModelAnswer):
            classify_image.classify(body(), "run-1", endpoint_of(runtime[0], client), no_s3)


def test_text_that_is_not_base64_is_an_invalid_image() -> None:
    with pytest.raises(images.InvalidImage, match="base64"):
        classify_image.image_bytes({"image_data": "no base64!"}, no_s3)


@pytest.mark.parametrize(
    ("image", "kind"), [(PNG, "image/png"), (JPEG, "image/jpeg"), (b"GIF89a", "application/x-image")]
)
def test_the_content_type_is_read_from_the_image(image: bytes, kind: str) -> None:
    assert images.content_type(image) == kind


# filter_inferences


def classified(*inferences: float) -> dict[str, Any]:
    return {
        "s3_bucket": "images",
        "s3_key": "a.png",
        "image_data": "",
        "inferences": list(inferences),
        "classes": ["bicycle", "motorcycle"],
        "model_package_arn": PACKAGE,
        "inference_id": "run-1",
    }


def accept(event: dict[str, Any], default: float = 0.93, **classes: float) -> Any:
    content = bodies.unwrapped(event)
    return filter_inferences.accepted(
        content, filter_inferences.judged(content, threshold.ConfidenceThresholds(default, classes))
    )


@pytest.mark.parametrize("confidence", [0.93, 0.99, 1.0])
def test_a_confident_prediction_passes(confidence: float) -> None:
    result = accept(classified(1 - confidence, confidence))
    assert result == {
        **classified(1 - confidence, confidence),
        "status": "passed",
        "predicted_label": "motorcycle",
        "confidence": confidence,
        "threshold": 0.93,
    }


@pytest.mark.parametrize("wrap", [lambda b: b, lambda b: {"body": b}, lambda b: {"body": json.dumps(b)}])
def test_low_confidence_raises_the_workflows_error_with_the_verdict(wrap: Any) -> None:
    with pytest.raises(filter_inferences.THRESHOLD_CONFIDENCE_NOT_MET) as caught:
        accept(wrap(classified(0.9299, 0.0701)))
    assert json.loads(str(caught.value)) == {
        "predicted_label": "bicycle",
        "confidence": 0.9299,
        "threshold": 0.93,
        "s3_bucket": "images",
        "s3_key": "a.png",
    }


def test_a_confidence_that_is_no_number_does_not_pass() -> None:
    with pytest.raises(filter_inferences.THRESHOLD_CONFIDENCE_NOT_MET):
        accept(classified(float("nan"), float("nan")), 0.0)


def test_a_class_may_have_a_threshold_of_its_own() -> None:
    assert accept(classified(0.9, 0.1), bicycle=0.9)["threshold"] == 0.9
    with pytest.raises(filter_inferences.THRESHOLD_CONFIDENCE_NOT_MET):
        accept(classified(0.1, 0.9), bicycle=0.9)
    with pytest.raises(filter_inferences.THRESHOLD_CONFIDENCE_NOT_MET):
        accept(classified(0.94, 0.06), bicycle=0.95)


def test_more_than_two_classes_are_judged_by_the_likeliest() -> None:
    three = {**classified(0.02, 0.95, 0.03), "classes": ["bicycle", "motorcycle", "train"]}
    assert accept(three)["predicted_label"] == "motorcycle"


@pytest.fixture
def ssm(session: Any) -> Iterator[tuple[Any, Stubber]]:
    yield from stubbed(session.client("ssm"))


def add_parameter(stub: Stubber, value: str) -> None:
    stub.add_response("get_parameter", {"Parameter": {"Name": "/shop/t", "Value": value}}, {"Name": "/shop/t"})


def test_the_threshold_is_read_again_once_it_is_old(ssm: Pair) -> None:
    now = [0.0]
    parameter = threshold.ThresholdParameter(ssm[0], "/shop/t", 30.0, lambda: now[0])
    add_parameter(ssm[1], '{"default": 0.93, "classes": {"bicycle": 0.9}, "changed_by": "me"}')
    add_parameter(ssm[1], '{"default": 0.5}')
    ssm[1].add_client_error("get_parameter", "ThrottlingException", "slower")
    found = []
    for now[0] in (0.0, 29.0, 30.0, 61.0):
        found.append(parameter.read())
    assert (
        found
        == [threshold.ConfidenceThresholds(0.93, {"bicycle": 0.9})] * 2 + [threshold.ConfidenceThresholds(0.5)] * 2
    )


@pytest.mark.parametrize(
    ("code", "error"),
    [("ThrottlingException", threshold.ThresholdUnavailable), ("ParameterNotFound", threshold.InvalidThreshold)],
)
def test_a_threshold_that_cannot_be_read_is_named(ssm: Pair, code: str, error: type[Exception]) -> None:
    ssm[1].add_client_error("get_parameter", code, "why")
    with pytest.raises(error, match="/shop/t cannot be read"):
        threshold.ThresholdParameter(ssm[0], "/shop/t", 30.0).read()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0.9",
        "[]",
        "{}",
        '{"default": 2}',
        '{"default": true}',
        '{"default": "0.9"}',
        '{"default": NaN}',
        '{"default": 0.9, "classes": []}',
        '{"default": 0.9, "classes": {"bicycle": -1}}',
    ],
)
def test_a_malformed_threshold_is_named(text: str) -> None:
    with pytest.raises(threshold.InvalidThreshold, match="the parameter"):
        threshold.parse(text, "the parameter")


def test_the_environment_counts_only_where_no_parameter_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THRESHOLD_PARAMETER", raising=False)
    monkeypatch.setenv("CONFIDENCE_THRESHOLD", "0.8")
    assert threshold.current_thresholds() == threshold.ConfidenceThresholds(0.8)
    monkeypatch.setenv("CONFIDENCE_THRESHOLD", "high")
    with pytest.raises(threshold.InvalidThreshold, match="THRESHOLD_PARAMETER"):
        threshold.current_thresholds()


@pytest.mark.parametrize("broken", [{"inferences": []}, {"inferences": [1.0]}, {"classes": None}])
def test_a_body_without_probabilities_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(bodies.InvalidBody):
        accept({**classified(0.1, 0.9), **broken})
