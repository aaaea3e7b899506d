"""The inference workflow: one image in S3 -> its predicted label, or a failed execution when confidence is too low.

    SerializeImage -> ClassifyImage -> FilterInferences -+-> result
                                                         +-> ReadVerdict -> ConfidenceTooLow (fails the execution)

Runs on a laptop or in CodeBuild and makes no AWS call. `definition` returns the state machine, with placeholders such
as ``${SerializeImageArn}`` that the stack's DefinitionSubstitutions fill.
"""

from __future__ import annotations

import json
from typing import Any

from stepfunctions.steps import Catch, Chain, Graph, LambdaStep, Pass, Retry

from inference_workflow.sdk_extensions import FailWithCausePath

# The class name of the exception in lambdas/filter_inferences.py.
LOW_CONFIDENCE = "THRESHOLD_CONFIDENCE_NOT_MET"
WORKFLOW_TIMEOUT_SECONDS = 300
FUNCTION_TIMEOUT_SECONDS = 70

# What Lambda's invocation can meet and a later attempt may not.
# https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html
LAMBDA_SERVICE_ERRORS = [
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
]
MODEL_UNAVAILABLE = "ModelTemporarilyUnavailable"


def definition() -> str:
    """The state machine as Amazon States Language JSON; the same text every time."""
    verdict = read_verdict()
    verdict.next(confidence_too_low())
    functions = Chain([serialize_image(), classify_image(), filter_inferences(on_low_confidence=verdict)])
    graph = Graph(
        functions,
        comment="Classify one image of S3; low confidence fails the execution.",
        timeout_seconds=WORKFLOW_TIMEOUT_SECONDS,
    )
    return json.dumps(graph.to_dict(), indent=2) + "\n"


def serialize_image() -> Any:
    """``{"s3_bucket", "s3_key"}`` -> the body with ``image_data``."""
    return function_state("SerializeImage", {"Payload.$": "$"})


def classify_image() -> Any:
    """The body -> the body with ``inferences``. The execution's name ties captured traffic to this execution."""
    return function_state(
        "ClassifyImage",
        {"Payload": {"body.$": "$", "inference_id.$": "$$.Execution.Name"}},
        retries=[
            Retry(error_equals=[MODEL_UNAVAILABLE], interval_seconds=2, max_attempts=4, backoff_rate=2.0),
        ],
    )


def filter_inferences(on_low_confidence: Any) -> Any:
    """The body -> the result, or ``on_low_confidence``."""
    state = function_state("FilterInferences", {"Payload.$": "$"})
    state.add_catch(Catch(error_equals=[LOW_CONFIDENCE], next_step=on_low_confidence))
    return state


def read_verdict() -> Any:
    """Lambda wraps the exception's message, which is the verdict as JSON, in an object of its own."""
    return Pass("ReadVerdict", parameters={"exception.$": "States.StringToJson($.Cause)"})


def confidence_too_low() -> Any:
    """Ends the execution as Failed; the cause is the verdict's JSON."""
    return FailWithCausePath("ConfidenceTooLow", error=LOW_CONFIDENCE, cause_path="$.exception.errorMessage")


def function_state(name: str, payload: dict[str, Any], retries: list[Any] | None = None) -> Any:
    """A task that invokes the function ``${<name>Arn}`` and passes on what it returns."""
    service_errors = Retry(error_equals=LAMBDA_SERVICE_ERRORS, interval_seconds=1, max_attempts=5, backoff_rate=2.0)
    return LambdaStep(
        name,
        parameters={"FunctionName": f"${{{name}Arn}}", **payload},
        output_path="$.Payload",
        timeout_seconds=FUNCTION_TIMEOUT_SECONDS,
        retry=[service_errors, *(retries or [])],
    )
