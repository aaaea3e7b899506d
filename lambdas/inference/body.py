"""The workflow's body: what travels between the functions, in the shapes in which callers send it.

Runs in Lambda. A body may lie in a ``body`` of its own, as an object or as JSON text, as API Gateway and other
functions of this kind wrap it.
"""

from __future__ import annotations

import json
from typing import TypedDict, cast


class WorkflowFault(Exception):  # noqa: N818  # the subclasses' names are error names in the workflow
    """Ends the execution under the name of its class; whoever renames a subclass changes an interface."""


class InvalidBody(WorkflowFault):
    """The event is no body, or lacks what the function before should have put there."""


class Body(TypedDict, total=False):
    """What a caller or the function before should have sent; whoever reads a member checks it."""

    s3_bucket: str
    s3_key: str
    image_data: str
    inferences: list[float]
    classes: list[str]
    model_package_arn: str
    inference_id: str


class WorkflowEvent(Body, total=False):
    """A body, or what wraps one; ``execution`` and ``on_low_confidence`` stand beside it."""

    body: object
    execution: str
    on_low_confidence: str


class Inferences(TypedDict):
    """The body once the model has answered."""

    s3_bucket: str
    s3_key: str
    image_data: str
    inferences: list[float]
    classes: list[str]
    model_package_arn: str
    inference_id: str


class WorkflowResult(Inferences):
    """The workflow's result: the body and what the probabilities mean. ``status`` is passed or needs_review."""

    status: str
    predicted_label: str
    confidence: float
    threshold: float


def unwrapped(event: object) -> Body:
    """The innermost ``body`` of an event. Raises InvalidBody where that is no JSON object."""
    content = event
    while isinstance(content, str) or (isinstance(content, dict) and "body" in content):
        content = _parsed(content) if isinstance(content, str) else content["body"]
    if not isinstance(content, dict):
        raise InvalidBody(f"the body must be a JSON object, got {type(content).__name__}")
    return cast("Body", content)


def _parsed(text: str) -> object:
    try:
        content: object = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidBody(f"the body must be a JSON object, got text that is not JSON: {error}") from error
    if isinstance(content, str):
        raise InvalidBody("the body must be a JSON object, got JSON text inside of JSON text")
    return content


def name_of(body: Body) -> str:
    """How messages call the image."""
    if body.get("s3_key"):
        return f"s3://{body.get('s3_bucket')}/{body['s3_key']}"
    return "the image in image_data" if body.get("image_data") else "an input that names no image"
