"""Second function of the inference workflow: asks the endpoint for the class probabilities of the image.

Runs in Lambda. Reads the body of `serialize_image` (and the S3 object itself, when the image was too large for the
body), the endpoint's answer, and from the model package behind the endpoint what its classes are called.
"""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import boto3

from lambdas.inference.body import Body, Inferences, InvalidBody, WorkflowEvent, name_of, unwrapped
from lambdas.inference.endpoint import MAX_INFERENCE_ID_CHARACTERS, Endpoint, live_endpoint
from lambdas.inference.images import InvalidImage, read_image
from lambdas.inference.telemetry import observed

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from types_boto3_s3 import S3Client


@functools.cache
def s3_client() -> S3Client:
    """Return the function's client, made once."""
    return boto3.client("s3")


@observed
def handler(event: WorkflowEvent, context: LambdaContext) -> Inferences:
    """Answer the body with the class probabilities of its image."""
    inference_id = event.get("execution") or context.aws_request_id
    return classify(event, inference_id, live_endpoint(), s3_client)


def classify(event: WorkflowEvent, inference_id: str, endpoint: Endpoint, s3: Callable[[], S3Client]) -> Inferences:
    """The body with the probabilities in ``inferences``; ``s3`` returns a client, and is called only when needed."""
    body = unwrapped(event)
    inference_id = inference_id[:MAX_INFERENCE_ID_CHARACTERS]
    answer = endpoint.classify(image_bytes(body, s3), inference_id, name_of(body))
    return {
        "s3_bucket": body.get("s3_bucket", ""),
        "s3_key": body.get("s3_key", ""),
        "image_data": "",
        "inferences": answer.inferences,
        "classes": list(answer.model.classes),
        "model_package_arn": answer.model.package_arn,
        "inference_id": inference_id,
    }


def image_bytes(body: Body, s3: Callable[[], S3Client]) -> bytes:
    """The image from ``image_data``, or from S3 when it is empty because the image was too large for a state."""
    if not body.get("image_data"):
        bucket, key = body.get("s3_bucket"), body.get("s3_key")
        if not (isinstance(bucket, str) and bucket and isinstance(key, str) and key):
            raise InvalidBody("expected an image in image_data, or s3_bucket and s3_key")
        return read_image(s3(), bucket, key)
    try:
        return base64.b64decode(body["image_data"], validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise InvalidImage(f"{name_of(body)}: image_data must be base64: {error}") from error
