"""The endpoint: class probabilities for an image, and which model package gave them.

Runs in Lambda. Environment: ENDPOINT_NAME, DEPLOYMENTS_TABLE; ENDPOINT_TIMEOUT_SECONDS, when an answer is to come
sooner than after 30 s.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, cast

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from lambdas.inference.body import WorkflowFault
from lambdas.inference.images import InvalidImage, content_type
from lambdas.inference.versions import AnsweringModel, UnexpectedModelAnswer, Versions

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sagemaker_runtime import SageMakerRuntimeClient

# What a container may tell of itself: `X-Amzn-SageMaker-Custom-Attributes: model_package_arn=<ARN>`.
PACKAGE_ATTRIBUTE = "model_package_arn="
PACKAGE_VARIABLE = "SCONES_MODEL_PACKAGE_ARN"  # `lambdas.deployment.sagemaker_endpoint` sets it
CONFIG_CACHE_SECONDS = 60
# InvokeEndpoint: InferenceId has at most 64 characters, while an execution's name may have 80.
MAX_INFERENCE_ID_CHARACTERS = 64
READ_TIMEOUT_SECONDS = 30

_TRANSIENT_CODES = {
    "InternalDependencyException",
    "InternalFailure",
    "InternalServerError",
    "ModelNotReadyException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "ThrottlingException",
}


class ModelTemporarilyUnavailable(WorkflowFault):
    """The endpoint is throttled, starting or failing; the workflow tries this again."""


class EndpointNotDeployed(WorkflowFault):
    """There is no endpoint, so no model version has been approved yet."""


class _ModelError(TypedDict, total=False):
    """What InvokeEndpoint's ModelError carries beside its code and message."""

    OriginalStatusCode: int
    OriginalMessage: str


@dataclass(frozen=True)
class EndpointAnswer:
    """One answer of the endpoint: who gave it, and one probability for each class of the model."""

    model: AnsweringModel
    inferences: list[float]


class Endpoint:
    """The endpoint, and a memory of what it serves.

    An answer tells the variant, not the model behind it. A container that names its package in the answer's custom
    attributes is believed. For others, the endpoint's configuration is asked once a minute, so that for up to a minute
    after an update an answer may be put down to the version before; versions and their classes never change.
    """

    def __init__(
        self,
        name: str,
        runtime: SageMakerRuntimeClient,
        sagemaker: SageMakerClient,
        versions: Versions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._versions = versions
        self._runtime = runtime
        self._sagemaker = sagemaker
        self._clock = clock
        self._config: tuple[float, dict[str, str]] | None = None
        self._models: dict[str, AnsweringModel] = {}

    def classify(self, image: bytes, inference_id: str, subject: str) -> EndpointAnswer:
        """Ask for ``image``, which messages call ``subject``. Raises the faults above and InvalidImage."""
        try:
            answer = self._runtime.invoke_endpoint(
                EndpointName=self.name,
                Body=image,
                ContentType=content_type(image),
                Accept="application/json",
                InferenceId=inference_id,
            )
            content = json.loads(answer["Body"].read())
            model = self._model(answer.get("InvokedProductionVariant", ""), answer.get("CustomAttributes", ""))
        except ClientError as error:
            raise self._named(error, subject) from error
        except (ConnectionError, HTTPClientError) as error:
            raise ModelTemporarilyUnavailable(f"{subject}: endpoint {self.name} did not answer: {error}") from error
        except (ValueError, RecursionError) as error:
            raise UnexpectedModelAnswer(f"{subject}: endpoint {self.name} did not answer with JSON: {error}") from error
        return EndpointAnswer(model, probabilities(content, model, subject))

    def _model(self, variant: str, attributes: str) -> AnsweringModel:
        told = next((p.strip() for p in attributes.split(";") if p.strip().startswith(PACKAGE_ATTRIBUTE)), None)
        key = told.removeprefix(PACKAGE_ATTRIBUTE) if told else self._variants().get(variant, "")
        if key not in self._models:
            package = key if told else self._package_of(key)
            self._models[key] = self._versions.described(package)
        return self._models[key]

    def _variants(self) -> dict[str, str]:
        """Variant -> model name; what was known stays while SageMaker does not answer."""
        if self._config and self._clock() - self._config[0] < CONFIG_CACHE_SECONDS:
            return self._config[1]
        try:
            endpoint = self._sagemaker.describe_endpoint(EndpointName=self.name)
            config = self._sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
        except ClientError as error:
            if self._config is None or error.response["Error"]["Code"] not in _TRANSIENT_CODES:
                raise
            return self._config[1]
        found = {variant["VariantName"]: variant["ModelName"] for variant in config["ProductionVariants"]}
        found[""] = next(iter(found.values()))  # an answer that names no variant
        self._config = (self._clock(), found)
        return found

    def _package_of(self, model_name: str) -> str:
        model = self._sagemaker.describe_model(ModelName=model_name or self._variants()[""])
        container = model.get("PrimaryContainer") or model["Containers"][0]
        package = container.get("Environment", {}).get(PACKAGE_VARIABLE) or container.get("ModelPackageName")
        if not package:
            raise UnexpectedModelAnswer(f"model {model['ModelName']} does not come from a model package")
        return str(package)

    def _named(self, error: ClientError, subject: str) -> Exception:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code == "ModelError":
            more = cast("_ModelError", error.response)
            status = int(more.get("OriginalStatusCode") or 500)
            said = more.get("OriginalMessage") or message
            if 400 <= status < 500 and status != 429:
                return InvalidImage(f"{subject}: the model refused the image with status {status}: {said}")
            return ModelTemporarilyUnavailable(f"{subject}: the model failed with status {status}: {said}")
        if code in _TRANSIENT_CODES:
            return ModelTemporarilyUnavailable(f"{subject}: endpoint {self.name} is not available ({code}): {message}")
        if code in {"ValidationError", "ValidationException"} and "not f" in message.lower():
            text = f"{subject}: there is no endpoint {self.name}: approve a model version to deploy one"
            return EndpointNotDeployed(text)
        return error


def probabilities(answer: object, model: AnsweringModel, subject: str) -> list[float]:
    """The model's answer as one number for each class."""
    if not isinstance(answer, list) or not all(type(value) in (int, float) for value in answer):
        raise UnexpectedModelAnswer(f"{subject}: expected a JSON array of numbers, got {str(answer)[:100]}")
    if len(answer) != len(model.classes):
        expected = f"expected {len(model.classes)} probabilities for {', '.join(model.classes)}"
        raise UnexpectedModelAnswer(f"{subject}: {expected}, got {len(answer)}")
    return [float(value) for value in answer]


@functools.cache
def live_endpoint() -> Endpoint:
    """Return the stage's endpoint, the same one for every invocation."""
    # One attempt: who calls retries, with a back-off that everybody can see.
    config = Config(
        read_timeout=min(READ_TIMEOUT_SECONDS, float(os.environ.get("ENDPOINT_TIMEOUT_SECONDS", "inf"))),
        connect_timeout=5,
        retries={"total_max_attempts": 1},
        max_pool_connections=16,
    )
    runtime = boto3.client("sagemaker-runtime", config=config)
    sagemaker = boto3.client("sagemaker")
    versions = Versions(boto3.client("dynamodb"), os.environ["DEPLOYMENTS_TABLE"], sagemaker)
    return Endpoint(os.environ["ENDPOINT_NAME"], runtime, sagemaker, versions)
