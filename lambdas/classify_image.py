"""Second function of the inference workflow: asks the endpoint for the class probabilities of the image.

Runs in Lambda. Reads the body of `serialize_image` (and the S3 object itself, when the image was too large for the
body), the endpoint's answer, and from the model package behind the endpoint what its classes are called.
Environment: ENDPOINT_NAME.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import os
import time
from dataclasses import dataclass
from typing import Any, TypedDict

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

# The variable of the model's container that names its classes, in the order of its probabilities.
CLASSES_VARIABLE = "SCONES_CLASSES"
MODEL_CACHE_SECONDS = 60
# InvokeEndpoint: InferenceId has at most 64 characters, while an execution's name may have 80.
MAX_INFERENCE_ID_CHARACTERS = 64

_TRANSIENT_CODES = {
    "InternalDependencyException",
    "InternalFailure",
    "ModelNotReadyException",
    "ServiceUnavailable",
    "ThrottlingException",
}
_MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


class Body(TypedDict):
    """What this function adds to the workflow's body; ``image_data`` is emptied, nobody needs it any more."""

    s3_bucket: str
    s3_key: str
    image_data: str
    inferences: list[float]
    classes: list[str]
    model_package_arn: str
    inference_id: str


class InvalidImage(Exception):  # noqa: N818  # the name is an error name in the workflow
    """The bytes are no image that the model accepts; trying again does not help."""


class ModelTemporarilyUnavailable(Exception):  # noqa: N818  # the workflow retries this name
    """The endpoint is throttled, starting or failing; trying again may help."""


class EndpointNotDeployed(Exception):  # noqa: N818  # the name is an error name in the workflow
    """There is no endpoint, so no model version has been approved yet."""


class UnexpectedModelAnswer(Exception):  # noqa: N818  # the name is an error name in the workflow
    """The model's answer is not one probability for each class."""


@dataclass(frozen=True)
class LiveModel:
    """The model package behind a variant of the endpoint."""

    package_arn: str
    classes: tuple[str, ...]


class Endpoint:
    """The endpoint, and a short memory of which model package it serves."""

    def __init__(self, name: str, runtime: Any, sagemaker: Any, clock: Any = time.monotonic) -> None:
        self.name = name
        self._runtime = runtime
        self._sagemaker = sagemaker
        self._clock = clock
        self._models: dict[str, tuple[float, LiveModel]] = {}

    def invoke(self, image: bytes, inference_id: str) -> tuple[Any, str]:
        """The parsed answer, and the variant that gave it."""
        try:
            answer = self._runtime.invoke_endpoint(
                EndpointName=self.name,
                Body=image,
                ContentType=content_type(image),
                Accept="application/json",
                InferenceId=inference_id,
            )
            return json.loads(answer["Body"].read()), answer.get("InvokedProductionVariant", "")
        except ClientError as error:
            raise self._named(error) from error
        except (ConnectionError, HTTPClientError) as error:
            raise ModelTemporarilyUnavailable(f"endpoint {self.name} did not answer: {error}") from error
        except json.JSONDecodeError as error:
            raise UnexpectedModelAnswer(f"endpoint {self.name} did not answer with JSON: {error}") from error

    def model(self, variant: str) -> LiveModel:
        """The model package that ``variant`` serves, looked up once a minute."""
        known = self._models.get(variant)
        if known and self._clock() - known[0] < MODEL_CACHE_SECONDS:
            return known[1]
        model = live_model(self._sagemaker, self.name, variant)
        self._models[variant] = (self._clock(), model)
        return model

    def _named(self, error: ClientError) -> Exception:
        response: dict[str, Any] = dict(error.response)
        code, message = response["Error"]["Code"], response["Error"].get("Message", "")
        if code == "ModelError":
            status = int(response.get("OriginalStatusCode") or 500)
            said = response.get("OriginalMessage") or message
            if 400 <= status < 500 and status != 429:
                return InvalidImage(f"the model refused the image with status {status}: {said}")
            return ModelTemporarilyUnavailable(f"the model failed with status {status}: {said}")
        if code in _TRANSIENT_CODES:
            return ModelTemporarilyUnavailable(f"endpoint {self.name} is not available ({code}): {message}")
        if code in {"ValidationError", "ValidationException"} and "not found" in message.lower():
            return EndpointNotDeployed(f"there is no endpoint {self.name}: approve a model version to deploy one")
        unnamed: Exception = error
        return unnamed


@functools.cache
def s3_client() -> Any:
    return boto3.client("s3")


@functools.cache
def live_endpoint() -> Endpoint:
    # One attempt: the state machine retries, with a back-off that everybody can see.
    config = Config(read_timeout=30, connect_timeout=5, retries={"total_max_attempts": 1})
    runtime = boto3.client("sagemaker-runtime", config=config)
    return Endpoint(os.environ["ENDPOINT_NAME"], runtime, boto3.client("sagemaker"))


def handler(event: dict[str, Any], context: Any) -> Body:
    inference_id = event.get("inference_id") or context.aws_request_id
    return classify(event, inference_id, live_endpoint(), s3_client)


def classify(event: dict[str, Any], inference_id: str, endpoint: Endpoint, s3: Any) -> Body:
    """The body with the probabilities in ``inferences``; ``s3`` returns a client, and is called only when needed."""
    body = event.get("body", event)
    body = json.loads(body) if isinstance(body, str) else body
    inference_id = inference_id[:MAX_INFERENCE_ID_CHARACTERS]
    inferences, variant = endpoint.invoke(image_bytes(body, s3), inference_id)
    model = endpoint.model(variant)
    return {
        "s3_bucket": body.get("s3_bucket", ""),
        "s3_key": body.get("s3_key", ""),
        "image_data": "",
        "inferences": probabilities(inferences, model),
        "classes": list(model.classes),
        "model_package_arn": model.package_arn,
        "inference_id": inference_id,
    }


def image_bytes(body: dict[str, Any], s3: Any) -> bytes:
    """The image from ``image_data``, or from S3 when it is empty because the image was too large for a state."""
    if not body.get("image_data"):
        answer: bytes = s3().get_object(Bucket=body["s3_bucket"], Key=body["s3_key"])["Body"].read()
        return answer
    try:
        return base64.b64decode(body["image_data"], validate=True)
    except binascii.Error as error:
        raise InvalidImage(f"image_data must be base64: {error}") from error


def content_type(image: bytes) -> str:
    """Read from the first bytes, because object names and metadata are often wrong."""
    return next((kind for magic, kind in _MAGIC.items() if image.startswith(magic)), "application/x-image")


def probabilities(answer: Any, model: LiveModel) -> list[float]:
    """The model's answer as one number for each class."""
    if not isinstance(answer, list) or not all(type(value) in (int, float) for value in answer):
        raise UnexpectedModelAnswer(f"expected a JSON array of numbers, got {str(answer)[:100]}")
    if len(answer) != len(model.classes):
        raise UnexpectedModelAnswer(
            f"expected {len(model.classes)} probabilities for {', '.join(model.classes)}, got {len(answer)}"
        )
    return [float(value) for value in answer]


def live_model(sagemaker: Any, endpoint_name: str, variant: str) -> LiveModel:
    """Endpoint -> configuration -> model -> model package, whose container names the classes."""
    endpoint = sagemaker.describe_endpoint(EndpointName=endpoint_name)
    config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    variants = {v["VariantName"]: v["ModelName"] for v in config["ProductionVariants"]}
    model = sagemaker.describe_model(ModelName=variants.get(variant) or next(iter(variants.values())))
    container = model.get("PrimaryContainer") or model["Containers"][0]
    if "ModelPackageName" not in container:
        raise UnexpectedModelAnswer(f"model {model['ModelName']} does not come from a model package")
    package = sagemaker.describe_model_package(ModelPackageName=container["ModelPackageName"])
    environment = package["InferenceSpecification"]["Containers"][0].get("Environment", {})
    classes = tuple(name for name in environment.get(CLASSES_VARIABLE, "").split(",") if name)
    if not classes:
        raise UnexpectedModelAnswer(f"{package['ModelPackageArn']} does not name its classes in {CLASSES_VARIABLE}")
    return LiveModel(package["ModelPackageArn"], classes)
