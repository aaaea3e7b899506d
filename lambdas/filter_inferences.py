"""Third function of the inference workflow: lets confident predictions pass and fails the others.

Runs in Lambda. Reads the body of `classify_image`; writes nothing. Environment: CONFIDENCE_THRESHOLD (0 to 1).
The class THRESHOLD_CONFIDENCE_NOT_MET is the workflow's error name: whoever renames it changes an interface.
"""

from __future__ import annotations

import json
import os
from typing import Any, TypedDict


class Result(TypedDict):
    """The workflow's result: the body and what the probabilities mean."""

    s3_bucket: str
    s3_key: str
    image_data: str
    inferences: list[float]
    classes: list[str]
    inference_id: str
    predicted_label: str
    confidence: float
    threshold: float
    model_package_arn: str


class THRESHOLD_CONFIDENCE_NOT_MET(Exception):  # noqa: N801, N818  # Step Functions shows the class name as the error
    """No class reached the threshold. The message is a JSON object."""


class InvalidBody(Exception):  # noqa: N818  # the name is an error name in the workflow
    """The body does not hold the probabilities that `classify_image` should have put there."""


def handler(event: dict[str, Any], _context: object) -> Result:
    return accept(event, float(os.environ["CONFIDENCE_THRESHOLD"]))


def accept(event: dict[str, Any], threshold: float) -> Result:
    """The result, if the likeliest class has at least the probability ``threshold``."""
    body = event.get("body", event)
    body = json.loads(body) if isinstance(body, str) else body
    inferences, classes = body.get("inferences"), body.get("classes")
    if not inferences or not classes or len(inferences) != len(classes):
        raise InvalidBody(f"expected one inference for each class, got {inferences!r} for {classes!r}")
    confidence = max(inferences)
    verdict = {
        "predicted_label": classes[inferences.index(confidence)],
        "confidence": confidence,
        "threshold": threshold,
    }
    if not confidence >= threshold:  # written so that NaN does not pass
        where = {"s3_bucket": body.get("s3_bucket", ""), "s3_key": body.get("s3_key", "")}
        raise THRESHOLD_CONFIDENCE_NOT_MET(json.dumps({**verdict, **where}))
    return {
        "s3_bucket": body.get("s3_bucket", ""),
        "s3_key": body.get("s3_key", ""),
        "image_data": "",
        "inferences": inferences,
        "classes": classes,
        "inference_id": body.get("inference_id", ""),
        "predicted_label": verdict["predicted_label"],
        "confidence": confidence,
        "threshold": threshold,
        "model_package_arn": body.get("model_package_arn", ""),
    }
