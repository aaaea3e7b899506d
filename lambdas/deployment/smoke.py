"""The smoke test: a few known images, and the answers that the version gave in its evaluation.

Runs in Lambda. Reads ``smoke.json``, which the evaluation wrote beside its document, and asks the endpoint. The
requests carry an inference id by which reports leave them out.
"""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from lambdas.deployment.version import ServableVersion

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_sagemaker_runtime import SageMakerRuntimeClient

INFERENCE_ID = "smoke-test"  # `monitoring.captures.line` knows it
PACKAGE_ATTRIBUTE = "model_package_arn="
# Between processors and versions of the runtime, answers differ in the fifth place; another model differs by far more.
TOLERANCE = 0.05
ATTEMPTS, PAUSE_S = 3, 1.0
_ABSENT = {"NoSuchKey", "NoSuchBucket", "404", "AccessDenied", "403"}


class KnownImage(TypedDict):
    """An image of ``smoke.json``: ``data`` is base64, ``probabilities`` are the evaluation's, one for each class."""

    name: str
    data: str
    content_type: str
    probabilities: list[float]


@dataclass(frozen=True)
class Smoke:
    """``passed`` is None when there was nothing to test with; ``text`` says what came out."""

    passed: bool | None
    text: str


@dataclass(frozen=True)
class Asker:
    """The clients, and the endpoint that is asked."""

    s3: S3Client
    runtime: SageMakerRuntimeClient
    endpoint: str
    sleep: Callable[[float], None] = time.sleep

    def test(self, version: ServableVersion) -> Smoke:
        """Ask for every image of the version's smoke test."""
        images = self._images(version.smoke_uri)
        if isinstance(images, str):
            return Smoke(None, images)
        faults = [fault for image in images if (fault := self._fault(image, version.package_arn))]
        if faults:
            return Smoke(False, f"{len(faults)} of {len(images)} known images failed: {faults[0]}")
        return Smoke(True, f"{len(images)} of {len(images)} known images answered as in the evaluation")

    def _images(self, uri: str) -> list[KnownImage] | str:
        """The known images, or why there are none."""
        if not uri:
            return "not tested: the version was registered without an evaluation"
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        try:
            document = json.loads(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] not in _ABSENT:
                raise
            return f"not tested: there is no {uri}"
        images: list[KnownImage] = document["images"]
        return images

    def _fault(self, image: KnownImage, package_arn: str) -> str:
        """Why an image's answer will not do; empty when it will."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self.runtime.invoke_endpoint(
                    EndpointName=self.endpoint,
                    Body=base64.b64decode(image["data"]),
                    ContentType=image["content_type"],
                    Accept="application/json",
                    InferenceId=f"{INFERENCE_ID}-{image['name'][-40:]}",
                )
                body = answer["Body"].read()
            except (ClientError, ConnectionError, HTTPClientError) as error:
                if attempt == ATTEMPTS:
                    return f"{image['name']}: {error}"
                self.sleep(PAUSE_S)
                continue
            return difference(image, body, answer.get("CustomAttributes", ""), package_arn)
        raise AssertionError("every attempt returns or is the last")


def difference(image: KnownImage, body: bytes, attributes: str, package_arn: str) -> str:
    """How an answer differs from the evaluation's; empty when it does not."""
    told = [part.strip().removeprefix(PACKAGE_ATTRIBUTE) for part in attributes.split(";") if PACKAGE_ATTRIBUTE in part]
    if told and told[0] != package_arn:
        return f"{image['name']}: {told[0]} answered instead of {package_arn}"
    try:
        found = json.loads(body)
    except ValueError:
        return f"{image['name']}: the answer is no JSON: {body[:60]!r}"
    expected = image["probabilities"]
    numbers = isinstance(found, list) and all(type(value) in (int, float) and math.isfinite(value) for value in found)
    if not numbers or len(found) != len(expected):
        return f"{image['name']}: expected {len(expected)} probabilities, got {str(found)[:60]}"
    if max(abs(a - b) for a, b in zip(found, expected, strict=True)) > TOLERANCE:
        rounded = [[round(value, 3) for value in values] for values in (expected, found)]
        return f"{image['name']}: expected {rounded[0]} as in the evaluation, got {rounded[1]}"
    return ""
